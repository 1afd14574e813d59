from dataclasses import replace

import numpy as np
import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.evaluation.score_table import STEPS, alert_threshold
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.ring import encode, to_ring
from fieldfare.shared.run.kinds.groups import Groups, read_groups
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import FairnessRecord

PLAN = plan_for(STUDIES["groups"]())
TERMS = PLAN.fairness
KIND = Groups()
TABLE = np.concatenate([np.linspace(90, 20, 8), np.linspace(5, 40, 8)])
RESULTS = Results(training=initial_state(PLAN.study), table=TABLE)


def test_the_threshold_follows_from_the_table_to_a_step() -> None:
    found = [content.results.threshold for content in KIND.contents(PLAN, RESULTS)]
    exact = alert_threshold(PLAN.study, TABLE)
    assert found == [exact, exact + 1 / STEPS, exact - 1 / STEPS]
    bound = replace(RESULTS, threshold=exact + 1 / STEPS)
    (content,) = KIND.contents(PLAN, bound)
    assert np.frombuffer(content.data)[-1] == exact + 1 / STEPS
    assert list(KIND.contents(PLAN, replace(RESULTS, table=None))) == []


def test_the_record_holds_the_words_and_the_threshold() -> None:
    words = encode(to_ring(np.arange(TERMS.vectors.entries), TERMS.word_bits), TERMS.word_bits)
    summed = SummedRelease(TERMS, TERMS.first_step, 4, bytes_hash(words), np.zeros(1))
    results = replace(RESULTS, threshold=0.5)
    record = KIND.write(PLAN, results, summed, words)
    assert record == FairnessRecord.of(0.5, words)
    groups = KIND.read(PLAN, results, summed, record.to_bytes()).groups
    assert groups is not None
    assert (groups.threshold, groups.participants) == (0.5, 4)
    assert KIND.told(PLAN, results) == {}
    told = KIND.told(PLAN, replace(results, groups=groups))["released_groups"]
    assert told == read_groups(PLAN, groups)
    assert told["threshold"] == 0.5
    assert read_groups(PLAN, None) is None
    assert groups.values.tolist() == np.ldexp(np.arange(TERMS.vectors.entries), -20).tolist()
    assert not KIND.is_due(PLAN, replace(results, groups=groups))
    for wrong in (FairnessRecord.of(0.25, words), FairnessRecord.of(0.5, words[::-1])):
        with pytest.raises(MismatchError):
            KIND.read(PLAN, results, summed, wrong.to_bytes())


def test_only_a_study_with_groups_counts_them() -> None:
    assert KIND.is_due(PLAN, Results())
    assert not KIND.is_due(plan_for(STUDIES["training"]()), Results())

from dataclasses import replace

import numpy as np
import pytest
from tests.support.runs.written_runs import COUNT, LATER, SPREAD, STUDIES, group_of

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import StudyError
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.ring import encode, to_ring
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.kinds.questions import Questions
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.run.results import UNKNOWN, Results
from fieldfare.shared.transcript.leaves import AnswersRecord

PLAN = plan_for(STUDIES["questions"]())
KNOTS = plan_for(STUDIES["knots"]())
KIND = Questions()


def answered(plan: Plan, results: Results) -> tuple[SummedRelease, AnswersRecord]:
    """A sum of ones, and its record."""
    terms = KIND.terms(plan, results)
    ones = np.full(terms.vectors.entries, 1 << terms.vectors.gamma_bits)
    words = encode(to_ring(ones, terms.word_bits), terms.word_bits)
    summed = SummedRelease(
        terms, KIND.step(plan, results), 4, bytes_hash(words), np.ones(len(ones))
    )
    record = KIND.write(plan, results, summed, words)
    assert isinstance(record, AnswersRecord)
    return summed, record


def bound(plan: Plan, results: Results) -> Results:
    (content,) = KIND.contents(plan, results)
    return replace(results, bound=content.hash)


def test_answers_are_to_what_was_asked() -> None:
    results = bound(PLAN, Results())
    summed, record = answered(PLAN, results)
    found = KIND.read(PLAN, results, summed, record.to_bytes())
    (answer,) = found.answers
    assert (answer.questions, answer.participants, answer.step) == (PLAN.study.questions, 4, 0)
    assert set(answer.values) == {1.0}
    assert not KIND.is_due(PLAN, found)
    other = AnswersRecord.of(group_of(*LATER), record.content)
    for wrong in (other, record.model_copy(update={"words": "AAAA"})):
        with pytest.raises(MismatchError):
            KIND.read(PLAN, results, summed, wrong.to_bytes())


def test_later_groups_have_positions_of_the_allowance() -> None:
    first, second = group_of(*LATER), group_of(COUNT)
    one, two = Results(later=(first,)), Results(later=(first, second), answered=1)
    assert [KIND.step(PLAN, results) for results in (one, two)] == [1, 2]
    assert KIND.terms(PLAN, two).cost == PLAN.allowance.cost
    assert KIND.is_due(PLAN, two)
    assert not KIND.is_due(PLAN, replace(two, answered=2))
    with pytest.raises(StudyError, match="a kind of the allowance"):
        KIND.terms(PLAN, Results(later=(group_of(SPREAD),)))


def test_training_starts_again_on_knots_that_were_answered() -> None:
    results = replace(bound(KNOTS, Results()), training=initial_state(KNOTS.study), parameters="1")
    summed, record = answered(KNOTS, results)
    found = KIND.read(KNOTS, results, summed, record.to_bytes())
    assert (found.training, found.parameters) == (None, UNKNOWN)
    assert KIND.leads(KNOTS)
    assert not KIND.leads(PLAN)


def test_a_study_without_questions_asks_none() -> None:
    plan = plan_for(STUDIES["training"]())
    assert not KIND.is_due(plan, Results())
    with pytest.raises(MismatchError, match="questions that the study declares"):
        list(KIND.contents(plan, Results()))

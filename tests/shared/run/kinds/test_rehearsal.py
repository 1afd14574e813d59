import numpy as np
import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.protocol.messages import parameters_hash
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds.kind import Summed
from fieldfare.shared.run.kinds.rehearsal import Rehearsal
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.results import Results

PLAN = plan_for(STUDIES["training"]())
KIND = Rehearsal()


def test_the_start_may_be_rounded_five_ways_until_one_is_bound() -> None:
    found = list(KIND.contents(PLAN, Results()))
    assert len({content.hash for content in found}) == 5
    first = np.frombuffer(found[0].data)
    for content in found:
        assert content.hash == parameters_hash(content.data)
        assert np.abs(np.frombuffer(content.data) - first).max() <= 2 * np.spacing(abs(first[0]))
    bound = list(KIND.contents(PLAN, found[3].results))
    assert [content.hash for content in bound] == [found[3].hash]


def test_masks_cancel_or_keys_are_wrong() -> None:
    entries = PLAN.rehearsal.vectors.entries
    nothing = Summed(PLAN.rehearsal, 0, 4, "", np.zeros(entries))
    after = KIND.after(PLAN, Results(bound="0" * 64), nothing)
    assert (after.rehearsed, after.parameters) == (True, "0" * 64)
    assert not KIND.is_due(PLAN, after)
    with pytest.raises(MismatchError, match="masks that cancel"):
        KIND.after(PLAN, Results(), Summed(PLAN.rehearsal, 0, 4, "", np.eye(1, entries)[0]))

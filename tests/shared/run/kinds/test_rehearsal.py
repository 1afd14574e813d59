from dataclasses import replace

import numpy as np
import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.protocol.messages import parameters_hash
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.kinds.rehearsal import Rehearsal
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


@pytest.mark.parametrize("kept", [False, True])
def test_masks_cancel_or_the_run_is_over(*, kept: bool) -> None:
    """The hash of zeros is known: a remainder shows where vectors were deleted, too."""
    terms = PLAN.rehearsal
    size = terms.vectors.entries * terms.word_bits.value // 8
    values = np.zeros(terms.vectors.entries) if kept else None
    nothing = SummedRelease(terms, 0, 4, bytes_hash(bytes(size)), values)
    after = KIND.after(PLAN, Results(bound="0" * 64), nothing)
    assert (after.rehearsed, after.remains, after.parameters) == (True, False, "0" * 64)
    assert not KIND.is_due(PLAN, after)
    something = replace(nothing, words=bytes_hash(b"\x01" + bytes(size - 1)))
    over = KIND.after(PLAN, Results(), something)
    assert (over.rehearsed, over.remains) == (False, True)

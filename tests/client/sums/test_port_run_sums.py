"""Whoever adds up as `RunSums` gives the same bytes: StudySums, or PartitionedSums of any cut."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.sums.conftest import Whole
from tests.simulations.engines.conftest import STUDIES
from tests.support.runs.every_release import every_release

from fieldfare.client.sums.partitioned_sums import PartitionedSums, WholeUnits
from fieldfare.client.sums.partitions import InOneProcess, part_sum
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import PolicyRefusal
from fieldfare.shared.models import AdditiveModel, LinearModel, trained_model
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.study.study import Study

EVERY: tuple[type[RunSums], ...] = (StudySums, PartitionedSums)
CUTS = (1, 4, 16)


def in_one(study: Study, units: WholeUnits) -> StudySums:
    return StudySums.prepare(study, units.data, units.holdout, units.asked, split=units.split)


def in_parts(study: Study, units: WholeUnits, parts: int) -> PartitionedSums:
    cut = InOneProcess(study, units.cut(study, parts), units.split)
    return PartitionedSums(study, cut, units.split)


def some_of(units: WholeUnits, mask: np.ndarray) -> WholeUnits:
    asked = None if units.asked is None else units.asked.select(mask)
    kept = (units.data.select(mask), units.holdout[mask], units.order[mask])
    return WholeUnits(*kept, asked, units.split)


def assert_equal_everywhere(study: Study, units: WholeUnits) -> None:
    one = in_one(study, units)
    for asked in every_release(study, one):
        expected = part_sum(one, asked).tobytes()
        for parts in CUTS:
            assert part_sum(in_parts(study, units, parts), asked).tobytes() == expected


@pytest.mark.parametrize("name", STUDIES)
def test_any_cut_gives_the_same_bytes_for_every_release(name: str, whole: Whole) -> None:
    assert len(EVERY) == 2
    assert_equal_everywhere(*whole(name))


@settings(max_examples=10, deadline=None)
@given(name=st.sampled_from(sorted(STUDIES)), kept=st.sets(st.integers(0, 239), max_size=40))
def test_few_units_one_and_none_give_the_same_bytes(
    name: str, kept: set[int], whole: Whole
) -> None:
    study, units = whole(name)
    assert_equal_everywhere(study, some_of(units, np.isin(np.arange(240), list(kept))))


@pytest.mark.parametrize("name", ["plain", "groups", "whitened", "questions", "texts", "hidden"])
def test_a_cut_adds_up_to_what_units_one_by_one_do(name: str, whole: Whole) -> None:
    """The oracle: each unit by itself, added in Python's own integers."""
    study, units = whole(name)
    units = some_of(units, np.arange(240) < 40)
    alone = [in_one(study, some_of(units, np.arange(40) == one)) for one in range(40)]
    for asked in every_release(study, in_one(study, units)):
        columns = zip(*(part_sum(one, asked).tolist() for one in alone), strict=True)
        wrapped = [(sum(column) + 2**63) % 2**64 - 2**63 for column in columns]
        assert part_sum(in_parts(study, units, 4), asked).tolist() == wrapped


def test_local_steps_move_as_far(whole: Whole) -> None:
    study, units = whole("local")
    one, parts = in_one(study, units), in_parts(study, units, 4)
    start = trained_model(study).initial(-1.0)
    drawn = [np.arange(len(start)) << 20, np.arange(len(start)) << 21]
    assert one.gradients == parts.gradients
    found = parts.local_change(start, iter(drawn), 3)
    assert found.any()
    assert found.tolist() == one.local_change(start, iter(drawn), 3).tolist()


def test_what_sums_no_records_is_refused_alike(whole: Whole) -> None:
    study, units = whole("plain")
    said = []
    for sums in (in_one(study, units), in_parts(study, units, 4)):
        with pytest.raises(PolicyRefusal) as refused:
            sums.vector(ReleaseKind.REHEARSAL, np.zeros(1))
        said.append((refused.value.code, str(refused.value)))
    assert said[0] == said[1]
    assert (in_parts(study, units, 4).study.id, in_parts(study, units, 4).split) == (
        study.id,
        "split",
    )


def test_the_studies_have_models_that_round_by_buckets_and_models_that_do_not(whole: Whole) -> None:
    exact = [isinstance(trained_model(whole(n)[0]), AdditiveModel | LinearModel) for n in STUDIES]
    assert any(exact)
    assert not all(exact)


def test_a_network_needs_its_branches_whole(whole: Whole) -> None:
    """The property can fail: cut where a bucket lies, a network's bytes change."""
    study, units = whole("network")
    order = np.arange(240, dtype=np.uint64) << np.uint64(56)
    moved = replace(units, order=order, data=replace(units.data, order=order))
    one = in_one(study, moved)
    halves = [moved._part(study, np.arange(240) % 2 == side) for side in (0, 1)]
    apart = InOneProcess(study, halves)
    differ = [
        part_sum(one, asked).tobytes() != apart.added(asked).tobytes()
        for asked in every_release(study, one)
        if asked.kind is ReleaseKind.TRAINING
    ]
    assert any(differ)

"""Parts are branches of the tree whose leaves are buckets, and as many as are needed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.simulations.engines.conftest import study_of

from fieldfare.client.sums.cutting import MOST_PARTS, PART_BYTES, part_count, parts_of
from fieldfare.shared.models.unit_batches import buckets_of


def buckets(order: np.ndarray, places: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(places[one].tolist()) for one in buckets_of(order[places])}


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1500), st.integers(0, 2**31), st.integers(0, 60), st.sampled_from([1, 4, 16, 64])
)
def test_parts_have_the_buckets_of_the_whole(units: int, seed: int, low: int, parts: int) -> None:
    random = np.random.default_rng(seed)
    order = random.integers(0, 2**64 - 1, units, dtype=np.uint64)
    order[: units // 2] >>= np.uint64(low)  # many in few branches
    training = random.random(units) < 0.7
    place = parts_of(order, training, parts)
    everybody = np.flatnonzero(training)
    apart = [buckets(order, everybody[place[everybody] == part]) for part in range(parts)]
    assert set().union(*apart) == buckets(order, everybody)
    assert int(place.max(initial=0)) < parts


def test_many_units_are_cut_about_evenly() -> None:
    order = np.random.default_rng(0).integers(0, 2**64 - 1, 50_000, dtype=np.uint64)
    counts = np.bincount(parts_of(order, np.ones(50_000, np.bool_), 16), minlength=16)
    assert counts.min() > 0.9 * counts.max() > 0


def test_a_part_of_a_unit_follows_from_hashes_alone() -> None:
    order = np.random.default_rng(1).integers(0, 2**64 - 1, 5000, dtype=np.uint64)
    everybody, turned = np.ones(5000, np.bool_), order[::-1]
    assert parts_of(order, everybody, 8)[::-1].tolist() == parts_of(turned, everybody, 8).tolist()


@pytest.mark.parametrize(
    ("units", "each", "workers", "memory", "parts"),
    [
        (1000, 80, 2, 1 << 30, 2),
        (1000, 80, 3, 1 << 30, 4),
        (10_000_000, 80, 2, 1 << 30, 8),
        (10 * PART_BYTES, 1000, 1, 1 << 40, MOST_PARTS),
        (10_000_000, 1, 2, 1 << 24, 32),
    ],
)
def test_parts_are_as_small_as_memory_asks(
    units: int, each: int, workers: int, memory: int, parts: int
) -> None:
    study = study_of("plain")
    assert part_count(study, units, each, workers=workers, memory=memory) == parts


def test_a_network_is_cut_smaller() -> None:
    counts = [
        part_count(study_of(name), 10_000_000, 4, workers=2, memory=1 << 28)
        for name in ("plain", "network")
    ]
    assert counts[1] > counts[0]

"""Buckets hold every unit once, and one unit touches three of them at most."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.models import unit_batches as buckets
from fieldfare.shared.models.network_facts import CAPACITY, TOUCHED
from fieldfare.shared.models.unit_batches import buckets_of


@given(st.integers(0, 2000), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_every_unit_is_in_one_bucket_that_is_not_too_full(units: int, seed: int) -> None:
    order = np.random.default_rng(seed).integers(0, 2**64 - 1, units, dtype=np.uint64)
    found = buckets_of(order)
    assert all(0 < len(bucket) <= CAPACITY for bucket in found)
    assert sorted(np.concatenate([*found, np.empty(0, np.int64)]).tolist()) == list(range(units))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=200, deadline=None)
def test_removing_a_unit_changes_three_buckets_at_most(units: int, spread: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(buckets, "CAPACITY", 3)
        random = np.random.default_rng(seed)
        low = random.choice(np.arange(max(units, spread), dtype=np.uint64), units, replace=False)
        order = low << np.uint64(random.integers(0, 58))  # near each other: deep trees
        removed = int(random.integers(units))
        others = np.delete(order, removed)
        before = {frozenset(order[bucket].tolist()) for bucket in buckets_of(order)}
        after = {frozenset(others[bucket].tolist()) for bucket in buckets_of(others)}
    assert len(before ^ after) <= TOUCHED


def test_many_units_of_one_hash_are_refused() -> None:
    with pytest.raises(RecordsError, match="expected at most 128 units of one hash, found 129"):
        buckets_of(np.zeros(129, dtype=np.uint64))
    assert len(buckets_of(np.zeros(128, dtype=np.uint64))) == 1

"""The hold-out is a property of the unit id and the key, and of nothing else."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.client.records.encoding.holdout import holdout_mask, split_name, unit_order
from fieldfare.shared.errors import UsageError

KEY = b"0123456789abcdef"
UNITS = [f"a-{index}" for index in range(20_000)]


def test_the_share_is_met_within_five_sigma() -> None:
    for share in (0.05, 0.2, 0.5):
        spread = (share * (1 - share) / len(UNITS)) ** 0.5
        assert abs(holdout_mask(UNITS, key=KEY, share=share).mean() - share) < 5 * spread


def test_larger_shares_keep_what_smaller_ones_held_out() -> None:
    small, large = (holdout_mask(UNITS, key=KEY, share=share) for share in (0.1, 0.3))
    assert not (small & ~large).any()


def test_another_key_splits_otherwise() -> None:
    first, second = (holdout_mask(UNITS, key=key, share=0.2) for key in (KEY, KEY + b"x"))
    assert abs((first & second).mean() - 0.04) < 0.01


def test_a_split_is_named_by_its_key_and_its_share() -> None:
    """By its name alone a ledger knows that a study's units changed sides."""
    named = {split_name(key=key, share=share) for key in (KEY, KEY + b"x") for share in (0.2, 0.3)}
    assert len(named) == 4
    assert split_name(key=KEY, share=0.2) == split_name(key=KEY, share=0.2)


@given(st.lists(st.text(max_size=8), max_size=30), st.data())
@settings(max_examples=50, deadline=None)
def test_a_unit_stays_on_its_side_whoever_stands_beside_it(
    units: list[str], data: st.DataObject
) -> None:
    mask = dict(zip(units, holdout_mask(units, key=KEY, share=0.4), strict=True))
    some = data.draw(st.permutations(units))[: len(units) // 2]
    assert [mask[unit] for unit in some] == holdout_mask(some, key=KEY, share=0.4).tolist()


def test_it_is_keyed_blake2b() -> None:
    digest = hashlib.blake2b(b"a-7", key=KEY, digest_size=8).digest()
    share = int.from_bytes(digest, "little") / 2**64
    assert holdout_mask(["a-7"], key=KEY, share=share + 1e-9)[0]
    assert not holdout_mask(["a-7"], key=KEY, share=share - 1e-9)[0]


def test_ends_of_the_range() -> None:
    assert not holdout_mask(UNITS, key=KEY, share=0.0).any()
    assert holdout_mask(UNITS, key=KEY, share=1.0).all()
    assert holdout_mask([], key=KEY, share=0.5).dtype == np.bool_


@pytest.mark.parametrize(("key", "share"), [(b"", 0.2), (b"x" * 65, 0.2), (KEY, 1.1), (KEY, -0.1)])
def test_keys_and_shares_out_of_range_are_refused(key: bytes, share: float) -> None:
    with pytest.raises(UsageError):
        holdout_mask(UNITS, key=key, share=share)


def test_the_order_of_units_is_their_own_and_the_keys() -> None:
    names = [f"unit-{i}" for i in range(200)]
    order = unit_order(names, key=KEY)
    assert len(set(order.tolist())) == 200
    np.testing.assert_array_equal(unit_order(names[50:60], key=KEY), order[50:60])
    assert not np.array_equal(unit_order(names, key=b"another"), order)

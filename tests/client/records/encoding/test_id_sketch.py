"""Ids that were written another way are told from customers who came and went."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.client.records.encoding.holdout import holdout_mask
from fieldfare.client.records.encoding.id_sketch import (
    KEPT,
    NO_IDS,
    SEEN,
    IdChange,
    IdSketch,
)
from fieldfare.shared.errors import LedgerError

KEY: Final = b"k" * 32


def ids(first: int, last: int, form: str = "c-{}") -> list[str]:
    return [form.format(number) for number in range(first, last)]


def sketch(units: list[str], key: bytes = KEY) -> IdSketch:
    return IdSketch.of(units, key=key)


def kept(units: list[str]) -> IdSketch:
    """As it comes back out of a ledger."""
    return IdSketch.from_bytes(sketch(units).to_bytes())


# What a later load holds, of customers 0 to 4,999; whether the custodian stops.
LOADS: Final[dict[str, tuple[list[str], bool]]] = {
    "the same": (ids(0, 5_000), False),
    "in another order": (ids(0, 5_000)[::-1], False),
    "half as many again": (ids(0, 7_500), False),
    "ten times as many": (ids(0, 50_000), False),
    "thirty times as many": (ids(0, 150_000), False),
    "30 % less": (ids(1_500, 5_000), False),
    "30 % gone and half as many again": (ids(1_500, 7_500), False),
    "45 % gone, as many new": (ids(2_250, 7_250), False),
    "70 % less, and 300 new": (ids(3_500, 5_300), False),
    "a tenth, split off": (ids(0, 500), False),
    "nobody": ([], False),
    "55 % gone, as many new": (ids(2_750, 7_750), True),
    "fresh pseudonyms": (ids(0, 5_000, "{:x}-fresh"), True),
    "fresh pseudonyms, and half as many again": (ids(0, 7_500, "{:x}-fresh"), True),
    "fresh pseudonyms, and ten times as many": (ids(0, 50_000, "{:x}-fresh"), True),
    "60 % fresh": (ids(0, 2_000) + ids(2_000, 5_000, "{}-fresh"), True),
    "fresh pseudonyms of 60 %": (ids(0, 3_000, "{:x}-fresh"), True),
    "upper case": (ids(0, 5_000, "C-{}"), True),
    "leading zeros": (ids(0, 5_000, "c-{:06}"), True),
}


@pytest.mark.parametrize("load", LOADS)
def test_what_is_taken_for_other_ids(load: str) -> None:
    later, stops = LOADS[load]
    assert sketch(later).since(kept(ids(0, 5_000))).renamed is stops


@pytest.mark.parametrize(
    ("before", "later", "found"),
    [
        (ids(0, 3), ids(0, 3), IdChange(3, 0, 0)),
        (ids(0, 3), ids(1, 5), IdChange(2, 1, 2)),
        (ids(0, 1), ids(1, 2), IdChange(0, 1, 1)),
        (ids(0, 900), ids(300, 1_000), IdChange(600, 300, 100)),
        ([], ids(0, 9), IdChange(0, 0, 9)),
        (ids(0, 9), [], IdChange(0, 9, 0)),
        (["a", "a"], ["a"], IdChange(1, 0, 0)),
    ],
)
def test_small_populations_are_compared_whole(
    before: list[str], later: list[str], found: IdChange
) -> None:
    assert sketch(later).since(kept(before)) == found
    of = found.here + found.gone
    assert f"of {of:,} ids" in found.words


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.sampled_from([4, 9, KEPT]))
def test_a_sample_shows_what_all_ids_in_its_range_do(
    here: int, gone: int, come: int, most: int
) -> None:
    """The share among the smallest is over one range for both, whatever each has beyond it."""
    before, later = sketch(ids(0, here + gone)), sketch(ids(gone, here + gone + come))
    found = later.since(IdSketch(before.hashes[:most], most))
    reach = before.hashes[:most][-1] if here + gone >= most else np.uint64(2**64 - 1)
    old, new = ({int(one) for one in side.hashes if one <= reach} for side in (before, later))
    assert found == IdChange(len(old & new), len(old - new), len(new - old))


@pytest.mark.parametrize(("share", "stops"), [(0.4, False), (0.6, True)])
@pytest.mark.parametrize("grown", [1.0, 1.5, 8.0])
def test_the_sample_is_sure_within_a_tenth(share: float, stops: bool, grown: float) -> None:
    random = np.random.default_rng(7)
    wrong, units = 0, 10_000
    for _ in range(200):
        both = random.integers(0, 2**64 - 1, int(units * (share + grown)), dtype=np.uint64)
        before, later = both[:units], both[int(units * share) :]
        then = IdSketch.from_bytes(IdSketch(np.sort(before)).to_bytes())
        wrong += IdSketch(np.sort(later)[:SEEN]).since(then).renamed is not stops
    assert wrong == 0  # four sigma


def test_without_the_key_nobody_finds_an_id() -> None:
    one, other = sketch(ids(0, 500)), sketch(ids(0, 500), KEY + b"x")
    assert not np.isin(one.hashes, other.hashes).any()
    assert one.since(other).renamed


def test_the_sample_is_of_both_sides_alike() -> None:
    """Its hashes are none of those that decide a side."""
    units = ids(0, 20_000)
    small = dict(zip(sketch(units).hashes.tolist(), range(KEPT), strict=False))
    held = holdout_mask(units, key=KEY, share=0.2)
    inside = [bool(h) for u, h in zip(units, held, strict=True) if sketch([u]).hashes[0] in small]
    assert len(inside) == KEPT
    assert abs(sum(inside) / KEPT - 0.2) < 5 * (0.16 / KEPT) ** 0.5


def test_so_much_is_kept_and_no_more() -> None:
    assert len(sketch(ids(0, 70_000)).hashes) == SEEN
    assert len(sketch(ids(0, 70_000)).to_bytes()) == 8 * KEPT
    assert sketch([]).to_bytes() == NO_IDS.to_bytes() == b""


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + b"12345678"])
def test_a_damaged_sketch_is_refused(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(LedgerError, match="damaged"):
        IdSketch.from_bytes(change(sketch(ids(0, 5_000)).to_bytes()))

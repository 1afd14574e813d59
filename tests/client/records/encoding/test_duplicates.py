"""Rows that share a unit are found exactly, whatever their hashes do."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.records.encoding.units import shared_rows

texts = st.lists(st.sampled_from(["", "a", "b", "A", "ab", "a ", "\ud83d\ude00", "1", "01"]))


def array(values: Iterable[str]) -> Any:
    listed = list(values)
    found = np.empty(len(listed), dtype=np.object_)
    found[:] = listed
    return found


def by_counting(keys: Iterable[Any]) -> list[bool]:
    """The slow oracle: the definition."""
    listed = list(keys)
    counts = Counter(listed)
    units = (key[0] if isinstance(key, tuple) else key for key in listed)
    return [unit != "" and counts[key] > 1 for unit, key in zip(units, listed, strict=True)]


def collide(key: object) -> int:
    return 7


def half(key: object) -> int:
    return hash(key) % 2


@pytest.mark.parametrize("hashed", [hash, collide, half])
@given(units=texts)
def test_as_counting_would_say(hashed: Callable[[Any], int], units: list[str]) -> None:
    """Also where every hash collides: only texts decide."""
    assert shared_rows(array(units), hashed=hashed).tolist() == by_counting(units)


@pytest.mark.parametrize("hashed", [hash, collide, half])
@given(rows=st.lists(st.tuples(st.sampled_from(["", "a", "b", "ab"]), st.sampled_from("abx"))))
def test_a_unit_returns_in_another_institution(
    hashed: Callable[[Any], int], rows: list[tuple[str, str]]
) -> None:
    units, institutions = array(u for u, _ in rows), array(i for _, i in rows)
    assert shared_rows(units, institutions, hashed=hashed).tolist() == by_counting(rows)


def test_many_units() -> None:
    units = array([f"u{i}" for i in range(200_000)] + ["u5", "u199999", "u5"])
    assert np.flatnonzero(shared_rows(units)).tolist() == [5, 199_999, 200_000, 200_001, 200_002]

"""Repeated units are found exactly, whatever their hashes do."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.records.duplicates import further_rows

texts = st.lists(st.sampled_from(["", "a", "b", "A", "ab", "a ", "\ud83d\ude00", "1", "01"]))


def array(values: Iterable[str]) -> Any:
    listed = list(values)
    found = np.empty(len(listed), dtype=np.object_)
    found[:] = listed
    return found


def by_a_set(keys: Iterable[Any]) -> list[bool]:
    """The slow oracle: the definition."""
    seen, further = set(), []
    for key in keys:
        unit = key[0] if isinstance(key, tuple) else key
        further.append(unit != "" and key in seen)
        seen.add(key)
    return further


def collide(key: object) -> int:
    return 7


def half(key: object) -> int:
    return hash(key) % 2


@pytest.mark.parametrize("hashed", [hash, collide, half])
@given(units=texts)
def test_as_a_set_would_say(hashed: Callable[[Any], int], units: list[str]) -> None:
    """Also where every hash collides: only texts decide."""
    assert further_rows(array(units), hashed=hashed).tolist() == by_a_set(units)


@pytest.mark.parametrize("hashed", [hash, collide, half])
@given(rows=st.lists(st.tuples(st.sampled_from(["", "a", "b", "ab"]), st.sampled_from("abx"))))
def test_a_unit_returns_in_another_institution(
    hashed: Callable[[Any], int], rows: list[tuple[str, str]]
) -> None:
    units, institutions = array(u for u, _ in rows), array(i for _, i in rows)
    assert further_rows(units, institutions, hashed=hashed).tolist() == by_a_set(rows)


def test_many_units() -> None:
    units = array([f"u{i}" for i in range(200_000)] + ["u5", "u199999", "u5"])
    assert np.flatnonzero(further_rows(units)).tolist() == [200_000, 200_001, 200_002]

"""Rows of a long table: one of each kind is in `make check`, and every row runs at night."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest


def night(*rows: Any) -> list[Any]:
    """Return rows that say once more, with other values, what the rows beside them say."""
    return [pytest.param(row, marks=pytest.mark.promises) for row in rows]


def one_of_each(rows: Iterable[Any], kind: Callable[[Any], Hashable]) -> list[Any]:
    """Return all rows; those of a kind that was there before run at night."""
    seen, found = set[Hashable](), list[Any]()
    for row in rows:
        found += night(row) if kind(row) in seen else [row]
        seen.add(kind(row))
    return found

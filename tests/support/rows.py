"""Rows of a long table: `make check` has some of each kind, and every row runs at night."""

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any

import pytest


def night(*rows: Any) -> list[Any]:
    """Return rows that say once more, with other values, what the rows beside them say."""
    return [pytest.param(row, marks=pytest.mark.promises) for row in rows]


def partly(rows: Iterable[Any], late: Collection[Any]) -> list[Any]:
    """Return all rows in their order; those of `late` run at night."""
    return [one for row in rows for one in (night(row) if row in late else [row])]


def one_of_each(rows: Collection[Any], kind: Callable[[Any], Hashable]) -> list[Any]:
    """Return all rows in their order; those of a kind that was there before run at night."""
    first = {kind(row): row for row in reversed([*rows])}
    return partly(rows, [row for row in rows if first[kind(row)] is not row])

"""Rows into units: by id, as they stand, and no more of one than count."""

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.units import Grouping


def texts(*values: str) -> NDArray[np.object_]:
    return np.array(values, dtype=np.object_)


def test_rows_of_a_unit_come_together_in_their_order() -> None:
    found = Grouping.of(texts("b", "a", "b", "b", "a"), None, 2)
    assert found.first.tolist() == [0, 1]
    assert found.kept.tolist() == [0, 2, 1, 4]
    assert found.starts.tolist() == [0, 2, 4]
    assert found.beyond == 1
    positions = np.array([[10, 11, 12, 13, 14]], np.uint16)
    assert found.tables(positions).positions.tolist() == [[10, 12, 11, 14]]


def test_a_unit_is_positive_where_any_of_its_rows_is_also_beyond_the_cap() -> None:
    found = Grouping.of(texts("a", "a", "b"), None, 1)
    assert found.labels(np.array([0, 1, 0], np.uint8)).tolist() == [1, 0]


def test_the_same_id_at_two_institutions_is_two_units() -> None:
    found = Grouping.of(texts("a", "a", "a"), texts("x", "y", "x"), 5)
    assert found.starts.tolist() == [0, 2, 3]


def test_what_one_unit_keeps_depends_on_its_own_rows() -> None:
    alone = Grouping.of(texts("a", "a", "a"), None, 2)
    beside = Grouping.of(texts("z", "a", "z", "a", "a"), None, 2)
    assert beside.kept[2:].tolist() == [1, 3]
    assert alone.kept.tolist() == [0, 1]


def test_nobody_is_no_unit() -> None:
    found = Grouping.of(texts(), None, 3)
    assert found.starts.tolist() == [0]
    assert len(found.first) == 0

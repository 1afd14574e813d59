"""Units of several rows: chosen and joined as units."""

import numpy as np

from fieldfare.shared.features.basis import UnitTables


def table() -> UnitTables:
    positions = np.arange(12, dtype=np.uint16).reshape(2, 6)
    return UnitTables(np.array([0, 1, 1, 4, 6]), positions)


def test_chosen_units_keep_their_rows() -> None:
    found = table().select(np.array([True, True, False, True]))
    assert found.starts.tolist() == [0, 1, 1, 3]
    assert found.positions.tolist() == [[0, 4, 5], [6, 10, 11]]
    assert len(found) == 3


def test_parts_join_in_order() -> None:
    one = table()
    parts = [one.select(np.arange(4) < 2), one.select(np.arange(4) >= 2)]
    found = UnitTables.joined(parts)
    assert found.starts.tolist() == one.starts.tolist()
    assert found.positions.tolist() == one.positions.tolist()


def test_a_repr_shows_no_record() -> None:
    assert "positions" not in repr(table())

import pytest

from fieldfare.shared.pages.bars import BARS, COLUMNS_HIGH, STAR, bars, columns, spokes


def test_bars_begin_at_the_middle_and_the_longest_fills_its_half() -> None:
    up, down, none = bars([2.0, -1.0, 0.0])
    assert (up.x, up.width) == (BARS / 2, BARS / 2)
    assert (down.x, down.width) == (BARS / 4, BARS / 4)
    assert none.width == 0
    assert bars([]) == []
    assert bars([0.0])[0].width == 0


def test_columns_stand_on_the_ground_and_show_their_part() -> None:
    first, second = columns([(4, 1), (2, 2)])
    assert (first.y, first.height, first.part) == (0, COLUMNS_HIGH, COLUMNS_HIGH / 4)
    assert second.y == second.part_y == COLUMNS_HIGH / 2
    assert second.x > first.x


@pytest.mark.parametrize("number", [1, 2, 12])
def test_a_star_stays_in_its_frame(number: int) -> None:
    found = spokes([float(one) for one in range(number)])
    assert len({(one.x, one.y) for one in found}) == number
    assert all(0 < one.x < STAR and 0 < one.label_y < STAR for one in found)
    assert [one.thick for one in found] == sorted(one.thick for one in found)

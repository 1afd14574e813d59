"""Problems add up over batches and files and show few rows; those that refuse come first."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldfare.client.records.encoding.problems import Effect, Place, Problems, RecordProblem
from fieldfare.shared.errors import RecordsError, UsageError

PLACE = Place("r.csv")
WHAT = "expected a number, found {rows}; correct"


def rows(*numbers: int) -> NDArray[np.bool_]:
    """Those rows, counted from 1, as a batch holds them."""
    found = np.zeros(max(numbers, default=0), dtype=np.bool_)
    found[[number - 1 for number in numbers]] = True
    return found


def test_counts_add_up_and_the_first_rows_are_named() -> None:
    problems = Problems()
    problems.add_where(PLACE, "amount", WHAT, rows(4, 9), 0)
    problems.add_where(PLACE, "amount", WHAT, rows(2, 5, 7, 11), 10)
    problems.add_where(PLACE, "age", WHAT, rows(3), 0)
    problems.add_where(PLACE, "none", WHAT, rows(), 0)
    assert problems.lines(Effect.REFUSED, Effect.ZERO) == [
        "r.csv: column amount: expected a number, found 6 rows (4, 9, 12, 15, 17, ...); correct",
        "r.csv: column age: expected a number, found 1 row (3); correct",
    ]


def test_rows_of_a_batch_count_from_its_start() -> None:
    problems = Problems()
    problems.add_where(PLACE, "a", WHAT, np.array([True, False, True]), 100)
    problems.add_where(PLACE, "b", WHAT, np.array([False]), 100)
    assert [line.split("number, ")[1] for line in problems.lines(Effect.REFUSED, Effect.ZERO)] == [
        "found 2 rows (101, 103); correct"
    ]


def test_files_of_a_folder_share_a_line() -> None:
    problems = Problems()
    for part, found in (("a.csv", rows(3, 9)), ("b.csv", rows(1, 2, 3, 4))):
        problems.add_where(Place("in", part), "x", WHAT, found, 0)
    for part in "abcde":
        problems.add(Place("in", part), "expected column y")
    problems.add(Place("other"), "expected column y")
    assert problems.lines(Effect.REFUSED, Effect.ZERO) == [
        "in: expected column y (in a, b, c and 2 more)",
        "other: expected column y",
        "in: column x: expected a number, found 6 rows (a.csv 3, 9, b.csv 1, 2, 3, ...); correct",
    ]


def test_check_raises_everything_at_once() -> None:
    problems = Problems()
    problems.add_where(PLACE, "x", WHAT, rows(1), 0, Effect.CLAMPED)
    problems.add_where(PLACE, "y", WHAT, rows(2), 0)
    problems.check()
    problems.add(PLACE, "one")
    problems.add_error(RecordsError("s.csv: two\ns.csv: three"))
    with pytest.raises(RecordsError) as caught:
        problems.check()
    assert str(caught.value) == "r.csv: one\ns.csv: two\ns.csv: three"
    with pytest.raises(RecordsError, match="column y"):  # where nobody outside can tell
        problems.check(Effect.ZERO)


def test_rows_count_as_zero_where_they_were_noted_so() -> None:
    problems = Problems()
    second = Place("s.csv", first=5)
    problems.add_where(PLACE, "x", WHAT, rows(2, 4), 0)
    problems.add_where(PLACE, "y", WHAT, rows(1, 4), 0)
    problems.add_where(PLACE, "y", WHAT, rows(1), 4)
    problems.add_where(second, "x", WHAT, rows(2), 3)
    problems.add_where(second, "y", WHAT, rows(1, 2), 0, Effect.MISSING)
    assert np.flatnonzero(~problems.fits(12)).tolist() == [0, 1, 3, 4, 9]
    with pytest.raises(UsageError, match="whole sources"):
        problems.add_where(PLACE, "x", WHAT, rows(1), 0, Effect.REFUSED)


def test_what_refuses_comes_first() -> None:
    problems = Problems()
    problems.add(PLACE, "odd", Effect.NONE)
    problems.add_where(PLACE, "x", WHAT, rows(2, 5), 0, Effect.OTHER)
    problems.add(PLACE, "wrong")
    assert problems.findings() == [
        RecordProblem(Effect.REFUSED, "r.csv: wrong", 0),
        RecordProblem(
            Effect.OTHER, "r.csv: column x: expected a number, found 2 rows (2, 5); correct", 2
        ),
        RecordProblem(Effect.NONE, "r.csv: odd", 0),
    ]


def test_a_name_may_look_like_a_place_for_rows() -> None:
    problems = Problems()
    problems.add_where(PLACE, "{rows} {0}", WHAT, rows(2), 0)
    assert problems.lines(Effect.REFUSED, Effect.ZERO)[0].startswith(
        "r.csv: column {rows} {0}: expected a number, found 1 row (2)"
    )

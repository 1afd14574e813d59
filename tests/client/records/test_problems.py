"""Problems add up over batches and files and show few rows; those that refuse come first."""

import numpy as np
import pytest

from fieldfare.client.records.problems import Effect, Finding, Place, Problems
from fieldfare.shared.errors import RecordsError

PLACE = Place("r.csv")
WHAT = "a number expected, {rows} found; correct"


def test_counts_add_up_and_the_first_rows_are_named() -> None:
    problems = Problems()
    problems.add_rows(PLACE, "amount", WHAT, np.array([4, 9]))
    problems.add_rows(PLACE, "amount", WHAT, np.array([12, 15, 17, 21]))
    problems.add_rows(PLACE, "age", WHAT, np.array([3]))
    problems.add_rows(PLACE, "none", WHAT, np.array([], dtype=np.int64))
    assert problems.lines() == [
        "r.csv: column amount: a number expected, 6 rows (4, 9, 12, 15, 17, ...) found; correct",
        "r.csv: column age: a number expected, 1 row (3) found; correct",
    ]


def test_rows_of_a_batch_count_from_its_start() -> None:
    problems = Problems()
    problems.add_where(PLACE, "a", WHAT, np.array([True, False, True]), 100)
    problems.add_where(PLACE, "b", WHAT, np.array([False]), 100)
    assert [line.split("expected, ")[1] for line in problems.lines()] == [
        "2 rows (101, 103) found; correct"
    ]


def test_files_of_a_folder_share_a_line() -> None:
    problems = Problems()
    for part, rows in (("a.csv", [3, 9]), ("b.csv", [1, 2, 3, 4])):
        problems.add_rows(Place("in", part), "x", WHAT, np.array(rows))
    for part in "abcde":
        problems.add(Place("in", part), "column y expected")
    problems.add(Place("other"), "column y expected")
    assert problems.lines() == [
        "in: column y expected (in a, b, c and 2 more)",
        "other: column y expected",
        "in: column x: a number expected, 6 rows (a.csv 3, 9, b.csv 1, 2, 3, ...) found; correct",
    ]


def test_check_raises_everything_at_once() -> None:
    problems = Problems()
    problems.add_rows(PLACE, "x", WHAT, np.array([1]), Effect.CLAMPED)
    problems.check()
    problems.add(PLACE, "one")
    problems.add_error(RecordsError("s.csv: two\ns.csv: three"))
    with pytest.raises(RecordsError) as caught:
        problems.check()
    assert str(caught.value) == "r.csv: one\ns.csv: two\ns.csv: three"


def test_what_refuses_comes_first() -> None:
    problems = Problems()
    problems.add(PLACE, "odd", Effect.NONE)
    problems.add_rows(PLACE, "x", WHAT, np.array([2, 5]), Effect.OTHER)
    problems.add(PLACE, "wrong")
    assert problems.findings() == [
        Finding(Effect.REFUSED, "r.csv: wrong", 0),
        Finding(
            Effect.OTHER, "r.csv: column x: a number expected, 2 rows (2, 5) found; correct", 2
        ),
        Finding(Effect.NONE, "r.csv: odd", 0),
    ]


def test_a_name_may_look_like_a_place_for_rows() -> None:
    problems = Problems()
    problems.add_rows(PLACE, "{rows} {0}", WHAT, np.array([2]))
    assert problems.lines()[0].startswith("r.csv: column {rows} {0}: a number expected, 1 row (2)")

"""Problems add up over batches and show few row numbers."""

from pathlib import Path

import numpy as np
import pytest

from fieldfare.client.records.problems import Problems
from fieldfare.shared.errors import RecordsError

PATH = Path("r.csv")
WHAT = "a number expected, {rows} found; correct"


def test_counts_add_up_and_the_first_rows_are_named() -> None:
    problems = Problems()
    problems.add_rows(PATH, "amount", WHAT, np.array([9, 4]))
    problems.add_rows(PATH, "amount", WHAT, np.array([12, 15, 17, 21]))
    problems.add_rows(PATH, "age", WHAT, np.array([3]))
    problems.add_rows(PATH, "none", WHAT, np.array([], dtype=np.int64))
    assert problems.lines() == [
        "r.csv: column amount: a number expected, 6 rows (4, 9, 12, 15, 17, ...) found; correct",
        "r.csv: column age: a number expected, 1 row (3) found; correct",
    ]


def test_check_raises_everything_at_once() -> None:
    problems = Problems()
    problems.check()
    problems.add("r.csv: one")
    problems.add("r.csv: two")
    with pytest.raises(RecordsError, match=r"one\nr\.csv: two"):
        problems.check()

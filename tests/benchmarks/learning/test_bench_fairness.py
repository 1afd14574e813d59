"""What is promised of those whom an alert may harm most is read off all worlds together."""

from dataclasses import asdict
from typing import Any

from tests.benchmarks.learning.fairness import (
    BY_SCORE,
    IN_TIERS,
    FairRow,
    pooled_times,
    promises,
    words,
)

UNITS = {"independent_adult_worker": 50, "survivor_rebuilding": 40, "others": 10_000}


def world(seed: int, order: str, found: int, workers: int, survivors: int) -> FairRow:
    wrong = {"independent_adult_worker": workers, "survivor_rebuilding": survivors, "others": 100}
    return FairRow(seed, "shared", order, 100, found, UNITS, wrong)


def measured(workers: int, survivors: int, found: int) -> list[dict[str, Any]]:
    rows = [world(seed, BY_SCORE, 60, 4, 3) for seed in range(3)]
    rows += [world(seed, IN_TIERS, found, workers, survivors) for seed in range(3)]
    return [asdict(row) for row in rows]


def test_both_groups_and_recall_are_promised() -> None:
    assert [one.holds for one in promises(measured(1, 0, 58))] == [True] * 3
    # 2 of 50 beside 1 of 100 are 4 times, 2 of 40 are 5; 56 found after 60 is too much lost.
    assert [one.holds for one in promises(measured(2, 2, 56))] == [False] * 3


def test_worlds_are_pooled_by_counts() -> None:
    rows = [world(0, IN_TIERS, 58, 0, 0), world(1, IN_TIERS, 58, 3, 0)]
    times = pooled_times(rows, "independent_adult_worker")
    assert times is not None
    assert times.value == 3.0


def test_every_order_has_a_line() -> None:
    said = words(measured(1, 0, 58))
    assert said[0] == "all worlds"
    assert [line.split(":")[0] for line in said[1:]] == [
        "  shared, by score",
        "  shared, readings last",
    ]

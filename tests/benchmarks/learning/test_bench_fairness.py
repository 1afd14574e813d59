"""What is promised of every named look-alike is read off all worlds together."""

from dataclasses import asdict
from typing import Any

import pytest
from tests.benchmarks.learning.fairness import (
    BY_SCORE,
    IN_TIERS,
    FairRow,
    pooled_times,
    promises,
    words,
)

UNITS = {"independent_adult_worker": 60, "farm_contractor": 40, "salaried": 10_000}


def world(seed: int, order: str, found: int, workers: int, contractors: int) -> FairRow:
    wrong = {"independent_adult_worker": workers, "farm_contractor": contractors, "salaried": 100}
    return FairRow(seed, "shared", order, 100, found, UNITS, wrong)


def measured(workers: int, contractors: int, found: int) -> list[dict[str, Any]]:
    rows = [world(seed, BY_SCORE, 60, 4, 3) for seed in range(3)]
    rows += [world(seed, IN_TIERS, found, workers, contractors) for seed in range(3)]
    return [asdict(row) for row in rows]


def test_harm_rule_5_each_look_alike_and_recall_are_promised() -> None:
    assert [one.holds for one in promises(measured(1, 0, 58))] == [True] * 3
    # 2 of 60 beside 1 of 100 are 3 times, 2 of 40 are 5; 56 found after 60 is too much lost.
    assert [one.holds for one in promises(measured(2, 2, 56))] == [False] * 3


def test_worlds_are_pooled_by_counts() -> None:
    rows = [world(0, IN_TIERS, 58, 0, 0), world(1, IN_TIERS, 58, 3, 0)]
    times = pooled_times(rows, "independent_adult_worker")
    assert times is not None
    assert times.value == pytest.approx(0.025 / (200 / 20_080))  # others: contractors, too


def test_every_order_has_a_line() -> None:
    said = words(measured(1, 0, 58))
    assert said[0] == "all worlds"
    assert [line.split(":")[0] for line in said[1:]] == [
        "  shared, by score",
        "  shared, readings last",
    ]
    assert "farm_contractor" in said[1]
    assert ", 9 of 120" in said[1]  # whom it does not hold for, with the count

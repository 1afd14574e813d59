"""Intervals over worlds and held-out units."""

import numpy as np
import pytest
from tests.support.runs.joining import everywhere, kind, paired

from fieldfare.shared.joining.rows import (
    RESAMPLES,
    gain_in_found,
    gain_in_kinds,
    gain_in_precision,
    shared_auroc,
    span,
)


def test_the_mean_is_that_of_the_values_and_the_interval_holds_it() -> None:
    rows = everywhere()
    found = gain_in_precision(rows)
    assert found is not None
    assert found.value == pytest.approx(0.05)
    assert found.low < found.value < found.high
    assert gain_in_precision(rows) == found  # the same rows, the same interval
    assert span([]) is None


def test_an_interval_knows_that_worlds_differ() -> None:
    """Of worlds that differ an interval is wide, however sure each of them is."""
    same = [paired(seed=s, noise=0.001) for s in range(6)]
    other = [paired(seed=s, noise=0.001, at_home=0.55 + 0.04 * (-1) ** s) for s in range(6)]
    narrow, wide = gain_in_precision(same), gain_in_precision(other)
    assert narrow is not None
    assert wide is not None
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 10 * (narrow.high - narrow.low)


def test_of_one_world_the_interval_is_that_of_its_units() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(1.0, 0.1, RESAMPLES).tolist()
    found = span([(7, 1.0, draws)])
    assert found is not None
    low, high = np.percentile(draws, (2.5, 97.5))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Means of six worlds with three banks: 200 times."""
    random, held = np.random.default_rng(1), 0
    for _ in range(200):
        rows = []
        for seed in range(6):
            world = random.normal(0, 0.5)
            for _ in range(3):
                value = world + random.normal(0, 1)
                rows.append((seed, value, random.normal(value, 1, RESAMPLES).tolist()))
        found = span(rows)
        assert found is not None
        held += found.low <= 0 <= found.high
    assert held >= 185


def test_the_same_records_again_are_not_more_records() -> None:
    """Of 20 splits of the same records the hold-outs are no 20 hold-outs: 2.2 times as wide."""
    rows = [paired(seed=s, noise=0.05) for s in range(20)]
    again = [row.model_copy(update={"overlap": 0.2}) for row in rows]
    apart, same, one = (
        gain_in_precision(rows),
        gain_in_precision(again),
        gain_in_precision(rows[:1]),
    )
    assert apart is not None and same is not None and one is not None  # noqa: PT018
    widths = [found.high - found.low for found in (apart, same, one)]
    assert widths[1] / widths[0] == pytest.approx((1 + 19 * 0.2) ** 0.5, rel=0.15)
    assert widths[1] < widths[2]
    assert gain_in_precision(again[:1]) == one
    kinds = [kind("rare", s) for s in range(20)]
    more = [row.model_copy(update={"overlap": 0.2}) for row in kinds]
    found, wider = gain_in_kinds(kinds), gain_in_kinds(more)
    assert found is not None and wider is not None  # noqa: PT018
    assert wider.value == found.value
    assert wider.high - wider.low > 1.8 * (found.high - found.low)


def test_rows_without_an_own_model_compare_nothing() -> None:
    rows = [paired(alone=None, labels=0.0)]
    assert (gain_in_precision(rows), gain_in_found(rows)) == (None, None)
    assert shared_auroc(rows) is not None


def test_recall_of_a_kind_is_of_all_cases_together() -> None:
    rows = [kind("rare", s, cases=10 + s) for s in range(4)]
    found = gain_in_kinds(rows)
    assert found is not None
    assert found.value == pytest.approx(4 * 3 / (10 + 11 + 12 + 13))
    assert found.low < found.value < found.high
    level = gain_in_kinds([kind("rare", s, alone=6, both=4) for s in range(4)])
    assert level is not None
    assert level.low < 0 < level.high
    assert gain_in_kinds([kind("rare", cases=0, alone=0, at_home=0, both=0)]) is None

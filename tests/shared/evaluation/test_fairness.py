import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.runs.grouped import AGES, grouped_study

from fieldfare.shared.evaluation.group_cells import (
    WEIGHT_BITS,
    count_groups,
    group_entries,
    group_parts,
    group_weight,
)
from fieldfare.shared.evaluation.groups import group_lines, rate_of, read_fairness
from fieldfare.shared.features.features import GroupColumn
from fieldfare.shared.study.study import Study

C = 2**WEIGHT_BITS


def grouping(name: str, levels: int) -> GroupColumn:
    return GroupColumn(column=name, levels=tuple(f"level {i}" for i in range(levels)))


def grouped(sizes: list[int]) -> tuple[GroupColumn, ...]:
    return tuple(grouping(f"column {i}", size) for i, size in enumerate(sizes))


def units(
    groups: tuple[GroupColumn, ...], count: int, seed: int
) -> tuple[dict[str, NDArray[np.int32]], NDArray[np.uint8], NDArray[np.bool_]]:
    """Made-up units; codes beyond the levels stand for other and for missing."""
    random = np.random.default_rng(seed)
    codes = {
        group.column: random.integers(0, len(group.levels) + 2, count).astype(np.int32)
        for group in groups
    }
    labels = random.integers(0, 2, count).astype(np.uint8)
    return codes, labels, random.uniform(size=count) < 0.3


sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)


@given(sizes, st.integers(1, 30), st.integers(0, 10_000), st.data())
def test_removing_any_unit_moves_the_counts_by_no_more_than_c(
    sizes: list[int], count: int, seed: int, data: st.DataObject
) -> None:
    groups = grouped(sizes)
    codes, labels, alerts = units(groups, count, seed)
    gone = data.draw(st.integers(0, count - 1))
    kept = np.arange(count) != gone
    whole = count_groups(groups, codes, labels, alerts)
    less = count_groups(
        groups, {name: one[kept] for name, one in codes.items()}, labels[kept], alerts[kept]
    )
    moved = (whole - less).tolist()
    assert sum(one * one for one in moved) <= C * C  # whole numbers: exactly
    assert sum(one != 0 for one in moved) == len(groups)  # one cell of each grouping
    assert set(moved) <= {0, group_weight(groups)}


@given(sizes)
def test_the_weight_is_the_largest_that_keeps_to_c(sizes: list[int]) -> None:
    groups = grouped(sizes)
    weight = group_weight(groups)
    assert len(groups) * weight**2 <= C * C < len(groups) * (weight + 1) ** 2
    assert group_entries(groups) == sum(4 * (size + 1) for size in sizes)
    assert group_parts(groups)[-1].stop == group_entries(groups)


def test_one_grouping_counts_whole_units() -> None:
    (one,) = grouped([2])
    found = count_groups(
        (one,),
        {one.column: np.array([0, 1, 2, 3, 1, -1], np.int32)},
        np.array([0, 0, 1, 0, 1, 0], np.uint8),
        np.array([True, False, True, True, False, False]),
    )
    by_level = (found // C).reshape(3, 2, 2)  # level, label, alert or not
    assert by_level.tolist() == [[[1, 1], [0, 0]], [[1, 0], [1, 0]], [[0, 1], [0, 1]]]


def test_an_institution_without_units_adds_nothing() -> None:
    groups = grouped([2, 3])
    codes, labels, alerts = units(groups, 0, 0)
    assert count_groups(groups, codes, labels, alerts).tolist() == [0] * group_entries(groups)


def noisy(
    study: Study, counts: list[NDArray[np.float64]], noise: float, seed: int
) -> NDArray[np.float64]:
    scale = group_weight(study.groups) / C
    flat = np.concatenate([one.ravel() for one in counts]) * scale
    values: NDArray[np.float64] = flat + np.random.default_rng(seed).normal(0, noise, len(flat))
    return values


def fair(rows: list[list[float]]) -> NDArray[np.float64]:
    """Per level: negatives not reviewed and reviewed, positives not reviewed and reviewed."""
    return np.array(rows, dtype=np.float64).reshape(-1, 2, 2)


ONE_AGE = {"groups": [AGES]}
COUNTS = fair([[9800, 200, 40, 60], [9000, 1000, 10, 40], [40, 1, 2, 1]])


def read(noise: float = 0.0, seed: int = 0) -> dict[str, Any]:
    study = grouped_study(evaluation=ONE_AGE)
    return read_fairness(study, noisy(study, [COUNTS], noise, seed), noise, -1.5)


def test_rates_without_noise_are_those_of_the_counts() -> None:
    found = read()
    young, old, rest = found["columns"][0]["rows"]
    assert found["columns"][0]["column"] == "age_band"
    assert [row["name"] for row in (young, old, rest)] == ["18-24", "25-64", "other or unknown"]
    assert young["units"]["value"] == pytest.approx(10_100)
    assert young["alert_rate"]["value"] == pytest.approx(260 / 10_100)
    assert old["false_positive_rate"]["value"] == pytest.approx(0.1)
    overall = found["everybody"]["false_positive_rate"]
    assert overall["value"] == pytest.approx(1201 / 20_041)
    wilson = rate_of(1201, 20_041)
    assert wilson is not None
    assert overall["low"] == pytest.approx(wilson.low)
    assert (young["verdict"], old["verdict"]) == ("no more than twice", "more than twice")
    assert rest["verdict"] == "too few to say"
    assert old["times"] == pytest.approx(0.1 / (201 / 10_041))  # as the tables of reports do
    assert found["sigma"] == 0
    assert json.loads(json.dumps(found)) == found


def test_noise_widens_what_is_said_and_hides_small_groups() -> None:
    bare, found = read(), read(noise=30.0)
    for exact, blurred in zip(bare["columns"][0]["rows"], found["columns"][0]["rows"], strict=True):
        if blurred["alert_rate"] is not None:
            widths = [
                one["alert_rate"]["high"] - one["alert_rate"]["low"] for one in (exact, blurred)
            ]
            assert widths[1] > widths[0]
    rest = found["columns"][0]["rows"][2]
    assert (rest["alert_rate"], rest["times"], rest["verdict"]) == (None, None, "too few to say")
    assert found["sigma"] == pytest.approx(30.0)


def test_several_groupings_are_read_apart_and_everybody_from_all() -> None:
    study = grouped_study()
    segments = fair([[900, 100, 5, 5], [800, 10, 0, 1], [500, 60, 1, 9], [16_640, 1031, 46, 86]])
    found = read_fairness(study, noisy(study, [COUNTS, segments], 5.0, 1), 5.0, 0.0)
    assert [one["column"] for one in found["columns"]] == ["age_band", "segment"]
    assert found["columns"][1]["rows"][3]["name"] == "no segment"
    assert found["sigma"] == pytest.approx(5.0 * math.sqrt(2), rel=1e-5)  # of one count, in units
    everybody = found["everybody"]["false_positive_rate"]
    assert everybody["low"] < 1201 / 20_041 < everybody["high"]


@pytest.mark.parametrize("level", range(2))
def test_intervals_hold_the_truth_95_times_in_100(level: int) -> None:
    negatives = COUNTS[level, 0]
    truth = negatives[1] / negatives.sum()
    found = [read(noise=25.0, seed=seed)["columns"][0]["rows"][level] for seed in range(400)]
    rates = [row["false_positive_rate"] for row in found]
    inside = np.mean([rate["low"] <= truth <= rate["high"] for rate in rates])
    # Here the counts are fixed, so that intervals, which are for drawn units too, hold a bit more.
    assert inside >= 0.945
    units_inside = np.mean(
        [row["units"]["low"] <= COUNTS[level].sum() <= row["units"]["high"] for row in found]
    )
    assert 0.92 <= units_inside <= 0.98


def test_everybody_weighs_the_groupings_by_their_noise() -> None:
    study = grouped_study()
    segments = fair([[900, 100, 5, 5], [800, 10, 0, 1], [500, 60, 1, 9], [16_640, 1031, 46, 86]])
    values = [
        read_fairness(study, noisy(study, [COUNTS, segments], 10.0, seed), 10.0, 0.0)["everybody"]
        for seed in range(400)
    ]
    counted = np.array([one["units"]["value"] for one in values])
    assert counted.mean() == pytest.approx(COUNTS.sum(), abs=10)
    sigma = counted.std()
    told = (values[0]["units"]["high"] - values[0]["units"]["value"]) / 1.959963984540054
    assert sigma == pytest.approx(told, rel=0.12)
    alone = 10.0 * math.sqrt(2) * math.sqrt(4 * 3)  # from the ages alone
    assert told < alone


def test_plain_words_name_who_is_reviewed_in_vain() -> None:
    counts = fair([[9000, 1000, 40, 60], [90_000, 1000, 10, 40], [40, 1, 2, 1]])
    study = grouped_study(evaluation=ONE_AGE)
    (line,) = group_lines(read_fairness(study, noisy(study, [counts], 0.0, 0), 0.0, 0.0))
    assert "more than twice as often as others: 18-24 (9.1 times)" in line
    assert "no more than twice as often: 25-64" in line
    assert "too few to say: other or unknown" in line
    assert line.startswith("age_band, of all unlabelled 1.98 % (")


def test_many_names_are_cut() -> None:
    group = {"column": "segment", "levels": [f"s{i:02}" for i in range(20)]}
    study = grouped_study(evaluation={"groups": [group]})
    counts = np.zeros((21, 2, 2))
    (line,) = group_lines(read_fairness(study, noisy(study, [counts], 5.0, 0), 5.0, 0.0))
    assert "s07 and 13 more" in line
    assert line.startswith("segment, of all unlabelled too few to say:")

"""Counts by cell, and a drift that chance alone hardly ever shows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import entropy

from fieldfare.client.records.drift import (
    MOVED,
    MOVED_MUCH,
    DriftWord,
    drift,
    drift_lines,
    stability_index,
)
from fieldfare.client.records.health import (
    CELLS,
    ColumnProfile,
    RecordsProfile,
    column_profiles,
    earlier_profile,
    keep_profile,
    profile_at,
    read_health,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import encode_categorical, encode_numeric
from fieldfare.shared.study.study import Study

NUMBER: dict[str, Any] = {"kind": "numeric", "name": "amount", "lower": 0, "upper": 1000}


def study(**changes: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": "unit", "label": "label", "units": 100, "prevalence": 0.1},
            "features": [
                {**NUMBER, "special": [-1]},
                {"kind": "categorical", "name": "channel", "levels": ["branch", "online"]},
            ],
            "privacy": {"epsilon": 1, "delta": 1e-5},
            **changes,
        }
    )


PLAN = study()


def profiles(
    numbers: Any, codes: Any = None, parts: int = 1
) -> tuple[ColumnProfile, ColumnProfile]:
    """The columns of so many rows, read in one or several parts."""
    values = np.asarray(numbers, dtype=np.float64)
    levels = np.zeros(len(values), np.int64) if codes is None else np.asarray(codes)
    amount, channel = PLAN.features
    positions = np.stack([encode_numeric(amount, values), encode_categorical(channel, levels)])  # type: ignore[arg-type]
    first, second = column_profiles(PLAN, np.array_split(positions, parts, axis=1))
    return first, second


def test_rows_are_counted_by_cell_special_values_and_missing_ones_apart() -> None:
    amount, channel = profiles([0, 0.1, 999.9, 1000, -1, np.nan, np.nan], [0, 1, 1, 2, 7, -1, -1])
    assert (amount.cells[0], amount.cells[-1], len(amount.cells)) == (2, 2, CELLS)
    assert (amount.apart, amount.missing, amount.rows) == ([1], 2, 7)
    assert (channel.cells, channel.apart, channel.missing, channel.rows) == ([1, 2], [2], 2, 7)
    assert profiles(range(100), parts=7) == profiles(range(100))


def test_levels_of_a_number_add_up() -> None:
    by = study(features=[{**NUMBER, "by": "branch", "levels": ["x", "y"]}])
    (found,) = column_profiles(by, [np.zeros((1, 5), np.uint16)])
    assert (found.cells[0], found.rows) == (5, 5)


@pytest.mark.parametrize("seed", range(3))
def test_the_index_is_the_divergence_both_ways(seed: int) -> None:
    random = np.random.default_rng(seed)
    then, now = random.integers(0, 50, (2, 12))
    old, new = then + 0.5, now + 0.5
    p, q = old / old.sum(), new / new.sum()
    assert stability_index(then, now) == pytest.approx(entropy(p, q) + entropy(q, p))
    assert stability_index(then, then) == 0
    assert np.isfinite(stability_index(np.array([9, 0]), np.array([0, 9])))


def test_steady_records_are_called_moved_no_more_often_than_said() -> None:
    """400 pairs of 1,500 rows from one skewed law: 4 are meant, 12 or more are 1 in 1,000."""
    random, words = np.random.default_rng(1), []
    for _ in range(400):
        then, now = (profiles(random.lognormal(3, 1, 1_500))[0] for _ in range(2))
        words.append(drift(then, now, 1).word)
    assert words.count(DriftWord.CHANCE) >= 389
    assert words.count(DriftWord.CHANCE) < 400  # the bound is no wall


@pytest.mark.parametrize(
    ("shift", "missing", "word"),
    [
        (0.0, 0.0, DriftWord.CHANCE),
        (0.15, 0.0, DriftWord.STEADY),
        (0.4, 0.0, DriftWord.MOVED),
        (0.7, 0.0, DriftWord.MOVED_MUCH),
        (0.0, 0.02, DriftWord.MOVED),
        (0.0, 0.2, DriftWord.MOVED_MUCH),
    ],
)
def test_what_moves_is_said(shift: float, missing: float, word: DriftWord) -> None:
    random = np.random.default_rng(2)
    then = random.normal(500, 100, 20_000)
    now = random.normal(500 + 100 * shift, 100, 20_000)
    now[: int(missing * len(now))] = np.nan
    found = drift(profiles(then)[0], profiles(now)[0], 30)
    assert found.word is word
    assert found.size is not None
    expected = {DriftWord.MOVED: MOVED, DriftWord.MOVED_MUCH: MOVED_MUCH}.get(word, 0)
    assert found.size >= expected


def test_few_rows_and_other_columns_say_nothing() -> None:
    few, many = profiles(range(150))[0], profiles(range(900))[0]
    assert drift(few, many, 1) == (None, DriftWord.TOO_FEW)
    number, level = profiles(range(900))
    assert drift(number, level, 1) == (None, DriftWord.OTHER)
    assert drift(level, level, 1) == (0, DriftWord.CHANCE)


def test_what_moved_is_said_to_the_operator_in_counts() -> None:
    random = np.random.default_rng(4)
    then = random.normal(500, 100, 5_000)
    now = then + 90
    now[:100] = np.nan
    levels = random.integers(0, 2, 5_000)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    old = profile_at(profiles(then, levels), 5_000, 3, noon)
    new = profile_at(profiles(now, levels), 5_000, 4, noon.replace(month=4))
    rows, moved, column = drift_lines(old, new)
    assert rows == "since 2026-03-01: 5,000 rows, 5,000 before; 4 count as zero, 3 before"
    assert moved == "since 2026-03-01: 1 of 2 columns moved; look before you go on"
    assert column.startswith("  column amount: moved much, index ")
    assert column.endswith("missing 2.0%, 0.0% before")
    assert drift_lines(old, old)[1:] == ["since 2026-03-01: 0 of 2 columns moved"]
    few = profile_at(profiles(then[:90], levels[:90]), 90, 0, noon)
    assert drift_lines(few, new)[1:] == ["since 2026-03-01: too few rows to say"]


def test_the_time_compared_with_is_of_another_day(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    assert earlier_profile(path, PLAN, at("2026-03-01")) is None
    for day, rows in (("01", 1), ("05", 2)):
        keep_profile(path, PLAN, at(f"2026-03-{day}", rows))
    for day, rows in (("05", 1), ("06", 2)):
        found = earlier_profile(path, PLAN, at(f"2026-03-{day}"))
        assert found is not None
        assert found.rows == rows


def at(day: str, rows: int = 0) -> RecordsProfile:
    return profile_at([], rows, 0, datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC))


def test_a_profile_is_kept_beside_that_of_an_earlier_day(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    assert read_health(path).studies == []
    for day, rows in (("01", 1), ("01", 2), ("05", 3), ("05", 4), ("09", 5)):
        keep_profile(path, PLAN, at(f"2026-03-{day}", rows))
    (found,) = read_health(path).studies
    assert found.before is not None
    assert (found.first.rows, found.before.rows, found.now.rows) == (2, 4, 5)
    assert path.stat().st_mode & 0o777 == 0o600
    keep_profile(path, study(name="other"), at("2026-03-09"))
    assert [one.name for one in read_health(path).studies] == ["t", "other"]


def test_another_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    path.write_text('{"format": 1, "studies": [7]}')
    with pytest.raises(UsageError, match="move it away"):
        keep_profile(path, PLAN, at("2026-03-01"))
    assert path.read_text().endswith("[7]}")

"""The gain's benchmark measures what it says, at a size for tests."""

import pytest
from tests.benchmarks import gain as bench_gain
from tests.benchmarks.gain import BENCH, GainRow, interval, lines, promises
from typer.testing import CliRunner

from fieldfare.simulations.demo.five_banks import banks_study


def row(seed: int, share: float, alone: float, at_home: float) -> dict[str, float | str | int]:
    return GainRow(seed, share, "bank-a", 50, alone, 0.3, at_home, 0.5, 0.3, 0.6).__dict__


def test_an_interval_needs_two_values() -> None:
    assert interval([0.5])[1:] == (float("-inf"), float("inf"))
    mean, low, high = interval([0.0, 0.02, 0.04])
    assert mean == pytest.approx(0.02)
    # Student's t for two degrees of freedom, 4.303, times .02 / sqrt(3).
    assert mean - low == pytest.approx(0.0497, abs=1e-4)
    assert high - mean == pytest.approx(0.0497, abs=1e-4)


def test_the_gain_is_relative_and_its_lower_bound_is_promised_too() -> None:
    good = [row(seed, 1.0, 0.50, 0.53 + seed / 1000) for seed in range(5)]
    bad = [row(seed, 0.25, 0.50, 0.4 + seed / 10) for seed in range(3)]
    found = promises([*good, *bad])
    assert [one.holds for one in found] == [True, True, False, False]
    assert found[0].measured == "+6.4%"


def test_banks_are_told_apart() -> None:
    rows = [
        GainRow(s, 1.0, bank, 50, 0.5, 0.3, 0.6, 0.5, 0.3, 0.6) for s in (1, 2) for bank in "ab"
    ]
    said = lines(rows)
    assert said[0].startswith("100% of the cases, 4 banks of worlds: AP 0.500 own best")
    assert [line.split(":")[0] for line in said[1:]] == ["  a", "  b"]


def test_a_seed_is_measured_at_every_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = banks_study()
    training = study.training.model_copy(update={"steps": 5})
    brief = study.model_copy(update={"training": training, "features": study.features[:3]})
    monkeypatch.setattr(bench_gain, "banks_study", lambda: brief)
    monkeypatch.setattr(bench_gain, "GAIN", 1e9)
    found = CliRunner().invoke(BENCH.app(), ["--people", "700", "--seeds", "4"])
    assert found.exit_code == 1, found.output
    assert found.output.count("banks of worlds") == 4
    assert "DOES NOT HOLD" in found.output

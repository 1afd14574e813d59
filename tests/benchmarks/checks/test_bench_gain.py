"""The gain's benchmark measures what it says, at a size for tests."""

import pytest
from tests.benchmarks import gain as bench_gain
from tests.benchmarks.gain import BENCH, SHARES, GainRow, holds_down_to, lines, means
from typer.testing import CliRunner

from fieldfare.simulations.demo.five_banks import banks_study


def row(prevalence: float, together: float, alone: float) -> GainRow:
    return GainRow(prevalence, 100, together, alone)


def test_the_gain_is_relative_and_nothing_over_nothing_is_none() -> None:
    assert row(0.02, 0.5, 0.4).gain == pytest.approx(0.25)
    assert row(0.02, 0.5, 0.0).gain == 0


def test_means_are_share_by_share() -> None:
    found = means([[row(0.02, 0.5, 0.4), row(0.01, 0.3, 0.4)], [row(0.02, 0.7, 0.6)] * 2])
    assert [r.together for r in found] == pytest.approx([0.6, 0.5])
    assert [r.alone for r in found] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("togethers", "lowest"),
    [((0.5, 0.5, 0.5), 0.005), ((0.5, 0.4, 0.5), 0.02), ((0.4, 0.5, 0.5), None)],
)
def test_it_holds_down_to_where_it_first_fails(
    togethers: tuple[float, ...], lowest: float | None
) -> None:
    rows = [row(p, t, 0.4) for p, t in zip((0.02, 0.01, 0.005), togethers, strict=True)]
    assert holds_down_to(rows) == lowest
    assert ("nowhere" in lines(rows)[-1]) == (lowest is None)


def test_a_seed_is_measured_at_every_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = banks_study()
    training = study.training.model_copy(update={"steps": 5})
    brief = study.model_copy(update={"training": training, "features": study.features[:3]})
    monkeypatch.setattr(bench_gain, "banks_study", lambda: brief)
    monkeypatch.setattr(bench_gain, "GAIN", 1e9)
    found = CliRunner().invoke(BENCH.app(), ["--people", "700", "--seeds", "4"])
    assert found.exit_code == 1
    assert found.output.count("to learn from") == 2 * len(SHARES)
    assert "nowhere" in found.output

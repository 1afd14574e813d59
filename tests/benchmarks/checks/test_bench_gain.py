"""The gain's benchmark measures what it says, at a size for tests."""

from typing import Any

import pytest
from tests.benchmarks import gain as bench_gain
from tests.benchmarks.gain import BENCH, lines, promises
from tests.support.runs.joining import everywhere, facts, kind
from typer.testing import CliRunner

from fieldfare.shared.joining.figures import figures
from fieldfare.simulations.demo.five_banks import banks_study


def measured(quarter: float, found: int = 6) -> dict[str, Any]:
    rows = [*everywhere(), *everywhere(labels=0.25, alone=0.5, at_home=quarter)]
    return figures(facts(), rows, [kind("rare", s, at_home=found) for s in range(3)])


def test_gains_bounds_the_gap_and_rare_roles_are_promised() -> None:
    good = promises(measured(0.55))
    assert [one.holds for one in good] == [True] * 6
    assert [one.measured for one in good[::2]] == ["+10.0%", "+10.0%", "50%"]
    bad = promises(measured(0.48, found=4))
    # Nothing is wrong with all labels; with a quarter nothing holds, nor for rare roles.
    assert [one.holds for one in bad] == [True, True, False, False, False, False]
    assert bad[-1].measured == "1.33"


def test_banks_are_told_apart() -> None:
    said = list(lines(measured(0.55)))
    assert said[0].startswith(
        "100% of the cases, 18 banks of worlds: AP 0.500, 0.450, 0.550, 0.600"
    )
    names = [line.split(":")[0].strip() for line in said if line.startswith("  bank")]
    assert names == ["bank-a", "bank-b", "bank-c"]
    assert said[-1].startswith("roles with fewer than 6 own cases, 30 held out: recall within the")


@pytest.mark.promises
def test_a_seed_is_measured_at_every_share(monkeypatch: pytest.MonkeyPatch) -> None:
    study = banks_study()
    training = study.training.model_copy(update={"steps": 5})
    brief = study.model_copy(update={"training": training, "features": study.features[:3]})
    monkeypatch.setattr(bench_gain, "frozen_study", lambda: brief)
    monkeypatch.setattr(bench_gain, "GAIN", 1e9)
    found = CliRunner().invoke(BENCH.app(), ["--people", "700", "--seeds", "4"])
    assert found.exit_code == 1, found.output
    assert found.output.count("banks of worlds") == 4
    assert "DOES NOT HOLD" in found.output

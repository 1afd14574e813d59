"""A start that is made twice, of a world that knows only what was named."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import Basis, EncodedUnits
from fieldfare.shared.features.public_start import PublicStart, StartFacts
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.published.public_start import (
    StartPlan,
    centred,
    make_start,
    pack_features,
    start_of,
    study_of,
)
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.writing import TRUTH, write_world

FEATURES = tuple(one for one in pack_features() if one.name in {"R06", "R31"})
FACTS = StartFacts(generator="tests", seed=1, settings={}, features=FEATURES)


def world(*scenarios: str) -> WorldPlan:
    return WorldPlan.of(people=600, months=1, seed=3, prevalence=0.1, scenarios=scenarios)


def made_up(count: int = 4000) -> EncodedUnits:
    """Units whose first feature says who is a case."""
    generator = np.random.default_rng(0)
    positions = generator.integers(0, 7 * 256, (2, count)).astype(np.uint16)
    chance = 1 / (1 + np.exp(2 - positions[0] / 256))
    return EncodedUnits(positions, (generator.random(count) < chance).astype(np.uint8))


def test_the_same_plan_gives_the_same_bytes_and_says_what_it_was_made_from() -> None:
    first, again = (make_start(StartPlan(world("S1", "S4"), FEATURES)) for _ in range(2))
    assert first.to_bytes() == again.to_bytes()
    assert first.values.any()
    found = PublicStart.from_bytes(first.to_bytes()).facts
    assert found.settings["scenarios"] == "S1_controlled_accounts,S4_labour"
    assert (found.seed, found.settings["people"], found.settings["months"]) == (3, 600, 1)
    assert found.features == FEATURES


def test_a_world_knows_the_scenarios_that_are_named_and_no_others(tmp_path: Path) -> None:
    write_world(world("S4", "S5_recruiter"), tmp_path / "world")
    rings = pq.read_table(tmp_path / "world" / TRUTH / "rings.parquet")
    assert set(rings["scenario"].to_pylist()) == {"S4_labour", "S5_recruiter"}


@pytest.mark.parametrize("named", [(), ("S7",), ("S1", "S7"), ("",)])
def test_other_scenarios_are_refused(named: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="expected scenarios of S1"):
        world(*named)


def test_curves_rise_where_cases_are_and_lie_around_nothing() -> None:
    data, study = made_up(), study_of(FEATURES)
    start = start_of(FACTS, study, data, spread=1.0)
    first, second = (curve / 256 for curve in start.curves_for(FEATURES))
    assert first[6] - first[0] > 2.0
    assert abs(second[6] - second[0]) < 0.5
    for column, table in zip(
        data.positions, Basis(FEATURES).tables(start.values / 256), strict=True
    ):
        assert abs(table[column].mean()) < 0.01


def test_centring_moves_no_score() -> None:
    data, basis = made_up(50), Basis(FEATURES)
    parameters = np.random.default_rng(1).normal(0, 1, basis.entries)
    moved = centred(basis, parameters, data)
    before = basis.scores(parameters, data.positions)
    assert np.abs(basis.scores(moved, data.positions) - before).max() < 1e-12


STUDY = """
name = "started"
purpose = "tests"
[records]
unit = "customer"
label = "label"
units = 1000
prevalence = 0.1
[privacy]
epsilon = 1.0
delta = 1e-5
[[features]]
name = "R06"
kind = "numeric"
tag = "own"
lower = 0
upper = 30
scale = "log1p"
knots = [0, 5, 30]
"""


def test_a_command_makes_the_file_that_a_study_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "own-start.safetensors"
    study.write_text(STUDY)
    asked = ["world", "start", "--scenarios", "S1, S4", "--people", "600", "--months", "1"]
    asked += ["--prevalence", "0.1", "--study", str(study), "--out", str(out)]
    assert run(asked) == 0
    study.write_text(f"{STUDY}\n[training]\n{capsys.readouterr().out}")
    read = load_study(study)
    assert read.public_start is not None
    assert read.training.start == "public:own-start"

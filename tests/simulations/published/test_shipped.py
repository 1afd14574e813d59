"""The start that comes with Fieldfare: whole, of the pack, of two scenarios, and makeable again."""

import os
from pathlib import Path

import pytest
from tests.benchmarks.learning import public_start as bench
from tests.benchmarks.learning.public_start import BENCH, NAME, StartRow, promises, study_of

from fieldfare.shared.features.public_start import PublicStart
from fieldfare.shared.study.start import start_file
from fieldfare.simulations.published.public_start import StartPlan, make_start, pack_features
from fieldfare.simulations.world.making import WorldPlan

HASH = "ce68f1b7f8e58c66e818fb2a9af8e62e01c8b536d4c6d17673669505fdb40197"
SHIPPED = PublicStart.from_bytes(start_file(NAME))


def test_it_is_the_file_that_was_measured_and_says_what_it_knows() -> None:
    assert SHIPPED.hash == HASH
    assert SHIPPED.facts.settings["scenarios"] == "S1_controlled_accounts,S4_labour"
    known = {one.name: one for one in pack_features()}
    assert all(known[one.name] == one for one in SHIPPED.facts.features)


def test_a_study_of_the_pack_starts_there() -> None:
    study = study_of(SHIPPED.facts.features, "customer", 1000, 0.01)
    assert study.training.start_hash == HASH


@pytest.mark.promises
def test_the_same_command_makes_it_again() -> None:
    facts = SHIPPED.facts
    plan = WorldPlan.of(
        people=int(facts.settings["people"]),
        months=int(facts.settings["months"]),
        seed=facts.seed,
        prevalence=float(facts.settings["prevalence"]),
        scenarios=str(facts.settings["scenarios"]).split(","),
        version=int(facts.settings["world"]),
    )
    again = make_start(StartPlan(plan, facts.features, float(facts.settings["spread"])))
    assert again.hash == HASH


def row(together: float, alone: float) -> dict[str, object]:
    recall = {"together": together, "alone": alone}
    return StartRow("five-banks", 1, 60, 80, "start", recall, recall).__dict__


def test_recall_and_its_distance_to_alone_are_promised() -> None:
    assert [one.holds for one in promises([row(0.6, 0.5), row(0.5, 0.45)])] == [True, True]
    assert [one.holds for one in promises([row(0.49, 0.47)])] == [False, False]


@pytest.mark.promises
def test_amlsim_is_measured_where_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(os.environ.get("FIELDFARE_DATA") or "../shared/data")
    if not (data / "amlsim").is_dir():
        pytest.skip("expected AMLSim in ../shared/data, found none: see CONTRIBUTING.md")
    monkeypatch.setenv("FIELDFARE_DATA", str(data))
    (found,) = BENCH.measure(seeds="")
    assert found["name"] == "amlsim"
    assert found["recall"]["start"] > bench.FALSE_POSITIVES

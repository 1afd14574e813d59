"""Five banks of a world that nobody lives in, their study, and the exact path to one screen."""

import json
from functools import partial
from pathlib import Path

import pytest

from fieldfare.client.records import read_records
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.cli import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features import Dependence
from fieldfare.shared.messages import Assurance
from fieldfare.shared.plan import plan_for
from fieldfare.simulations.five_banks import (
    HELPLINES,
    PEOPLE,
    PREVALENCE,
    UNITS_FILE,
    WORLD,
    banks_study,
    banks_task,
    world_facts,
)
from fieldfare.simulations.simulate import Simulation
from fieldfare.simulations.world.making import Plan, make_society

ROOT = Path(__file__).parents[2]
FEW = 1_500


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return banks_task(tmp_path_factory.mktemp("demo"), seed=3, people=FEW)


def test_the_study_can_be_run() -> None:
    study = banks_study()
    plan = plan_for(study)
    plan.check_noise(5)
    assert study.privacy.epsilon == 1
    assert plan.epsilon() <= study.privacy.epsilon


def test_every_feature_is_an_own_one_of_the_pack() -> None:
    known = {spec.name: one.typology for one in own_pack().indicators
             for spec in one.typology.features}  # fmt: skip
    for feature in banks_study().features:
        assert known[feature.name].tag is Dependence.OWN
        assert feature.tag is Dependence.OWN


@pytest.mark.parametrize("name", ["five-banks.toml", "helplines.toml"])
def test_the_studies_are_listed_with_the_others(name: str) -> None:
    shipped = ROOT / "simulations" / "world" / name
    assert (ROOT / "studies" / name).read_text() == shipped.read_text()


def test_the_whole_world_has_the_cases_that_privacy_needs() -> None:
    """At least 600 positives among the banks' training units, at about two percent."""
    study = banks_study()
    plan = Plan.of(people=PEOPLE, months=3, seed=0, prevalence=PREVALENCE)
    society = make_society(plan)
    at_banks = society.customers.holder < 5
    labelled = int(society.labels[at_banks].sum())
    assert labelled * (1 - study.evaluation.holdout) >= 630
    # Public numbers are rounded, and near the world's.
    assert at_banks.sum() == pytest.approx(study.records.units, rel=0.05)
    assert labelled / at_banks.sum() == pytest.approx(study.records.prevalence, rel=0.1)


def test_the_task_is_exact_over_five_banks_and_audits_personas(small: Simulation) -> None:
    assert small.assurance is Assurance.EXACT
    assert small.choice.audit_column == "persona"
    path = small.out / UNITS_FILE
    records = read_records([path], small.study, institution_column="institution")
    assert records.institutions is not None
    assert len(set(records.institutions.tolist())) == 5
    assert 0 < records.data.labels.mean() < 0.5
    assert small.world is not None
    assert 0.05 < small.world["at_two_banks"] < 0.25
    assert small.world["customers"] == len(records)
    assert small.world["positives"] == int(records.data.labels.sum())
    assert small.world["rarer"]["positives"] < small.world["positives"]
    asked = json.loads((small.out / HELPLINES / "results.json").read_text("utf-8"))
    assert asked["privacy"]["masked"] is True
    assert len(asked["institutions"]) == 3


def test_an_earlier_world_is_replaced_and_anything_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / WORLD).mkdir()
    (tmp_path / WORLD / "mine").write_text("")
    with pytest.raises(UsageError, match="an earlier world expected"):
        banks_task(tmp_path, seed=0, people=FEW)
    assert (tmp_path / WORLD / "mine").is_file()


def test_facts_count_banks_only() -> None:
    found = {
        "asked": {"people": 9, "months": 2},
        "totals": {"transactions": 5, "rings": 1, "cases": 2, "signals": 3},
        "institutions": [
            {"kind": "bank", "customers": 6, "serve_a_ring": 1},
            {"kind": "remittance", "customers": 4, "serve_a_ring": 2},
        ],
    }
    facts = world_facts(found)
    assert (facts["customers"], facts["positives"], facts["banks"]) == (6, 1, 1)


@pytest.mark.parametrize("command", [["demo"], ["world", "learn", "--people", str(FEW)]])
def test_it_ends_in_one_screen(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    monkeypatch.setattr("fieldfare.simulations.cli.banks_task", partial(banks_task, people=FEW))
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "not" / "yet" / "there"
    study = banks_study()
    training = study.training.model_copy(update={"steps": 6})
    brief = study.model_copy(update={"training": training})
    monkeypatch.setattr("fieldfare.simulations.five_banks.banks_study", lambda: brief)
    assert run([*command, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "together, through Fieldfare" in captured.out
    assert "Real prevalence is far lower" in " ".join(captured.out.split())
    assert captured.err == ""
    assert len(captured.out.splitlines()) <= 68  # 58 to 62: exact noise chooses some words
    names = {path.name for path in out.iterdir()}
    files = {"results.json", "report.html", "model.json", "model.safetensors"}
    assert names == {*files, UNITS_FILE, WORLD, HELPLINES}
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["privacy"]["masked"] is True
    assert len(results["models"]) == 6
    assert results["groups"]["column"] == "persona"
    assert "Real prevalence is far lower" in (out / "report.html").read_text("utf-8")


def test_a_place_that_cannot_be_a_folder_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for command in (["demo"], ["world", "learn"]):
        assert run([*command, "--out", str(tmp_path / "file"), "--quiet"]) == 2
    assert "a folder expected" in capsys.readouterr().err

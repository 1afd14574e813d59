"""Five banks of a world that nobody lives in, their study, and the exact path to one screen."""

import html
import json
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tests.support.homes.reported import decided
from tests.support.rows import night

from fieldfare.client.alerts.alert import Alert, alert_of
from fieldfare.client.alerts.entry_keys import keys_beside
from fieldfare.client.alerts.feedback import PartyRole
from fieldfare.client.alerts.reports.facts import report_facts
from fieldfare.client.alerts.reports.goaml import goaml_draft
from fieldfare.client.alerts.store import StoredAlert
from fieldfare.client.alerts.text import card
from fieldfare.client.home.layout import INVENTED
from fieldfare.client.institution.initial_setup import create_institution
from fieldfare.client.records import read_records
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import rank_units
from fieldfare.client.scoring.ranking_table import AlertTable
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.client.scoring.units import read_units
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import UNIT, feature_table, hit_table
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.features import Dependence
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.demo.bank_home import DemoBank
from fieldfare.simulations.demo.five_banks import (
    HELPLINES,
    HOME_BANK,
    UNITS_FILE,
    WORLD,
    banks_plan,
    banks_study,
    banks_task,
    world_facts,
)
from fieldfare.simulations.federation.simulate import Simulation
from fieldfare.simulations.world.institutions import WorldFederation
from fieldfare.simulations.world.making import make_society
from fieldfare.simulations.world.studies import last_day

ROOT = Path(__file__).parents[3]
SIDES = ("alone", "together")
FEW = 1_500
MANY = 2_000  # the fewest of twenty banks


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
    known = {
        spec.name: one.typology for one in own_pack().indicators for spec in one.typology.features
    }
    for feature in banks_study().features:
        assert known[feature.name].tag is Dependence.OWN
        assert feature.tag is Dependence.OWN


@pytest.mark.parametrize(
    "name", ["five-banks.toml", "twelve-banks.toml", "twenty-banks.toml", "helplines.toml"]
)
def test_the_studies_are_listed_with_the_others(name: str) -> None:
    shipped = ROOT / "simulations" / "world" / name
    assert (ROOT / "studies" / name).read_text() == shipped.read_text()


@pytest.mark.parametrize("federation", list(WorldFederation))
def test_the_whole_world_has_the_cases_that_privacy_needs(federation: WorldFederation) -> None:
    """At least 600 positives among the banks' training units, at about two percent."""
    study = banks_study(federation)
    society = make_society(banks_plan(federation, seed=0))
    at_banks = society.customers.holder < len(society.plan.institutions.of("bank"))
    labelled = int(society.labels[at_banks].sum())
    assert labelled * (1 - study.evaluation.holdout) >= 630
    # Public numbers are rounded, and near the world's.
    assert at_banks.sum() == pytest.approx(study.records.units, rel=0.05)
    assert labelled / at_banks.sum() == pytest.approx(study.records.prevalence, rel=0.1)


def test_the_task_is_exact_over_five_banks_and_audits_personas(small: Simulation) -> None:
    assert small.protection is Protection.EXACT
    assert small.choice.audit_column == "persona"
    path = small.out / UNITS_FILE
    records = read_records([path], small.study, institution_column="institution")
    assert records.institutions is not None
    assert len(set(records.institutions.tolist())) == 5
    assert 0 < records.data.labels.mean() < 0.5
    assert small.world is not None
    assert 0.05 < small.world["at_two_banks"] < 0.25
    assert small.world["customers"] == len(records)
    known = small.world["known"]
    assert known["day"] == "2026-03-31"
    assert 0 < known["cases"] < small.world["positives"] / 2
    assert known["cases"] + known["mistaken"] == int(records.data.labels.sum())
    asked = json.loads((small.out / HELPLINES / "results.json").read_text("utf-8"))
    assert asked["privacy"]["masked"] is True
    assert len(asked["institutions"]) == 3


ALERTS = 60


def alerts_of(small: Simulation, bank: str, file: Path, seed: int) -> list[Alert]:
    """Score one bank's customers under the shipped study, with a model that is mostly noise.

    So absences raise scores as often as not, which is what evidence must not follow.
    """
    everybody = pq.read_table(small.out / UNITS_FILE)
    pq.write_table(everybody.filter(pc.equal(everybody["institution"], bank)), file)
    random = np.random.default_rng(seed)
    parameters = random.normal(0, 0.7, model_for(small.study).vectors.entries)
    ranking = rank_units(
        small.study, parameters, read_units([table_at(file)], small.study),
        budget=AlertBudget(units=ALERTS, below_line=0.0), key=b"k" * 32, random=random,
    )  # fmt: skip
    beside = {"study": "s", "study_name": "s", "run": "r", "opened": "", "scored": "",
              "of": len(ranking.units), "calibration": ""}  # fmt: skip
    rows = AlertTable.of(ranking, {}).cards(np.flatnonzero(ranking.chosen)).to_pylist()
    return [alert_of(row, alert=row["unit"], **beside) for row in rows]


@pytest.mark.parametrize("seed", [1, *night(2)])
def test_alerts_say_how_many_published_indicators_fire_and_no_more(
    small: Simulation, tmp_path: Path, seed: int
) -> None:
    """Holds for every alert, against the typologies' own rule over the bank's own statements."""
    world, bank = small.out / WORLD, "bank-a"
    with open_extract(world / bank, last_day(world)) as extract:
        numbers = feature_table(extract, own_pack()).table
    hits = hit_table(numbers, own_pack()).to_pylist()
    values = {row[UNIT]: row for row in numbers.to_pylist()}
    fire = {row[UNIT]: set(row["hits"]) for row in hits}
    known = {feature.name for feature in small.study.features}
    families = {one.id: one.typology.family.value for one in own_pack().indicators}
    usual = {name: pc.quantile(numbers[name], 0.5)[0].as_py() for name in known}
    alerts = alerts_of(small, bank, tmp_path / "own.parquet", seed)
    assert len(alerts) == ALERTS
    for alert in alerts:
        assert set(alert.fired) == fire[alert.unit] & known
        assert set(alert.evidence) <= set(alert.fired)
        assert all(values[alert.unit][one] > usual[one] for one in alert.evidence)
        counted = {families[one] for one in alert.evidence}
        assert (alert.families, set(alert.family_names)) == (len(counted), counted)
        for reason in alert.reasons:
            value = values[alert.unit][reason.feature]
            assert not reason.evidence or value > usual[reason.feature]
            assert not reason.evidence or reason.indicator in alert.evidence
        assert_all_say(alert)
    assert sum(alert.families for alert in alerts) > 0


def assert_all_say(alert: Alert) -> None:
    """Check that the card and the draft of a report say one count."""
    console = Console(width=200, force_terminal=False)
    with console.capture() as shown:
        console.print(card(StoredAlert(alert, ())))
    found = re.search(r"evidence +(\d+) independent famil(?:y|ies): ([A-Z_, ]+|none)", shown.get())
    assert found is not None
    assert (int(found[1]), found[2].strip()) == (
        alert.families,
        ", ".join(alert.family_names) or "none",
    )
    draft = goaml_draft(report_facts(alert, decided(PartyRole.CONTROLLER), {})).decode()
    said = re.search(r"(\d+) published indicators?, of (\d+) independent", draft)
    counts: Any = (int(said[1]), int(said[2])) if said else (0, 0)
    assert counts == (len(alert.evidence), alert.families)
    assert ("is evidence here" in draft) == (not alert.evidence)


def test_an_earlier_world_is_replaced_and_anything_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / WORLD).mkdir()
    (tmp_path / WORLD / "mine").write_text("")
    with pytest.raises(UsageError, match="an earlier world, found"):
        banks_task(tmp_path, seed=0, people=FEW)
    assert (tmp_path / WORLD / "mine").is_file()


def test_an_earlier_home_is_replaced_and_a_real_one_is_kept(tmp_path: Path) -> None:
    make = partial(DemoBank, HOME_BANK, tmp_path, world=tmp_path, units=tmp_path, seed=0)
    real = create_institution(tmp_path / HOME_BANK, HOME_BANK)
    with pytest.raises(UsageError, match="an earlier demo's home, found another"):
        make()
    assert real.identity_key.is_file()
    (real.path / INVENTED).write_text("")
    keys_beside(real.path).mkdir()
    make()
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        pytest.param(["demo", "--people", str(MANY), "--version", "1"], marks=pytest.mark.faults),
    ],
)
def test_it_ends_in_one_screen(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    terms = dict.fromkeys(WorldFederation, (MANY, 0.02))
    monkeypatch.setattr("fieldfare.simulations.demo.five_banks.SIZES", terms)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    out = Path("not") / "yet" / "there"
    study = banks_study(WorldFederation.TWENTY)
    training = study.training.model_copy(update={"steps": 6})
    brief = study.model_copy(update={"training": training})
    monkeypatch.setattr("fieldfare.simulations.demo.five_banks.banks_study", lambda _: brief)
    assert run([*command, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    said = " ".join(captured.out.split())
    judged = "known cases held out" if "--version" in command else "cases that no bank knows"
    assert re.search(rf"Of \d+ {judged}, \d+ (more|fewer) are found by reviewing 2.0%", said)
    assert "Invented: nobody exists." in said
    assert ("which no real bank does" in said) == ("--version" in command)
    assert captured.err == ""
    assert len(captured.out.splitlines()) <= 20
    names = {path.name for path in out.iterdir()}
    files = {"results.json", "report.html", "model.json", "model.safetensors"}
    results = json.loads((out / "results.json").read_text("utf-8"))
    home = {HOME_BANK, f"{HOME_BANK}.keys"} if command == ["demo"] else set()
    assert names == {*files, UNITS_FILE, WORLD, HELPLINES, *home}
    assert ("console --home not/yet/there/bank-a" in said) == bool(home)
    assert ("home" in results) == bool(home)
    assert results["privacy"]["masked"] is True
    assert len(results["models"]) == 7
    assert results["groups"]["column"] == "persona"
    page = (out / "report.html").read_text("utf-8")
    assert "Real prevalence is far lower" in page
    assert_one_story(results, said, page, out)


def assert_one_story(results: Any, screen: str, page: str, out: Path) -> None:
    """Check that screen, report and console have the count of results.json, and one sentence."""
    found = results["found"]
    alone, together = (sum(row[key] for row in found["institutions"]) for key in SIDES)
    count = f"{alone:,} alone, {together:,} together"
    shown = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    told = {"screen": screen, "report": shown}
    if "home" in results:
        told["console"] = " ".join((out / HOME_BANK / INVENTED).read_text("utf-8").split())
    sentences = {
        name: text[text.index(f"Of {found['cases']:,} ") : text.index("cannot be told.")]
        for name, text in told.items()
    }
    assert len(set(sentences.values())) == 1, sentences
    assert count in sentences["screen"]


def test_a_place_that_cannot_be_a_folder_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["demo", "--out", str(tmp_path / "file"), "--quiet"]) == 2
    assert "expected a folder" in capsys.readouterr().err

"""The demo: a world that nobody lives in, its own study, and the exact path to one screen."""

import json
from pathlib import Path

import pytest

from fieldfare.client.records import read_records
from fieldfare.shared.cli import run
from fieldfare.shared.messages import Assurance
from fieldfare.shared.plan import plan_for
from fieldfare.simulations.demo import ACCOUNTS_FILE, demo_study, demo_task


def test_the_study_of_the_demo_can_be_run() -> None:
    study = demo_study()
    plan = plan_for(study)
    plan.check_noise(5)
    assert plan.epsilon() <= study.privacy.epsilon


def test_the_task_is_exact_over_five_banks_and_audits_personas(tmp_path: Path) -> None:
    task = demo_task(tmp_path, seed=3)
    assert task.assurance is Assurance.EXACT
    assert (task.seed, task.out) == (3, tmp_path)
    assert task.choice.audit_column == "persona"
    records = read_records([tmp_path / ACCOUNTS_FILE], task.study, institution_column="institution")
    assert records.institutions is not None
    assert len(set(records.institutions.tolist())) == 5
    assert 0 < records.data.labels.mean() < 0.5
    # Public numbers are rounded, and near the world's.
    assert len(records) == pytest.approx(task.study.records.units, rel=0.15)
    assert records.data.labels.mean() == pytest.approx(task.study.records.prevalence, rel=0.5)


def test_the_demo_ends_in_one_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = tmp_path / "not" / "yet" / "there"
    assert run(["demo", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "together, through Fieldfare" in captured.out
    assert captured.err == ""
    assert len(captured.out.splitlines()) <= 50
    names = {path.name for path in out.iterdir()}
    files = {"results.json", "report.html", "model.json", "model.safetensors", ACCOUNTS_FILE}
    assert names == files
    results = json.loads((out / "results.json").read_text("utf-8"))
    assert results["privacy"]["masked"] is True
    assert len(results["models"]) == 6
    assert results["groups"]["column"] == "persona"


def test_a_place_that_cannot_be_a_folder_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(["demo", "--out", str(tmp_path / "file"), "--quiet"]) == 2
    assert "a folder expected" in capsys.readouterr().err

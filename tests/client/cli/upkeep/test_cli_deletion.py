"""`fieldfare delete` and `institution model delete`, as typed."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.client.alerts.test_alert_store import alert
from tests.shared.party.test_file_deletion import pack
from tests.support.homes.institutions import NAMES, Coordinator, home_study
from tests.support.homes.upkeep import at_party
from tests.support.runs.finished import FINISHED, delivered

from fieldfare.client.alerts.store import open_store
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import CARD, ENVELOPE, MODEL, keep_files, kept_models
from fieldfare.client.home.studies import State, StudyDecision, write_decision
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import read
from fieldfare.client.model_use.usable import tuned_path
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.system.private_files import create_private

Typed = Callable[..., tuple[int, str]]
STUDY = home_study()


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    return coordinator.homes[NAMES[0]]


@pytest.fixture
def typed(home: Home, capsys: pytest.CaptureFixture[str]) -> Typed:
    def type_it(*words: str) -> tuple[int, str]:
        status = run([*at_party("institution", words), "--home", str(home.path)])
        said = capsys.readouterr()
        return status, " ".join((said.out + said.err).split())

    return type_it


def keep(coordinator: Coordinator, home: Home, name: str, days: int) -> None:
    """Keep a model of a run that finished so many days later."""
    at = FINISHED + timedelta(days=days)
    made = delivered(STUDY, IdentitySigner(coordinator.key), seed=days, at=at, run=name)
    files = {ENVELOPE: made.envelope, MODEL: made.model, CARD: made.card}
    keep_files(home, STUDY.id, name, files)


def deleted(home: Home) -> list[tuple[str, str]]:
    """What the log says is gone, and under whose reason."""
    return [
        (str(one.details["asked"]), str(one.details["reason"]))
        for one in read(home.log_folder)
        if one.event is Event.DELETED
    ]


def test_an_old_model_goes_and_a_signed_statement_says_so(
    coordinator: Coordinator, home: Home, typed: Typed, tmp_path: Path
) -> None:
    coordinator.receive(STUDY)
    write_decision(home, StudyDecision(study=STUDY.id, state=State.APPROVED))
    for days, name in enumerate(("run-new", "run-a"), start=1):
        keep(coordinator, home, name, 10 - days)
    with open_store(home) as store:
        store.put([alert("aaaa1111", "u", study=STUDY.id, run="run-new")])
    tuned = tuned_path(home, STUDY.id, "run-a")
    create_private(tuned, b"{}")

    status, said = typed("model", "delete", "run-a", "--dry-run")
    assert (status, "nothing was deleted" in said, str(tuned) in said) == (0, True, True)
    assert typed("model", "delete", "run-a", "--yes")[0] == 2  # no reason
    assert typed("model", "delete", "no-such-run", "--yes", "--reason", "old")[0] == 2
    assert len(kept_models(home)) == 2
    assert tuned.exists()
    status, said = typed("model", "delete", "run-a", "--yes", "--reason", "too old")
    assert (status, "deleted" in said) == (0, True)
    assert [one.run for one in kept_models(home)] == ["run-new"]
    assert not tuned.exists()
    assert deleted(home) == [("model of run run-a", "too old")]

    status, said = typed("model", "delete", "run-new", "--yes", "--reason", "old")
    assert (status, "withdraw the study first" in said) == (2, True)
    write_decision(home, StudyDecision(study=STUDY.id, state=State.WITHDRAWN))
    status, said = typed("model", "delete", "run-new", "--yes", "--reason", "old")
    assert (status, "open alerts" in said) == (2, True)
    assert [one.run for one in kept_models(home)] == ["run-new"]

    out = tmp_path / "deletions"
    assert typed("deletions", "--out", str(out))[0] == 0
    assert b"too old" not in out.read_bytes()  # what a person typed stays here
    assert run(["audit", "deletions", str(out), "--roster", str(home.roster)]) == 0


def test_packs_and_backups_go_but_never_the_newest_backup(
    home: Home, typed: Typed, tmp_path: Path
) -> None:
    key, files = tmp_path / "recovery.key", [tmp_path / "1.backup", tmp_path / "2.backup"]
    assert run(["recovery", "key", str(key)]) == 0
    assert typed("recovery", "take", f"{key}.pub")[0] == 0
    for file in files:
        assert typed("backup", str(file))[0] == 0
    one, two = map(str, (pack(tmp_path / "pack.zip"), files[0]))
    status, said = typed("delete", one, two, str(files[1]), "--yes", "--reason", "old")
    assert (status, "found the newest one" in said) == (2, True)
    assert all(map(os.path.exists, (one, two)))  # all of them, or none
    status, said = typed("delete", one, two, "--yes", "--reason", "old")
    assert (status, said.count(": deleted")) == (0, 2)
    assert not any(map(os.path.exists, (one, two)))
    assert deleted(home) == [("evidence pack", "old"), ("backup", "old")]


def test_what_is_replaced_while_a_person_is_asked_is_in_no_statement(
    home: Home, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log says is gone is signed as gone: the file that was read may be elsewhere."""
    path = pack(tmp_path / "pack.zip")

    def replaced(_: str) -> bool:
        path.rename(tmp_path / "elsewhere")
        pack(path)
        return True

    monkeypatch.setattr("typer.confirm", replaced)
    status, said = typed("delete", str(path), "--reason", "old")
    assert (status, "found another: repeat" in said) == (2, True)
    assert not home.log.exists() or deleted(home) == []


def test_a_model_whose_deletion_was_interrupted_goes_when_it_is_typed_again(
    coordinator: Coordinator, home: Home, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(coordinator, home, "run-a", 1)
    asked = ("model", "delete", "run-a", "--yes", "--reason", "old")
    with monkeypatch.context() as interrupted:
        interrupted.setattr("shutil.rmtree", _interrupt)
        assert typed(*asked)[0] != 0
    assert any(home.models.rglob("model.safetensors"))
    typed(*asked)
    assert not any(home.models.rglob("model.safetensors"))
    assert len(deleted(home)) == 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_log_that_cannot_be_written_keeps_the_file(
    home: Home, typed: Typed, tmp_path: Path
) -> None:
    path = pack(tmp_path / "pack.zip")
    home.log_folder.mkdir(exist_ok=True)
    home.log.write_bytes(b"no database" * 100)
    assert typed("delete", str(path), "--yes", "--reason", "old")[0] != 0
    assert path.exists()

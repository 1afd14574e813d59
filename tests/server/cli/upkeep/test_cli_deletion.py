"""`fieldfare delete` and `coordinator model delete`, as typed."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.shared.party.test_file_deletion import pack
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.deletion import read_deletions

Typed = Callable[..., tuple[int, str]]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def typed(keyed: KeyedCoordinator, capsys: pytest.CaptureFixture[str]) -> Typed:
    def type_it(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        status = keyed.command(*words)
        said = capsys.readouterr()
        return status, " ".join((said.out + said.err).split())

    return type_it


@pytest.fixture
def model(keyed: KeyedCoordinator) -> Path:
    """The folder of the model of run-1, beside a second run that goes on."""
    with keyed.store() as store:
        store.create("run-1", keyed.study.id, NOW)
        store.set_state("run-1", RunStatus.FINISHED, "", NOW)
        store.create("run-2", keyed.study.id, NOW)
        store.put_undelivered("bank-a", "run-1")
        store.put_undelivered("bank-that-left", "run-1")
    folder = keyed.home.model("run-1")
    folder.mkdir(parents=True)
    for name in ("model.safetensors", "card.json", "delivery.signed"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_model_goes_once_nobody_needs_it_and_a_statement_says_so(
    keyed: KeyedCoordinator, typed: Typed, model: Path
) -> None:
    asked = ("model", "delete", "run-1", "--yes", "--reason", "as our rule says")
    status, said = typed(*asked)
    assert (status, "found run-2" in said) == (2, True)
    with keyed.store() as store:
        store.set_state("run-2", RunStatus.STOPPED, "", NOW)
    status, said = typed(*asked)
    assert (status, "bank-a lacks it" in said) == (2, True)
    with keyed.store() as store:
        store.set_delivered("bank-a", "run-1")
    assert typed("model", "delete", "run-1", "--dry-run")[0] == 0
    assert typed("model", "delete", "run-1", "--yes")[0] == 2  # no reason
    assert typed("model", "delete", "run-2", "--yes", "--reason", "x")[0] == 2  # has none
    assert model.is_dir()
    status, said = typed(*asked)
    assert (status, "1 statement of deletion signed" in said) == (0, True)
    assert not model.exists()
    with keyed.store() as store:
        assert store.undelivered("bank-that-left") == ()  # or its next run would look for it
        (line,) = store.deletion_statements()
        assert store.unstated_deletions() == 0
    (statement,) = read_deletions(line, (keyed.roster(),), (), "coordinator")
    assert (statement.kind, statement.subject) == ("file", "model of run run-1")
    assert (statement.study, statement.hashes) == (
        keyed.study.id,
        (bytes_hash(b"model.safetensors"),),
    )
    assert "as our rule" not in line.decode()
    assert "as our rule says" in keyed.home.decisions.read_text()


def test_a_model_that_went_in_part_goes_when_it_is_typed_again(
    keyed: KeyedCoordinator, typed: Typed, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keyed.store() as store:
        store.set_state("run-2", RunStatus.STOPPED, "", NOW)
        store.set_delivered("bank-a", "run-1")
    asked, left = ("model", "delete", "run-1", "--yes", "--reason", "old"), [2]
    unlink = Path.unlink

    def interrupted(path: Path, missing_ok: bool = False) -> None:
        if path.parent == model and not left[0]:
            raise KeyboardInterrupt
        left[0] -= path.parent == model
        unlink(path, missing_ok)

    with monkeypatch.context() as now:
        now.setattr(Path, "unlink", interrupted)
        assert typed(*asked)[0] != 0
    assert [path.name for path in model.iterdir()] == ["model.safetensors"]  # its hash is stated
    status, said = typed(*asked)
    assert (status, "1 statement of deletion signed" in said) == (0, True)
    assert not model.exists()


def test_packs_and_older_backups_go_in_one_chain_of_statements(
    keyed: KeyedCoordinator, typed: Typed, tmp_path: Path
) -> None:
    key, out = tmp_path / "recovery.key", tmp_path / "statements"
    files = [str(tmp_path / name) for name in ("1.backup", "2.backup")]
    assert run(["recovery", "key", str(key)]) == 0
    assert typed("recovery", "take", f"{key}.pub")[0] == 0
    for file in files:
        assert typed("backup", file)[0] == 0
    status, said = typed("delete", *files, "--yes", "--reason", "old")
    assert (status, "found the newest one" in said) == (2, True)
    one = str(pack(tmp_path / "pack.zip"))
    assert typed("delete", one, "--yes", "--reason", "old")[0] == 0
    assert typed("delete", files[0], "--yes", "--reason", "old")[0] == 0
    assert not any(Path(path).exists() for path in (one, files[0]))
    assert Path(files[1]).exists()
    assert typed("deletions", "--out", str(out))[0] == 0
    found = read_deletions(out.read_bytes(), (keyed.roster(),))
    assert [(one.number, one.subject) for one in found] == [(0, "evidence pack"), (1, "backup")]


def test_a_file_that_cannot_go_is_not_noted(
    keyed: KeyedCoordinator, typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "pack.zip")

    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", denied)
    assert typed("delete", str(path), "--yes", "--reason", "old")[0] != 0
    monkeypatch.undo()
    with keyed.store() as store:
        assert (store.unstated_deletions(), store.deletion_statements()) == (0, ())

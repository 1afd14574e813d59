"""What is due goes, a statement follows, and a restored backup brings nothing back."""

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.coordinators import NOW, found

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store import deletions
from fieldfare.server.store.rows import Progress, RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.server.upkeep import due_deletions
from fieldfare.server.upkeep.backing_up import back_up_coordinator, keep_recovery_key
from fieldfare.server.upkeep.due_deletions import delete_due
from fieldfare.server.upkeep.restored_coordinator import restore_coordinator
from fieldfare.shared.errors import KeysError
from fieldfare.shared.party.home_copies import BackupSource
from fieldfare.shared.party.recovery_key import RecoveryPrivate
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.deletion import read_deletions
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

KEY: Final = RecoveryPrivate.generate()
VECTOR: Final = b"a masked vector"
HASH: Final = hashlib.sha256(VECTOR).hexdigest()


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    """A coordinator with a run that ended and one that goes on, each with a vector."""
    made = found(tmp_path / "coordinator")
    keep_recovery_key(made, KEY.public.content, "recovery.pub")
    with run_store(made.runs_database) as store:
        for number, (run, state) in enumerate(
            (("done", RunStatus.FINISHED), ("open", RunStatus.RUNNING))
        ):
            store.create(run, f"{number}" * 64, NOW)
            progress = Progress(1, 4, 0, 0.1, SideCosts(all=1), "training", NOW)
            store.append(run, [Leaf(LeafKind.REPLY, b"")], blobs={HASH: VECTOR}, progress=progress)
            store.set_state(run, state, "", NOW)
    return made


def test_what_is_due_goes_and_is_stated_under_the_online_key(home: CoordinatorHome) -> None:
    days = load_settings(home).retention_days
    with run_store(home.runs_database) as store:
        assert delete_due(home, store, None, NOW + timedelta(days=days)).vectors == 0
        done = delete_due(home, store, None, NOW + timedelta(days=days, seconds=1))
        assert (done.vectors, done.stated, done.unstated) == (1, 1, 0)
        assert store.blob_names("open") == (HASH,)
        content = b"\n".join(store.deletion_statements())
    (statement,) = read_deletions(content, (), (signing_public(home),))
    assert (statement.subject, statement.hashes) == ("done", (HASH,))
    assert f"retention_days = {days}" in statement.rule


def test_without_the_passphrase_all_is_deleted_and_stated_later(tmp_path: Path) -> None:
    made = found(tmp_path / "coordinator", passphrase=b"a passphrase")
    with run_store(made.runs_database) as store:
        store.create("done", "0" * 64, NOW)
        store.append("done", [Leaf(LeafKind.REPLY, b"")], blobs={HASH: VECTOR})
        store.set_state("done", RunStatus.FINISHED, "", NOW)
        later = NOW + timedelta(days=9000)
        done = delete_due(made, store, None, later)
        assert (done.vectors, done.stated, done.unstated) == (1, 0, 1)
        done = delete_due(made, store, b"a passphrase", later)
        assert (done.vectors, done.stated, done.unstated) == (0, 1, 0)


def test_a_restored_backup_brings_back_nothing_that_was_due(home: CoordinatorHome) -> None:
    settings = home.settings.read_text()
    home.settings.write_text(settings.replace("retention_days = 3650", "retention_days = 30"))
    file = home.path.parent / "c.backup"
    back_up_coordinator(home, file, lambda: NOW)
    later = NOW + timedelta(days=31)
    done = restore_coordinator(
        BackupSource(file, KEY), file.parent / "new", "the disk failed", None, lambda: later
    )
    with run_store(done.home.runs_database) as store:
        # The open one too: that its end was not seen is no reason to keep it anew.
        assert [store.blob_names(run) for run in ("done", "open")] == [(), ()]
        content = b"\n".join(store.deletion_statements())
    assert len(read_deletions(content, (), (signing_public(done.home),))) == 2
    assert VECTOR not in done.home.runs_database.read_bytes()


def test_a_run_too_large_for_a_statement_opens_no_key(
    home: CoordinatorHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It never gets a statement: the key was once opened for it every day."""
    opened = list[bytes | None]()

    def open_key(_: CoordinatorHome, passphrase: bytes | None) -> object:
        opened.append(passphrase)
        raise KeysError("expected no look at the key")

    monkeypatch.setattr(due_deletions, "load_signing_key", open_key)
    monkeypatch.setattr(deletions, "MOST_HASHES", 0)
    later = NOW + timedelta(days=load_settings(home).retention_days, seconds=1)
    with run_store(home.runs_database) as store:
        for day in range(3):
            done = delete_due(home, store, None, later + timedelta(days=day))
            assert done.unstated == 1
        assert opened == []
        monkeypatch.undo()
        assert delete_due(home, store, None, later).stated == 1

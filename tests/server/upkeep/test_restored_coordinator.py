"""A backup of a coordinator's home, and the home that comes of it."""

from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.coordinators import NOW, found

from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RESTORED, run_store
from fieldfare.server.upkeep.backing_up import back_up_coordinator, keep_recovery_key
from fieldfare.server.upkeep.restored_coordinator import (
    RestoredCoordinator,
    rehearse_coordinator,
    restore_coordinator,
)
from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.party.home_copies import BackupSource
from fieldfare.shared.party.home_files import files_in
from fieldfare.shared.party.recovery_key import RecoveryPrivate

KEY: Final = RecoveryPrivate.generate()
STUDY: Final = "5" * 64


@pytest.fixture
def home(tmp_path: Path) -> CoordinatorHome:
    """A coordinator with a finished run and one that goes on."""
    made = found(tmp_path / "coordinator")
    keep_recovery_key(made, KEY.public.content, "recovery.pub")
    with run_store(made.runs_database) as store:
        for run, state in (("done", RunStatus.FINISHED), ("open", RunStatus.RUNNING)):
            store.create(run, STUDY, NOW)
            store.set_state(run, state, "", NOW)
    return made


def backed_up(home: CoordinatorHome) -> Path:
    file = home.path.parent / "c.backup"
    back_up_coordinator(home, file, lambda: NOW)
    return file


def restored(file: Path) -> RestoredCoordinator:
    source = BackupSource(file, KEY)
    return restore_coordinator(source, file.parent / "new", "the disk failed", None, lambda: NOW)


def test_every_file_of_a_new_coordinator_is_in_the_table(home: CoordinatorHome) -> None:
    assert [path for path, kind in files_in(home.path, COORDINATOR_FILES) if kind is None] == []


def test_a_backup_has_what_was_pinned_and_no_key_that_signs_runs(home: CoordinatorHome) -> None:
    file = home.path.parent / "c.backup"
    header = back_up_coordinator(home, file, lambda: NOW).header
    paths = {one.path for one in header.files}
    assert {"keys/roster.pem", "tls/authority.key", "state/runs.sqlite"} <= paths
    anew = {"keys/signing.pem", "tls/server.key", "tokens/control", "tokens/runtime"}
    assert not paths & anew
    assert roster_public(home).encode() not in file.read_bytes()


def test_a_restored_coordinator_is_the_same_to_its_members_under_a_new_online_key(
    home: CoordinatorHome,
) -> None:
    done = restored(backed_up(home))
    assert roster_public(done.home) == roster_public(home)
    assert done.home.authority.read_bytes() == home.authority.read_bytes()
    assert signing_public(done.home) != signing_public(home)
    load_signing_key(done.home, None)
    assert done.home.control_token.read_bytes() != home.control_token.read_bytes()
    assert '"event": "restore"' in done.home.decisions.read_text()


def test_no_run_that_had_not_ended_goes_on(home: CoordinatorHome) -> None:
    done = restored(backed_up(home))
    assert done.abandoned == ("open",)
    with run_store(done.home.runs_database) as store:
        row = store.row("open")
        assert (row.state, row.reason) == (RunStatus.FAILED, RESTORED)
        assert store.restarts("open").needs_person
        with pytest.raises(UsageError, match="restored from a backup"):
            store.reopen(row, NOW)
        store.create("next", STUDY, NOW)  # another run of the study may begin
        assert store.row("done").state is RunStatus.FINISHED


def test_a_run_that_had_ended_keeps_its_end(home: CoordinatorHome) -> None:
    """It ended at the restore in packs of evidence, and its vectors were kept from there on."""
    before = NOW - timedelta(days=90)
    with run_store(home.runs_database) as store:
        store.set_state("open", RunStatus.STOPPED, "by a person", before)
    done = restored(backed_up(home))
    assert done.abandoned == ("open",)
    with run_store(done.home.runs_database) as store:
        row = store.row("open")
        assert (row.state, row.reason, row.ended) == (RunStatus.FAILED, RESTORED, before)


def test_a_wrong_key_party_or_place_and_a_changed_byte_leave_nothing(
    home: CoordinatorHome,
) -> None:
    file = backed_up(home)
    with pytest.raises(KeysError, match="that this recovery key opens"):
        rehearse_coordinator(BackupSource(file, RecoveryPrivate.generate()), home.path)
    source = BackupSource(file, KEY)
    with pytest.raises(UsageError, match="never restored over a home"):
        restore_coordinator(source, home.path, "lost", None, lambda: NOW)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UsageError, match="changed or cut off"):
        restored(file)
    assert {path.name for path in file.parent.iterdir()} == {"coordinator", "c.backup"}


def test_a_rehearsal_leaves_nothing(home: CoordinatorHome) -> None:
    file = backed_up(home)
    header = rehearse_coordinator(BackupSource(file, KEY), file.parent / "new")
    assert (header.name, header.facts["roster"]) == ("Example coordinator", 0)
    assert {path.name for path in file.parent.iterdir()} == {"coordinator", "c.backup"}


def test_without_a_recovery_key_there_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="fieldfare recovery take"):
        backed_up(found(tmp_path / "coordinator"))

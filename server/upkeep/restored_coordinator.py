"""A coordinator's home from a backup: its roster key and its members, under a new online key.

Members may have answered more of a run than the backup's log has, and signed heads of a longer
log: so no run that had not ended goes on, and none can be resumed. A new run of the same study
counts on with what each member's own ledger says was spent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.server.home.initial_setup import make_tokens, renew_online_key, renew_server
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.store import run_store
from fieldfare.server.upkeep.due_deletions import delete_due
from fieldfare.shared.party.backup_archive import BackupHeader
from fieldfare.shared.party.home_copies import BackupSource
from fieldfare.shared.system.whole_files import new_home, passing_folder

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class RestoredCoordinator:
    """A coordinator's home that was restored.

    Attributes:
        home: the new one.
        header: the backup's.
        studies: ids of those to propose again, under the new online key.
        abandoned: runs that had not ended.
    """

    home: CoordinatorHome
    header: BackupHeader
    studies: tuple[str, ...]
    abandoned: tuple[str, ...]


def restore_coordinator(
    source: BackupSource, path: Path, reason: str, passphrase: bytes | None, clock: Clock
) -> RestoredCoordinator:
    """Make a new home from a backup; whatever ends this in the middle leaves nothing.

    Args:
        source: the backup.
        path: where the home goes: a new or an empty folder.
        reason: why; it stays in the log.
        passphrase: of the new online key.
        clock: returns the present with a time zone.

    Raises:
        KeysError: another recovery key's, or the authority's files are damaged.
        UsageError: changed, cut off, another party's, or something is at `path`.
        RunError: the run store cannot be opened.
        OSError: the disk refuses it.
    """
    with new_home(path) as folder:
        draft = CoordinatorHome(folder)
        header = _unpacked(source, draft)
        write_down(draft, DecisionKind.RESTORE, {"made": header.made, "reason": reason}, clock)
        studies = renew_online_key(draft, passphrase)
        make_tokens(draft)
        renew_server(draft, clock())
        with run_store(draft.runs_database) as store:
            abandoned = store.abandon_open(clock())
            delete_due(draft, store, passphrase, clock())  # a backup brings nothing back
    return RestoredCoordinator(CoordinatorHome.open(path), header, studies, abandoned)


def rehearse_coordinator(source: BackupSource, path: Path) -> BackupHeader:
    """Check that a backup opens and that its files verify; nothing is left of it.

    Raises:
        KeysError, UsageError, RunError, OSError: as `restore_coordinator`.
    """
    place = path.absolute()
    with passing_folder(place.with_name(f".{place.name}.rehearsal")) as folder:
        return _unpacked(source, CoordinatorHome(folder))


def _unpacked(source: BackupSource, draft: CoordinatorHome) -> BackupHeader:
    header = source.unpack(draft.path, "coordinator", COORDINATOR_FILES)
    draft.make_folders()
    published_roster(draft)
    return header

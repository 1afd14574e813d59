"""Files that a coordinator's person has deleted: its log says so before, a statement afterwards.

The statement is signed at once where the online key can be opened, else with the next `purge`.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.log_lines import Entry, newest_entries
from fieldfare.server.members.roster import published_roster
from fieldfare.server.store.store import RunStore
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.file_deletion import (
    BY_HAND,
    OwnFile,
    OwnFileKind,
    check_still_there,
    remove,
)
from fieldfare.shared.protocol.delivery import LARGEST_MODEL
from fieldfare.shared.system.private_files import read_at_most, sync_folder

Clock = Callable[[], datetime]
MODEL: Final = "model.safetensors"


def check_not_needed(home: CoordinatorHome, file: OwnFile) -> None:
    """Refuse the newest backup, by its hash in the log of decisions.

    Raises:
        UsageError: it is that one.
    """
    if file.kind is not OwnFileKind.BACKUP:
        return
    written = newest_entries(home.decisions, _is_backup, 1).entries
    if written and written[0].get("fingerprint") == file.digest:
        raise UsageError(
            f"{file.path}: expected an older backup, found the newest one of this home: write a "
            "newer one first"
        )


def delete_file(
    home: CoordinatorHome, store: RunStore, file: OwnFile, reason: str, clock: Clock
) -> None:
    """Delete a file that was examined.

    Raises:
        UsageError: it is needed, or another file is in its place.
        RunError: the run store cannot be written; the file stays.
        OSError: the log or the folder refuses it.
    """
    check_not_needed(home, file)
    check_still_there(file)
    what = file.kind.value
    _say(home, what, file.digest, reason, clock)
    store.delete_file(what, file.study, BY_HAND, file.digest, lambda: remove(file))


def leaving_model(home: CoordinatorHome, store: RunStore, run: str) -> str:
    """Return the SHA-256 of a run's model, which nobody needs any more.

    Raises:
        UsageError: no model of that run, or it is needed.
        RunError: there is no such run.
    """
    folder = home.model(run)
    if not folder.is_dir():
        raise UsageError(f"{run}: expected a run with a model, found none: see coordinator runs")
    row = store.row(run)
    open_runs = [one.run for one in store.rows() if one.study == row.study and not one.state.ended]
    if open_runs:
        raise UsageError(
            f"{run}: expected a study without a run that goes on, found {open_runs[0]}: wait for "
            "its end, or stop it"
        )
    roster = published_roster(home)
    lacking = [
        member.id
        for member in (roster.members if roster else ())
        if run in store.undelivered(member.id)
    ]
    if lacking:
        raise UsageError(
            f"{run}: expected a model that every member has, found that {lacking[0]} lacks it: it "
            "is sent with the next run, or by `fieldfare coordinator export model`"
        )
    return bytes_hash(read_at_most(folder / MODEL, LARGEST_MODEL))


def delete_model(
    home: CoordinatorHome, store: RunStore, run: str, reason: str, clock: Clock
) -> None:
    """Delete a run's model, its card and its delivery.

    Raises:
        UsageError, RunError: as `leaving_model`.
        OSError: the log or the disk refuses it.
    """
    digest, folder = leaving_model(home, store, run), home.model(run)
    what, remove_it = f"model of run {run}", partial(_remove, store, run, folder)
    _say(home, what, digest, reason, clock)
    store.delete_file(what, store.row(run).study, BY_HAND, digest, remove_it)


def _remove(store: RunStore, run: str, folder: Path) -> None:
    store.give_up_delivery(run)  # to who is on the roster no more
    # The model last: who was interrupted types it again, and its hash is stated then.
    for path in sorted(folder.iterdir(), key=lambda one: one.name == MODEL):
        path.unlink()
    folder.rmdir()
    sync_folder(folder.parent)


def _say(home: CoordinatorHome, what: str, digest: str, reason: str, clock: Clock) -> None:
    facts = {"file": what, "fingerprint": digest, "reason": reason}
    write_down(home, DecisionKind.DELETION, facts, clock)


def _is_backup(line: Entry) -> bool:
    return line.get("event") == DecisionKind.BACKUP.value

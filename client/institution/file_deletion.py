"""Packs, transcripts and backups that a person has deleted: the log says so before one goes.

Whoever is interrupted between the two types it again: the line is not written twice.
"""

from collections.abc import Callable
from datetime import datetime

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.backing_up import WRITTEN
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal, newest
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.file_deletion import (
    BY_HAND,
    OwnFile,
    OwnFileKind,
    check_still_there,
    remove,
)
from fieldfare.shared.protocol.deletion import FILE

_LOOKED_BACK = 1000  # entries about backups


def check_not_needed(home: Home, file: OwnFile) -> None:
    """Refuse the newest backup: with it the home could be made again.

    Raises:
        UsageError: it is that one.
        LedgerError: the log cannot be read.
    """
    if file.kind is not OwnFileKind.BACKUP or not home.log.exists():
        return
    written = newest(home.log_folder, [Event.BACKUP], most=_LOOKED_BACK)
    last = next((one for one in written if one.details.get("kind") == WRITTEN), None)
    if last is not None and last.details.get("fingerprint") == file.digest:
        raise UsageError(
            f"{file.path}: expected an older backup, found the newest one of this home: write a "
            "newer one first"
        )


def delete_file(
    home: Home, file: OwnFile, user: str, reason: str, clock: Callable[[], datetime]
) -> None:
    """Delete a file that was examined; its hash and why stay in the log.

    Args:
        home: the institution's.
        file: what goes.
        user: who wants it.
        reason: why, in words; it stays in the log and is in no statement.
        clock: returns the present with a time zone.

    Raises:
        UsageError: it is needed, or another file is in its place.
        LedgerError: the log cannot be written; the file stays.
        OSError: the folder refuses it.
    """
    check_not_needed(home, file)
    check_still_there(file)  # what the log says is gone is signed as gone
    with Journal.open(home.log_folder, clock=clock) as journal:
        say_deleted(journal, user, file.kind.value, file.digest, reason, file.study)
    remove(file)


def say_deleted(
    journal: Journal, user: str, what: str, digest: str, reason: str, study: str = ""
) -> None:
    """Write down that a file is deleted now, once.

    Raises:
        UsageError: the reason may not stand in the log.
        LedgerError: the log cannot be written.
    """
    of = {"study": study} if study else {}
    said = {"kind": FILE, "asked": what, "fingerprint": digest, **of}
    if not journal.wrote(Event.DELETED, **said):
        journal.append(Event.DELETED, user, rule=BY_HAND, reason=reason, **said)

"""A backup of an institution's home while everything runs, as of one moment.

The decisions' lock, the keys' and the home's are taken as every command takes them; then the write
locks of all databases, the ledger's first, as a release takes them. What is copied while all are
held stood so at one moment: a release that was committed and not logged yet is what a crash leaves
too. Encrypting comes after, when nobody waits any more.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fieldfare.client.home.files import INSTITUTION_FILES
from fieldfare.client.home.keys import public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import deciding
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.restore import position_in
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.backup_archive import BackupHeader, saved_files, stamp_of, write_archive
from fieldfare.shared.party.encrypted_stream import EncryptedWriter
from fieldfare.shared.party.home_copies import (
    COPIES,
    WrittenBackup,
    check_copies,
    copy_files,
    databases_in,
    new_key,
    taken_key,
)
from fieldfare.shared.sqlite.copies import all_held
from fieldfare.shared.system.private_files import create_private, folder_lock
from fieldfare.shared.system.whole_files import new_file, passing_folder

Clock = Callable[[], datetime]

WRITTEN: Final = "written"  # in the log, with the file's hash
WAIT: Final = 30.0  # seconds for a command that decides
# As a release takes them; the others are written alone.
_ORDER: Final = ("ledger/ledger.sqlite", "log/log.sqlite")


def take_recovery_key(home: Home, content: bytes, name: str, user: str, clock: Clock) -> str:
    """Keep the public half of a recovery key; backups are encrypted to it from now on.

    Returns:
        Its fingerprint, to compare with what the key's maker read.

    Raises:
        KeysError: `name` is no public half.
        UsageError: another key is there; it is moved away by hand, never replaced unseen.
        LedgerError: the log cannot be written.
    """
    key = new_key(home.recovery_public, content, name)
    with Journal.open(home.log_folder, clock=clock) as journal:
        facts = {"kind": "recovery key", "fingerprint": key.spoken}
        journal.append(Event.KEY, user, user=user, **facts)
    create_private(home.recovery_public, key.content)
    return key.spoken


def back_up(home: Home, out: Path, user: str, clock: Clock) -> WrittenBackup:
    """Write a backup of a home, whatever runs; an interrupt or a full disk leaves none.

    Args:
        home: the institution's.
        out: a new file.
        user: who asked for it.
        clock: returns the present with a time zone.

    Raises:
        KeysError: no recovery key was taken.
        UsageError: something is at `out`, another backup is at work, or a database stays locked.
        LedgerError: ledger or log cannot be read or written.
        OSError: the disk refuses it.
    """
    key = taken_key(home.recovery_public)
    with new_file(out) as file, passing_folder(home.path / COPIES) as copies:
        with _held(home):
            made = clock()
            copied, strangers = copy_files(home.path, INSTITUTION_FILES, copies)
        check_copies(copies, copied, INSTITUTION_FILES)
        header = BackupHeader(
            party="institution",
            name=load_settings(home).id,
            made=stamp_of(made),
            software=version("fieldfare"),
            facts=_facts(home, copies, made),
            files=saved_files(copies, copied),
        )
        write_archive(EncryptedWriter(file, key), header, copies)
    with out.open("rb") as written:
        digest = file_digest(written, "sha256").hexdigest()
    with Journal.open(home.log_folder, clock=clock) as journal:
        place = {name: int(header.facts[name]) for name in ("sequence", "epoch")}
        journal.append(Event.BACKUP, user, kind=WRITTEN, fingerprint=digest, **place)
    return WrittenBackup(header, strangers)


@contextmanager
def _held(home: Home) -> Iterator[None]:
    databases = databases_in(home.path, INSTITUTION_FILES, _ORDER)
    with (
        deciding(home, WAIT),
        folder_lock(home.keys, WAIT) as keys,
        folder_lock(home.path, WAIT) as whole,
    ):
        if not (keys and whole):
            raise UsageError(f"{home.path}: expected one change at a time: try again")
        with all_held(databases):
            yield


def _facts(home: Home, copies: Path, made: datetime) -> dict[str, str | int]:
    ledger, settings = copies / home.ledger.relative_to(home.path), load_settings(home)
    facts: dict[str, str | int] = {"identity": public_identity(home), "epoch": 0, "sequence": 0}
    if ledger.exists():
        position = position_in(ledger, settings.population, lambda: made)
        facts |= {
            "epoch": position.epoch,
            "sequence": position.sequence,
            "head": position.head,
            "debited": position.debited,
        }
    return facts

"""A backup of a coordinator's home while everything runs, as of one moment.

Members' lock is taken as every command takes it, then the write locks of both databases; a run's
process waits for its next step. What the SuperLink keeps is not copied: nodes register again from
the members, and messages of runs go no further than these.
"""

from collections.abc import Callable
from datetime import datetime
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import Final

from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.home.files import COORDINATOR_FILES
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import signing_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.enrolment import alone
from fieldfare.server.members.roster import published_roster
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
from fieldfare.shared.system.private_files import create_private
from fieldfare.shared.system.whole_files import new_file, passing_folder

Clock = Callable[[], datetime]

_RUNS_FIRST: Final = ("state/runs.sqlite",)


def keep_recovery_key(home: CoordinatorHome, content: bytes, name: str) -> str:
    """Keep the public half of a recovery key; return its fingerprint.

    Raises:
        KeysError: `name` is no public half.
        UsageError: another key is there; it is moved away by hand, never replaced unseen.
        OSError: the disk refuses it.
    """
    key = new_key(home.recovery_public, content, name)
    write_down(home, DecisionKind.RECOVERY_KEY, {"fingerprint": key.spoken})
    create_private(home.recovery_public, key.content)
    return key.spoken


def back_up_coordinator(home: CoordinatorHome, out: Path, clock: Clock) -> WrittenBackup:
    """Write a backup of a home, whatever runs; an interrupt or a full disk leaves none.

    Raises:
        KeysError: no recovery key was taken.
        UsageError: something is at `out`, another backup is at work, or a database stays locked.
        OSError: the disk refuses it.
    """
    key = taken_key(home.recovery_public)
    with new_file(out) as file, passing_folder(home.path / COPIES) as copies:
        with alone(home), all_held(databases_in(home.path, COORDINATOR_FILES, _RUNS_FIRST)):
            made, roster = clock(), published_roster(home)
            copied, strangers = copy_files(home.path, COORDINATOR_FILES, copies)
            facts: dict[str, str | int] = {
                "coordinator": signing_public(home),
                "roster": roster.version if roster else 0,
            }
        check_copies(copies, copied, COORDINATOR_FILES)
        header = BackupHeader(
            party="coordinator",
            name=load_settings(home).name,
            made=stamp_of(made),
            software=version("fieldfare"),
            facts=facts,
            files=saved_files(copies, copied),
        )
        write_archive(EncryptedWriter(file, key), header, copies)
    with out.open("rb") as written:
        digest = file_digest(written, "sha256").hexdigest()
    facts = {"made": header.made, "fingerprint": digest}
    write_down(home, DecisionKind.BACKUP, facts, clock)
    return WrittenBackup(header, strangers)

"""Keys of kept entries: one for each day on which what they open is to be gone.

The keys lie apart from the store, so that a backup of the store, or a stolen copy of it, opens
nothing. Where a day is over its key is removed, and no copy of the store that was ever made holds
readable entries of that day (docs/adr/0033-entries-are-encrypted-under-the-day-they-go.md).
"""

import os
import stat
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import (
    create_private,
    folder_lock,
    read_at_most,
    sync_folder,
)

KEY_BYTES: Final = 32  # AES-256
NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2.2: random, far below 2^32 uses of a key
LOCK_SECONDS: Final = 5.0
_TYPE: Final = b"fieldfare.entries.v1"


@dataclass(frozen=True)
class EntryKeys:
    """A folder of keys, one file for each day.

    *Formal Guarantees.* AES-256-GCM (NIST SP 800-38D): without the day's key nobody reads what
    was closed under it, changes it unnoticed, or moves it to another alert or day: both are
    authenticated beside it.

    *Edge cases*

    | case | what happens |
    |---|---|
    | the key of a day is gone | None: unreadable, as after its day |
    | changed bytes, another alert's, another day's | UsageError |
    | two processes make a day's key at once | the first one's stays, both use it |
    | a kill while a key is made | no key yet; the next process makes one, for the group too |

    Attributes:
        folder: made with its first key.
        mode: of the folder; `file_mode` of keys.
        group: whose both are; -1: the user's own.
    """

    folder: Path
    mode: int
    file_mode: int
    group: int = -1

    def close(self, content: bytes, alert: str, day: date) -> bytes:
        """Return `content` encrypted for one alert, under the key of the day on which it goes.

        Raises:
            OSError: the disk refuses it.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._make_key(day)).encrypt(nonce, content, _beside(alert, day))

    def open(self, closed: bytes, alert: str, day: date) -> bytes | None:
        """Return what `close` was given; None where the day's key is gone.

        Raises:
            UsageError: changed since, another alert's or day's, or others may change the key.
        """
        key = self._read(day)
        if key is None:
            return None
        nonce, rest = closed[:NONCE_BYTES], closed[NONCE_BYTES:]
        try:
            return AESGCM(key).decrypt(nonce, rest, _beside(alert, day))
        except InvalidTag:
            raise UsageError(
                f"alert {alert}: expected its entries as they were kept, found others or another "
                "key: score again"
            ) from None

    def due(self, today: date) -> tuple[tuple[str, str], ...]:
        """Return each day before `today` that still has a key, and the key's SHA-256, hex.

        The hash of 32 random bytes tells nothing; who finds such a key later knows it by that.
        """
        if not self.folder.is_dir():
            return ()
        found = sorted(one for one in self.folder.glob("*.key") if one.stem < today.isoformat())
        return tuple((one.stem, bytes_hash(read_at_most(one, KEY_BYTES))) for one in found)

    def forget(self, today: date) -> int:
        """Remove the keys of all days before `today`; return how many.

        Raises:
            OSError: the disk refuses it.
        """
        if not self.folder.is_dir():
            return 0
        gone = [one for one in self.folder.glob("*.key") if one.stem < today.isoformat()]
        for one in gone:
            one.unlink()
        sync_folder(self.folder)
        return len(gone)

    def _path(self, day: date) -> Path:
        return self.folder / f"{day.isoformat()}.key"

    def _read(self, day: date) -> bytes | None:
        path = self._path(day)
        if not path.exists():
            return None
        found = stat.S_IMODE(path.stat().st_mode)
        if found & ~self.file_mode:
            raise UsageError(
                f"{path}: expected mode {self.file_mode:04o}, found {found:04o}: chmod "
                f"{self.file_mode:o} {path}"
            )
        return read_at_most(path, KEY_BYTES)

    def _make_key(self, day: date) -> bytes:
        found = self._read(day)
        if found is not None:
            return found
        if not self.folder.is_dir():
            self._make()
        with folder_lock(self.folder, LOCK_SECONDS):
            found = self._read(day)
            if found is None:
                found = os.urandom(KEY_BYTES)
                fresh = self._path(day).with_suffix(".new")
                fresh.unlink(missing_ok=True)  # of a process that was killed here
                create_private(fresh, found)
                os.chown(fresh, -1, self.group)
                fresh.chmod(self.file_mode)
                fresh.rename(self._path(day))  # only now, with all its rights, is it the day's key
                sync_folder(self.folder)
        return found

    def _make(self) -> None:
        try:
            self.folder.mkdir(0o700)
        except OSError as error:
            raise UsageError(
                f"{self.folder}: expected a folder for the keys of entries, apart from what they "
                f"open, found: {error.strerror}; make it, or a link to one on another disk"
            ) from None
        os.chown(self.folder, -1, self.group)
        self.folder.chmod(self.mode)
        sync_folder(self.folder.parent)


def keys_beside(folder: Path) -> Path:
    """Return where the keys of a folder's entries lie: beside it, so that its copy has none."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}.keys")


def _beside(alert: str, day: date) -> bytes:
    return b"\0".join((_TYPE, alert.encode(), day.isoformat().encode()))

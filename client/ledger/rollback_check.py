"""The witness: a small file that remembers how far a ledger's history went.

A database that was truncated or restored from an older copy is consistent in itself; only
something outside it can tell. The witness is written after every commit and before anything
leaves, so a ledger may be ahead of its witness (a crash in between) but never behind it.
It lies beside the ledger unless the settings name another place: whoever restores the disk that
holds both restores both, and then only the institution's own log and signed replies tell.
The witness is read at the start; a running process remembers what it wrote there last.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import rfc8785

from fieldfare.client.ledger.budget import Position, check_count, check_sha256
from fieldfare.client.ledger.rows import Store
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.system.private_files import sync_folder

FORMAT: Final = 2
_BEFORE_SIDES: Final = 1  # the total was the sum of debits
_OLD_FIELDS: Final = {"format", "population", "sequence", "head", "cumulative", "epoch"}
_FIELDS: Final = {repr(FORMAT): _OLD_FIELDS | {"debited"}, repr(_BEFORE_SIDES): _OLD_FIELDS}


class Witness:
    """The remembered position of one ledger."""

    def __init__(self, ledger: Path, population: str, path: Path | None = None) -> None:
        """Stand at `path`, or beside the database file `ledger`, which need not exist yet."""
        self._ledger = ledger
        self.path = path or ledger.with_name(ledger.name + ".witness")
        self._draft = self.path.with_name(self.path.name + ".new")
        self._population = population

    @property
    def elsewhere(self) -> bool:
        """Whether it lies on another file system than the ledger: one restore does not bring both.

        Raises:
            LedgerError: one of the folders cannot be looked at.
        """
        try:
            return self.path.parent.stat().st_dev != self._ledger.parent.stat().st_dev
        except OSError as error:
            raise LedgerError(
                f"expected the folders of {self._ledger} and {self.path}, found: {error.strerror}"
            ) from error

    def check_ledger_exists(self) -> None:
        """Refuse to start an empty ledger where one was: it would hand the budget out again.

        Raises:
            LedgerError: there is a witness, and no database or an empty file.
        """
        try:
            lost = self.path.exists() and not (
                self._ledger.exists() and self._ledger.stat().st_size
            )
        except OSError as error:
            raise LedgerError(
                f"expected access to {self._ledger}, found: {error.strerror}; give this user "
                "access to its directory"
            ) from error
        if lost:
            raise LedgerError(
                f"expected the ledger {self._ledger} that {self.path} was written for, "
                "found none: restore the newest copy of both"
            )

    def read(self) -> Position | None:
        """Return the last written position, or None if there is no witness.

        Raises:
            LedgerError: the file cannot be read, or is no witness of this population.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LedgerError(
                f"expected a readable witness {self.path}, found: {error.strerror}"
            ) from error
        return self._parse(content)

    def write(self, position: Position) -> None:
        """Replace the witness in one step, on disk when this returns.

        Temporary file, fsync, rename, fsync of the directory: whenever the power fails there
        is an old witness or a new one, never half of one.

        Raises:
            LedgerError: the disk is full, read-only or failing.
        """
        written = asdict(position) | {"format": FORMAT, "population": self._population}
        try:
            self._replace(rfc8785.dumps(written))
        except OSError as error:
            raise LedgerError(
                f"expected to write the witness {self.path}, found: {error.strerror}; nothing "
                "leaves until it can be written; repeat the request afterwards"
            ) from error

    def _replace(self, content: bytes) -> None:
        # Only the holder of the database's write lock comes here, so one draft is enough.
        # No link is followed: on a share of another host it could lead to a file of the home.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        draft = os.open(self._draft, flags, 0o600)
        try:
            with os.fdopen(draft, "wb", closefd=False) as file:
                file.write(content)
            os.fsync(draft)
        finally:
            os.close(draft)
        self._draft.replace(self.path)
        sync_folder(self.path.parent)

    def _parse(self, content: bytes) -> Position:
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        form = found.get("format") if isinstance(found, dict) else None
        if isinstance(form, int) and form > FORMAT:
            raise LedgerError(
                f"expected a witness of format {FORMAT} or earlier in {self.path}, found {form}: a "
                "later version of Fieldfare wrote it: install that version (docs/upgrade.md)"
            )
        if not isinstance(found, dict) or set(found) != _FIELDS.get(repr(form)):
            raise LedgerError(
                f"expected a witness of format {FORMAT} in {self.path}, found something else: "
                "restore the ledger and its witness together, or move the witness away and accept "
                "the ledger as a new epoch with the total that was spent"
            )
        if found["population"] != self._population:
            raise LedgerError(
                f"expected the witness of population {self._population!r} in {self.path}, found "
                f"population {found['population']!r}: each ledger needs its own file"
            )
        return self._position(found)

    def _position(self, found: dict[str, Any]) -> Position:
        position = Position(
            sequence=found["sequence"],
            head=found["head"],
            cumulative=found["cumulative"],
            epoch=found["epoch"],
            debited=found.get("debited", found["cumulative"]),
        )
        check_count(f"sequence in {self.path}", position.sequence)
        check_count(f"cumulative in {self.path}", position.cumulative)
        check_count(f"debited in {self.path}", position.debited, least=position.cumulative)
        check_count(f"epoch in {self.path}", position.epoch, least=1)
        check_sha256(f"head in {self.path}", position.head)
        return position


@contextmanager
def trusted(database: Database, store: Store, witnessed: Position | None) -> Iterator[None]:
    """Hold the write lock over a ledger that has all that this process witnessed.

    Formal Guarantees:
        No debit is added to a history without the newest entry that this process witnessed, so
        that an older copy which was written over the file of a running custodian gives no budget
        back. The file is read anew: pages that SQLite keeps in memory may know the entry when the
        file does not.

    Edge cases:
        | the file | result |
        |---|---|
        | in memory, or nothing was witnessed yet | passes |
        | other processes went on with it | passes |
        | an older copy, or a fork of the same length | refused, until a start reads the witness |
        | of a new epoch, accepted while this process runs | refused, until a start |
        | moved, with another in its place | the open one is gone on with; the next start refuses |

    Raises:
        LedgerError: the entry is not there, or the ledger cannot be read.
    """
    database.forget_pages()
    with database.transaction():
        if witnessed is not None and not store.contains(witnessed):
            raise LedgerError(
                f"expected the history with entry {witnessed.sequence} that this process wrote, "
                "found one without it: the ledger's file was replaced under the running custodian; "
                "stop it, put the newest copy back, and start it again"
            )
        yield

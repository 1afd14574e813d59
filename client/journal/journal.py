"""The institution's own log: requests, decisions and releases, in a hash chain, as rows of SQLite.

An entry that `append` returned is on disk. Whoever cannot write the log must refuse
(docs/design.md, "The door": no release without its traces). Threads and processes may share a log.

It is a file of its own beside the ledger's: each tells whether the other one is an older copy
(docs/adr/0013-the-journal-is-rows-in-a-file-of-its-own.md).

The chain has no key: whoever may write the file can write another log with right hashes. So its
head is signed for a collector that the institution's machine cannot rewrite. A head that has left
the machine cannot be made to fit another log: it finds one that was rewritten, cut or restored from
an older copy. It says nothing about entries after it.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Self

from fieldfare.client.journal.entries import (
    GENESIS,
    Event,
    JournalEntry,
    Mark,
    Value,
    next_entry,
    next_mark,
    parse_entry,
)
from fieldfare.shared.errors import LedgerError, ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Count,
    MessageBody,
    Signer,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import Hex32, InstitutionId, Member, Roster
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind, append_only, json_in_an_index
from fieldfare.shared.sqlite.versions import OPEN_EARLIER
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, sync_folder

BUSY_TIMEOUT: Final = 5.0  # seconds
FILE: Final = "log.sqlite"
_LINES: Final = ("log.jsonl", "head.json")  # what builds from before rows wrote

_EPOCH: Final = "json_extract(line, '$.details.epoch')"
_IN_LEDGER: Final = "json_extract(line, '$.details.sequence')"
_LOOKED_BACK: Final = 1000  # entries
_BATCH: Final = 500  # rows per read, so that no reader holds the file open for long
_RESTORE: Final = (
    "bring the newest copy of the log back, or move the folder away as evidence to begin a new log"
)

JOURNAL: Final = DatabaseKind(
    name="the log",
    error=LedgerError,
    again="repeat",
    restore=_RESTORE,
    otherwise="nothing is decided until the log can be written",
    pragmas=(WAL, *DURABLE, *json_in_an_index()),
    migrations=(
        (
            # AUTOINCREMENT: SQLite keeps the largest number it gave, so a removed end shows.
            """
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    line TEXT NOT NULL
)
""",
            # The newest place in the ledger that a release took is found without reading all.
            f"CREATE INDEX releases ON entries ({_EPOCH}, {_IN_LEDGER}) WHERE event = 'release'",
            *append_only("entries", "the log is append-only"),
            """
CREATE TRIGGER entries_INSERT BEFORE INSERT ON entries
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END
""",
        ),
    ),
    application=0x464A4F55,
)


class Journal:
    """One institution's log, open."""

    def __init__(self, folder: Path, database: Database, *, clock: Callable[[], datetime]) -> None:
        """Use `Journal.open`, which also checks where the log ends."""
        self.folder = folder
        self._database = database
        self._clock = clock

    @classmethod
    def open(
        cls, folder: Path, *, clock: Callable[[], datetime], busy_timeout: float = BUSY_TIMEOUT
    ) -> Self:
        """Open the log in `folder`, or begin one there.

        Args:
            folder: created with mode 0700 if absent, in an existing one.
            clock: returns the present with a time zone.
            busy_timeout: seconds to wait for other processes.

        Raises:
            LedgerError: the end of the log was removed or changed, it cannot be written, or a
                build from before logs were rows wrote it.
        """
        with _faults(folder), ExitStack() as stack:
            _refuse_lines(folder)
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            sync_folder(folder.parent)
            path = folder / FILE
            database = stack.enter_context(Database(JOURNAL, path, busy_seconds=busy_timeout))
            journal = cls(folder, database, clock=clock)
            with database.transaction():  # no entry comes between its two statements
                _end(database)
            stack.pop_all()
        return journal

    def __enter__(self) -> Self:
        """Return the open log."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the log."""
        self.close()

    def close(self) -> None:
        """Close the log; anything later is refused."""
        self._database.close()

    def append(self, event: Event, actor: str, **details: Value) -> JournalEntry:
        """Write one entry; it is on disk when this returns.

        Args:
            event: what happened.
            actor: who did it: a user, an institution, the coordinator, a part of the program.
            details: from the closed set of `entries`; never a record's value.

        Raises:
            UsageError: the actor or a detail may not stand in the log.
            LedgerError: nothing was written; the event to be logged must not happen.
        """
        with self._database.transaction():
            entry = next_entry(
                _end(self._database), time=self._clock(), event=event, actor=actor, details=details
            )
            self._insert(entry)
        return entry

    def newest(self, *events: Event) -> JournalEntry | None:
        """Return the newest entry of some kinds.

        Raises:
            LedgerError: the log cannot be read, or this entry is damaged.
        """
        marks, names = ", ".join("?" * len(events)), [event.value for event in events]
        found = self._database.rows(
            f"SELECT line FROM entries WHERE event IN ({marks}) ORDER BY sequence DESC LIMIT 1",
            *names,
        )
        return parse_entry(str(found[0][0]).encode()) if found else None

    def append_once(
        self, event: Event, actor: str, since: Collection[Event], **details: Value
    ) -> None:
        """Write one entry, unless it is the newest of the kinds `since` already.

        Whoever wrote it was then interrupted before the deed: nothing of these kinds came after.

        Raises:
            UsageError, LedgerError: as `append`.
        """
        last = self.newest(*since)
        if last is None or (last.event, last.actor, last.details) != (event, actor, details):
            self.append(event, actor, **details)

    def wrote(self, event: Event, **said: str) -> bool:
        """Tell whether one of the newest entries is of that kind and has these details.

        Whoever was interrupted between an entry and its deed does not write it twice.

        Raises:
            LedgerError: the log cannot be read.
        """
        newest = "SELECT event, line FROM entries ORDER BY sequence DESC LIMIT ?"
        found = self._database.rows(
            f"SELECT 1 FROM ({newest}) WHERE event = ?"
            + " AND json_extract(line, ?) = ?" * len(said),
            *(_LOOKED_BACK, event.value),
            *(one for name, text in said.items() for one in (f"$.details.{name}", text)),
        )
        return bool(found)

    def last_release(self) -> JournalEntry | None:
        """Return the release that is furthest in the ledger; a repeat may be the newer entry.

        Raises:
            LedgerError: the log cannot be read, or this entry is damaged.
        """
        found = self._database.rows(
            f"SELECT line FROM entries WHERE event = 'release' AND {_EPOCH} IS NOT NULL"
            f" ORDER BY {_EPOCH} DESC, {_IN_LEDGER} DESC LIMIT 1"
        )
        return parse_entry(str(found[0][0]).encode()) if found else None

    def _insert(self, entry: JournalEntry) -> None:
        self._database.rows(
            "INSERT INTO entries (sequence, event, line) VALUES (?, ?, ?)",
            *(entry.sequence, entry.event.value, entry.line.decode()),
        )


def read(folder: Path, *, since: int = 0) -> Iterator[JournalEntry]:
    """Yield every entry after number `since`, oldest first, each compared with the one before.

    A log that is being written may be read. No entry is written, nor a log begun.

    Raises:
        LedgerError: the first entry that does not fit, the file cannot be read, or it ends before
            `since`.
    """
    _refuse_lines(folder)
    path = folder / FILE
    if not path.exists():
        raise LedgerError(f"{FILE}: expected a log in {folder}, found none")
    with Database(JOURNAL, path, busy_seconds=BUSY_TIMEOUT) as database:
        yield from _read(database, since)


def _refuse_lines(folder: Path) -> None:
    """Refuse a log of lines: a new log beside it would begin again, and hide what was decided."""
    found = next((name for name in _LINES if (folder / name).exists()), None)
    if found is not None:
        raise LedgerError(
            f"{folder / found}: expected {FILE}, found a log of lines: {OPEN_EARLIER}"
        )


def _read(database: Database, since: int) -> Iterator[JournalEntry]:
    given = _given(database)  # first: entries may come meanwhile
    _check_reaches(given, since)
    end = _mark(database, since)
    while batch := _after(database, end.sequence):
        for sequence, event, line in batch:
            entry = _entry(end, sequence, event, line)
            yield entry
            end = entry.mark
    _check_end(end, given)


def newest(
    folder: Path, events: Collection[Event], *, actor: str = "", before: int = 0, most: int
) -> tuple[JournalEntry, ...]:
    """Return the newest entries of these events, newest first; the chain is not recomputed.

    Args:
        folder: of the log; no log is begun there.
        events: that are looked for.
        actor: under whose name; empty: anybody's.
        before: only entries with a smaller number; 0: all.
        most: so many at most.

    Raises:
        LedgerError: there is no log or none in rows, it cannot be read, or one of these is damaged.
    """
    if not (folder / FILE).exists():
        raise LedgerError(f"{FILE}: expected a log in {folder}, found none")
    names = [one.value for one in events]
    asked = f"SELECT sequence, event, line FROM entries WHERE event IN ({_marks(names)})"
    asked += " AND json_extract(line, '$.actor') = ?" if actor else ""
    asked += " AND sequence < ?" if before else ""
    wanted = (*names, *([actor] if actor else []), *([before] if before else []), most)
    with Database(JOURNAL, folder / FILE, busy_seconds=BUSY_TIMEOUT) as database:
        rows = database.rows(f"{asked} ORDER BY sequence DESC LIMIT ?", *wanted)
    return tuple(_alone(*row) for row in rows)


def _marks(names: Collection[str]) -> str:
    return ", ".join("?" * len(names))


def _alone(sequence: object, event: object, line: object) -> JournalEntry:
    """Return an entry that fits itself, whatever stands before it."""
    try:
        entry = parse_entry(str(line).encode())
    except LedgerError as error:
        raise LedgerError(f"{FILE} entry {sequence}: {error}; {_RESTORE}") from None
    _check_beside(entry, sequence, event)
    return entry


def _check_reaches(end: int, since: int) -> None:
    if since > end:
        raise LedgerError(
            f"expected a log that reaches entry {since}, which the collector has, found one "
            f"of {end} entries: it was cut, or an older copy was restored"
        )


def verify(folder: Path) -> Mark:
    """Recompute the whole log in `folder` and return where it ends.

    Edge cases:
        | what was done | what is named |
        |---|---|
        | a byte of a row changed, a row removed, added or swapped | the entry |
        | the end removed | the entry after which nothing is left |
        | the file damaged | what SQLite says, and what to do |
        | everything replaced, or an older copy restored | nothing: compare with an exported head |

    Raises:
        LedgerError: the first thing that does not fit, or a file that cannot be read.
    """
    end = GENESIS
    for entry in read(folder):
        end = entry.mark
    return end


def _entry(end: Mark, sequence: object, event: object, line: object) -> JournalEntry:
    try:
        entry = parse_entry(str(line).encode())
        next_mark(end, entry)
    except LedgerError as error:
        raise LedgerError(f"{FILE} entry {end.sequence + 1}: {error}") from None
    _check_beside(entry, sequence, event)
    return entry


def _check_beside(entry: JournalEntry, sequence: object, event: object) -> None:
    if (sequence, event) != (entry.sequence, entry.event.value):
        raise LedgerError(
            f"{FILE} entry {entry.sequence}: expected its own number and event beside it, found "
            "others"
        )


def _after(database: Database, sequence: int) -> list[tuple[object, object, object]]:
    rows = database.rows(
        "SELECT sequence, event, line FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?",
        *(sequence, _BATCH),
    )
    return [(number, event, line) for number, event, line in rows]


def _end(database: Database) -> Mark:
    """Return the last entry's mark, from its own content."""
    ((last,),) = database.rows("SELECT coalesce(max(sequence), 0) FROM entries")
    end = _mark(database, last)
    _check_end(end, _given(database))
    return end


def _mark(database: Database, sequence: int) -> Mark:
    """Return one entry's mark, from its own content; where there is none, that of the beginning."""
    found = database.rows("SELECT line FROM entries WHERE sequence = ?", sequence)
    if not found:
        return GENESIS
    try:
        mark = parse_entry(str(found[0][0]).encode()).mark
    except LedgerError as error:
        raise LedgerError(f"{FILE} entry {sequence}: {error}; {_RESTORE}") from None
    return mark


def _given(database: Database) -> int:
    """Return the largest number that an entry was ever given here."""
    ((given,),) = database.rows("SELECT coalesce(max(seq), 0) FROM sqlite_sequence")
    return int(given)


def _check_end(end: Mark, given: int) -> None:
    if end.sequence < given:
        raise LedgerError(
            f"entry {end.sequence + 1}: expected entries up to {given}, found none after "
            f"{end.sequence}: the end of the log was removed; {_RESTORE}"
        )


@contextmanager
def _faults(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LedgerError(
            f"expected to write the log in {folder}, found: {error.strerror or error}; free some "
            "space or give this user access, then repeat"
        ) from error


__all__ = ["Journal", "read", "verify"]


# -- signed heads ----------------------------------------------------------------------------------

LARGEST_HEADS: Final = 16 * 1024 * 1024  # bytes of heads, a line of about 400 each


class JournalHead(MessageBody):
    """An institution's signed statement on its log at one time.

    Attributes:
        institution: its id.
        entries: how many there are.
        last: hash of the last one; it fixes all before.
        time: when it was signed, whole seconds since 1970, by the institution's clock.
    """

    TYPE: ClassVar[str] = "fieldfare.journal-head.v1"

    institution: InstitutionId
    entries: Count
    last: Hex32
    time: Count

    @property
    def said(self) -> str:
        """The head in words."""
        return f"{self.entries} entries at {datetime.fromtimestamp(self.time, UTC):%Y-%m-%d %H:%M}"


def sign_head(end: Mark, institution: str, signer: Signer, now: datetime) -> bytes:
    """Return one line without its break: where the log stands, signed."""
    body = JournalHead(
        institution=institution, entries=end.sequence, last=end.hash, time=int(now.timestamp())
    )
    return sign_envelope(body, institution, signer)


def read_heads(content: bytes, institution: str, keys: Collection[str]) -> list[JournalHead]:
    """Parse a file of heads, a line each, signed by one of the institution's keys (hex).

    Raises:
        LedgerError: the line that is no head of this institution, or there is none.
    """
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        head = next(_opened(line, institution, keys), None)
        if head is None or head.institution != institution:
            raise LedgerError(
                f"line {number}: expected a head that {institution} signed with its present or a "
                "former key, found something else"
            )
        found.append(head)
    if not found:
        raise LedgerError(
            "expected heads that were signed before, a line each, found an empty file"
        )
    return found


def compare_heads(folder: Path, heads: Collection[JournalHead]) -> Mark:
    """Recompute the log in `folder`, find every head in it, and return where it ends.

    Raises:
        LedgerError: the log does not fit itself, or was rewritten or cut since a head was signed.
    """
    asked, end = {head.entries for head in heads}, GENESIS
    found = {GENESIS.sequence: GENESIS}
    for entry in read(folder):
        end = entry.mark
        if end.sequence in asked:
            found[end.sequence] = end
    for head in heads:
        mark = found.get(head.entries)
        if mark is None:
            raise LedgerError(
                f"expected the {head.said} UTC that a signed head names, found {end.sequence}: the "
                "log was cut, or restored from an older copy"
            )
        if mark.hash != head.last:
            raise LedgerError(
                f"expected entry {head.entries} with hash {head.last}, which a signed head names "
                f"({head.said} UTC), found {mark.hash}: the log was rewritten"
            )
    return end


def _opened(line: bytes, institution: str, keys: Collection[str]) -> Iterator[JournalHead]:
    for key in keys:
        one = Roster(version=1, coordinator="", members=(Member(id=institution, key=key),))
        try:
            yield open_envelope(line, JournalHead, one, Protection.EXACT).body
        except ProtocolError:
            continue

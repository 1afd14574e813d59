"""What is to be told, and who was told: one SQLite file, so that no kill loses a notice.

A look brings what holds now. What begins to hold, and holds for as long as it must, becomes a
notice; what ends to hold may become one again later. A notice is kept in the same transaction as
the fact, and counts as sent once an address took it: a process that dies in between sends it once
more, under the same id.

standing    what held at the last look, since when, and whether a notice was made of it
notices     every notice
deliveries  for each address: waiting, sent, or given up
routes      addresses that failed: how often in a row, and when they are tried again
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fieldfare.shared.errors import FieldfareError, NoticeError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind
from fieldfare.shared.watch.sentences import Notice, NoticeKind, rounded

KEPT: Final = timedelta(days=90)  # a notice; what happened before is no news any more
MOST_KEPT: Final = 10_000  # notices that no address waits for; a node may come and go for ever
GIVEN_UP_AFTER: Final = timedelta(days=14)
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=6)
HOUR: Final = timedelta(hours=1)
BUSY_SECONDS: Final = 15.0

# Facts that stay true for good: those of before the first look are no news.
_FOR_GOOD: Final = frozenset(
    {
        *(NoticeKind.STUDY_REJECTED, NoticeKind.STUDY_APPROVED),
        *(NoticeKind.RUN_FAILED, NoticeKind.RUN_ENDED),
    }
)

OUTBOX: Final = DatabaseKind(
    name="the outbox of notices",
    error=NoticeError,
    again="start again",
    restore="move it away: notices that were not sent are made again where their cause still holds",
    otherwise="start again when it can be written",
    pragmas=(WAL, *DURABLE),
    application=0x46464E4F,  # "FFNO"
    migrations=(
        (
            "CREATE TABLE looks (kind TEXT PRIMARY KEY)",  # that were ever looked at
            """
CREATE TABLE standing (
    key TEXT PRIMARY KEY,
    since INTEGER NOT NULL,
    told INTEGER NOT NULL
)
""",
            """
CREATE TABLE notices (
    id TEXT PRIMARY KEY,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    study TEXT NOT NULL,
    run TEXT NOT NULL,
    time INTEGER NOT NULL
)
""",
            """
CREATE TABLE deliveries (
    notice TEXT NOT NULL REFERENCES notices (id),
    address TEXT NOT NULL,
    state TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (notice, address)
)
""",
            """
CREATE TABLE routes (
    address TEXT PRIMARY KEY,
    failures INTEGER NOT NULL,
    next INTEGER NOT NULL
)
""",
        ),
    ),
)


@dataclass(frozen=True)
class Fact:
    """Something that holds now and that people are told of.

    Attributes:
        kind: which sentence.
        study, run: ids, or nothing.
        subject: tells two facts of one kind apart, such as two nodes; never sent.
        holds: how long it has to hold before it is told.
    """

    kind: NoticeKind
    study: str = ""
    run: str = ""
    subject: str = ""
    holds: timedelta = timedelta()

    @property
    def key(self) -> str:
        """What makes it the same fact at the next look."""
        return f"{self.kind.value}\n{self.study}\n{self.run}\n{self.subject}"


@dataclass(frozen=True)
class Observation:
    """What one look saw.

    Attributes:
        facts: all that holds of the kinds that could be looked at.
        looked: those kinds; nothing is concluded about any other.
        troubles: why others could not be, one line each.
    """

    facts: tuple[Fact, ...]
    looked: frozenset[NoticeKind]
    troubles: tuple[str, ...] = ()


Part = tuple[frozenset[NoticeKind], Callable[[], Iterable[Fact] | None]]
"""Kinds, and what finds their facts; None where it cannot know just now."""


def seen_by(parts: Iterable[Part]) -> Observation:
    """Look at each part by itself: one that cannot be read hides no other."""
    facts: list[Fact] = []
    looked: set[NoticeKind] = set()
    troubles = []
    for kinds, find in parts:
        try:
            found = find()
            if found is not None:
                facts += found
                looked |= kinds
        except FieldfareError as error:
            troubles.append(str(error))
        except OSError as error:
            troubles.append(f"{error.filename or 'file'}: {error.strerror or 'cannot be read'}")
    return Observation(tuple(facts), frozenset(looked), tuple(troubles))


@dataclass(frozen=True)
class PostedNotice:
    """A notice, and how it stands with one address."""

    notice: Notice
    address: str
    state: str
    time: datetime


WAITING: Final = "waiting"
SENT: Final = "sent"
GIVEN_UP: Final = "given up"


class Outbox:
    """An open outbox; failures of the file or the disk are NoticeErrors."""

    def __init__(self, database: Database) -> None:
        """Read and write an open database."""
        self._database = database

    def look(self, seen: Observation, addresses: Sequence[str], now: datetime) -> list[Notice]:
        """Take in what a look saw, and return the notices that were made of it.

        Args:
            seen: all that holds, whether or not it was told.
            addresses: everybody who is told.
            now: with a time zone.
        """
        given = {fact.key: fact for fact in seen.facts if fact.kind in seen.looked}
        made = []
        with self._database.transaction():
            new = self._first_seen(seen.looked)
            known = self._standing()
            for key in known.keys() - given.keys():
                if _kind_of(key) in seen.looked:
                    self._database.rows("DELETE FROM standing WHERE key = ?", key)
            for key, fact in sorted(given.items()):
                since, told = known.get(key, (now, fact.kind in new & _FOR_GOOD))
                due = not told and (now - since >= fact.holds or since > now)
                if key not in known or due:  # a look at which nothing changed writes nothing
                    self._database.rows(
                        "REPLACE INTO standing VALUES (?, ?, ?)", key, _seconds(since), told or due
                    )
                if due:
                    made.append(self._post(fact, addresses, since, now))
            self._forget(now)
            if made:
                self._keep_few()
        return made

    def waiting(self, address: str, most: int) -> list[Notice]:
        """Return notices that an address has yet to get, oldest first."""
        found = self._database.rows(
            "SELECT id, kind, study, run, notices.time FROM notices JOIN deliveries"
            " ON notice = id WHERE address = ? AND state = ? ORDER BY notices.time, id LIMIT ?",
            *(address, WAITING, most),
        )
        return [_notice(*row) for row in found]

    def sent_since(self, address: str, since: datetime) -> int:
        """Return how many notices an address took since then."""
        found = self._database.rows(
            "SELECT count(*) FROM deliveries WHERE address = ? AND state = ? AND time > ?",
            *(address, SENT, _seconds(since)),
        )
        return int(found[0][0])

    def sent(self, notice: Notice, address: str, now: datetime) -> None:
        """Note that an address took a notice."""
        with self._database.transaction():
            self._settle(notice, address, SENT, now)
            self._database.rows("DELETE FROM routes WHERE address = ?", address)

    def failed(self, address: str, now: datetime) -> timedelta:
        """Note that an address took nothing; return how long it is left alone."""
        with self._database.transaction():
            pause = pause_after(self.failures(address) + 1)
            self._database.rows(
                "REPLACE INTO routes VALUES (?, ?, ?)",
                *(address, self.failures(address) + 1, _seconds(now + pause)),
            )
            # All that are as old: an address is tried with one of them at a time.
            self._database.rows(
                "UPDATE deliveries SET state = ?, time = ? WHERE address = ? AND state = ?"
                " AND notice IN (SELECT id FROM notices WHERE time <= ?)",
                *(GIVEN_UP, _seconds(now), address, WAITING, _seconds(now - GIVEN_UP_AFTER)),
            )
        return pause

    def failures(self, address: str) -> int:
        """Return how often in a row an address failed."""
        found = self._database.rows("SELECT failures FROM routes WHERE address = ?", address)
        return int(found[0][0]) if found else 0

    def rests(self, address: str, now: datetime) -> bool:
        """Tell whether an address is left alone for now; a clock that went back stops nothing."""
        found = self._database.rows("SELECT next FROM routes WHERE address = ?", address)
        if not found:
            return False
        return now < _moment(found[0][0]) <= now + LONGEST_PAUSE

    def posted(self, most: int) -> list[PostedNotice]:
        """Return the newest notices with each address, newest first."""
        found = self._database.rows(
            "SELECT id, kind, study, run, notices.time, address, state, deliveries.time"
            " FROM notices JOIN deliveries ON notice = id"
            " ORDER BY notices.time DESC, id, address LIMIT ?",
            most,
        )
        return [
            PostedNotice(_notice(*row[:5]), address, state, _moment(time))
            for *row, address, state, time in found
        ]

    def _first_seen(self, kinds: frozenset[NoticeKind]) -> frozenset[NoticeKind]:
        """Return the kinds that were never looked at before; from now on they were."""
        before = {kind for (kind,) in self._database.rows("SELECT kind FROM looks")}
        new = frozenset(kind for kind in kinds if kind.value not in before)
        self._database.many("INSERT INTO looks VALUES (?)", [(kind.value,) for kind in new])
        return new

    def _standing(self) -> dict[str, tuple[datetime, bool]]:
        found = self._database.rows("SELECT key, since, told FROM standing")
        return {key: (_moment(since), bool(told)) for key, since, told in found}

    def _post(self, fact: Fact, addresses: Sequence[str], since: datetime, now: datetime) -> Notice:
        name = hashlib.sha256(f"{fact.key}\n{_seconds(since)}".encode()).hexdigest()[:32]
        notice = Notice(name, fact.kind, fact.study, fact.run, rounded(now))
        self._database.rows(
            "INSERT INTO notices VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            *(notice.id, fact.key, notice.kind.value, notice.study, notice.run),
            _seconds(notice.at),
        )
        for address in addresses:  # where the same still waits, it is not said twice
            self._database.rows(
                "INSERT INTO deliveries SELECT ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM notices"
                " JOIN deliveries ON notice = id WHERE key = ? AND address = ? AND state = ?)"
                " ON CONFLICT DO NOTHING",
                *(notice.id, address, WAITING, _seconds(now), fact.key, address, WAITING),
            )
        return notice

    def _settle(self, notice: Notice, address: str, state: str, now: datetime) -> None:
        self._database.rows(
            "UPDATE deliveries SET state = ?, time = ? WHERE notice = ? AND address = ?",
            *(state, _seconds(now), notice.id, address),
        )

    def _forget(self, now: datetime) -> None:
        """Delete what is long over: nothing here grows for ever."""
        before = _seconds(now - KEPT)
        self._database.rows("DELETE FROM deliveries WHERE time < ?", before)
        self._database.rows(
            "DELETE FROM notices WHERE time < ? AND id NOT IN (SELECT notice FROM deliveries)",
            before,
        )
        self._database.rows("DELETE FROM routes WHERE next < ?", before)

    def _keep_few(self) -> None:
        """Delete the oldest notices beyond a number, but for those that an address waits for."""
        found = self._database.rows(
            "SELECT id FROM notices WHERE id NOT IN (SELECT notice FROM deliveries WHERE state = ?)"
            " ORDER BY time DESC, id LIMIT -1 OFFSET ?",
            *(WAITING, MOST_KEPT),
        )
        self._database.many("DELETE FROM deliveries WHERE notice = ?", found)
        self._database.many("DELETE FROM notices WHERE id = ?", found)


def pause_after(failures: int) -> timedelta:
    """Return how long an address is left alone after so many failures in a row, at least one."""
    doubled: timedelta = FIRST_PAUSE * 2 ** min(failures - 1, 20)
    return min(LONGEST_PAUSE, doubled)


@contextmanager
def open_outbox(path: Path) -> Iterator[Outbox]:
    """Open an outbox (0600, created with its folder if absent) and close it at the end.

    Raises:
        NoticeError: the file cannot be used: says what to do.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with Database(OUTBOX, path, busy_seconds=BUSY_SECONDS) as database:
        yield Outbox(database)


@contextmanager
def outbox_to_read(path: Path) -> Iterator[Outbox]:
    """Open an outbox to look at it; an empty one where none was made yet.

    Raises:
        NoticeError: the file cannot be read.
    """
    there = path.exists()
    with Database(
        OUTBOX, path if there else None, busy_seconds=BUSY_SECONDS, read_only=there
    ) as database:
        yield Outbox(database)


def _notice(name: str, kind: str, study: str, run: str, time: int) -> Notice:
    return Notice(name, NoticeKind(kind), study, run, _moment(time))


def _kind_of(key: str) -> NoticeKind:
    return NoticeKind(key.partition("\n")[0])


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

"""Alerts and decisions in one private file; they never leave the institution.

That an alert was reported is itself secret (harm rule 7): the file is 0600, its copy 0640 where a
group works on the alerts (casework.py), both overwrite what is deleted, and no message repeats
what is in them. Decisions are only ever added.
"""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from secrets import SystemRandom
from typing import Any, BinaryIO, Final

from fieldfare.client.alerts.acts import CaseAct, CaseActKind, History, in_time, standing
from fieldfare.client.alerts.alert import Alert, UnitLabel, label_of, latest
from fieldfare.client.alerts.feedback import (
    AlertStatus,
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
    alert_status,
)
from fieldfare.client.alerts.queue_view import (
    DUE_DAYS,
    HOLDER,
    LISTED,
    PLACES,
    QueueFilter,
    QueuePage,
    QueueReader,
    apply_history,
    pack_counts,
    place_of,
    places,
)
from fieldfare.client.alerts.tables import ALERTS, FORGET
from fieldfare.client.home.layout import Home
from fieldfare.client.scoring.selection import SelectionReason
from fieldfare.shared.canonical import TYPE_SEPARATOR, bytes_hash
from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.system.private_files import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder

STORE: Final = "alerts.sqlite"
LEAST_PREFIX: Final = 4
BUSY_SECONDS: Final = 5.0
_RANDOM: Final = SystemRandom()
_PUT_PLACE: Final = f"INSERT OR REPLACE INTO place VALUES ({', '.join('?' * len(PLACES))})"
_PLACE: Final = f"SELECT {', '.join(PLACES[:-1])} FROM place WHERE alert = ?"
_DECISIONS: Final = (
    "SELECT alert, time, user, disposition, party_role, confidence, note, "
    "coalesce(collected.reviewer, feedback.reviewer, 1), coalesce(key, '') "
    "FROM feedback LEFT JOIN collected USING (number)"
)
_ACTS: Final = "SELECT alert, time, user, kind, note, coalesce(key, '') FROM act"


@dataclass(frozen=True)
class StoredAlert:
    """An alert as it is kept, its decisions, and where it stands.

    Attributes:
        decisions: those that were not undone.
        history: all decisions and acts, in the order of time.
        lowest: families of the queue's lowest tier, where the alert is in it.
    """

    alert: Alert
    decisions: tuple[Feedback, ...]
    history: History = ()
    lowest: int | None = None

    @property
    def version(self) -> int:
        """How often people acted on it: whoever saw less did not see it as it is."""
        return len(self.history)

    @property
    def status(self) -> AlertStatus:
        """After all decisions."""
        return alert_status(self.decisions)


@dataclass(frozen=True)
class _Head:
    """An alert without its card."""

    alert: str
    unit: str
    opened: datetime
    selected: str
    decisions: tuple[Feedback, ...]

    @property
    def status(self) -> AlertStatus:
        return alert_status(self.decisions)


class AlertStore:
    """An open store. Every method is one transaction that is on disk when it returns."""

    def __init__(self, database: Database, beside: Sequence[Feedback | CaseAct] = ()) -> None:
        """Use `open_store`; `beside` are acts that were not collected yet."""
        self._database, self._rows, self._beside = database, database.rows, beside
        self._reader = QueueReader(database, self._read_moved())

    def _read_moved(self) -> list[tuple[Any, ...]]:
        """Return the rows of the queue whose alerts have acts that were not collected yet."""
        found = []
        for alert in sorted({one.alert for one in self._beside}):
            history = self._histories(alert)[alert]
            found += [apply_history(row, history) for row in self._rows(_PLACE, alert)]
        return found

    def put(
        self,
        alerts: Sequence[Alert],
        *,
        due_days: int = DUE_DAYS,
        draw: Callable[[], float] = _RANDOM.random,
    ) -> int:
        """Keep the alerts of one scoring; return how many are new.

        A unit whose alert is still open keeps that alert, with its id and the day it was opened:
        people are not asked twice. Alerts that were not looked at yet and did not come out
        again stay as well.

        Args:
            alerts: as the scoring chose them.
            due_days: how long people have.
            draw: of places of sampled alerts in the queue (queue_view.py).
        """
        new = 0
        rows = places(alerts, draw)
        with self._database.transaction():
            histories = self._histories()
            open_ones = {h.unit: h for h in self._heads(histories) if h.status.state != "closed"}
            for alert in alerts:
                before = open_ones.get(alert.unit)
                kept = alert
                if before is not None:
                    # Why people were asked first stays: a random draw must remain one.
                    as_before = {"alert": before.alert, "opened": before.opened.isoformat(),
                                 "selected": SelectionReason(before.selected)}  # fmt: skip
                    kept = alert.model_copy(update=as_before)
                else:
                    new += 1
                self._write(kept)
                history = histories.get(kept.alert, ())
                self._place(place_of(kept, rows[alert.alert], history, due_days))
        return new

    def _write(self, alert: Alert) -> None:
        self._rows(
            "INSERT INTO alert VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert) DO UPDATE SET "
            "scored = excluded.scored, selected = excluded.selected, rank = excluded.rank, "
            "card = excluded.card",
            *(alert.alert, alert.unit, alert.opened, alert.scored, alert.selected.value),
            *(alert.rank, alert.model_dump_json()),
        )

    def all(self) -> tuple[StoredAlert, ...]:
        """Return every alert, the newest scoring first, then by rank."""
        rows = self._rows("SELECT alert, card FROM alert ORDER BY scored DESC, rank, alert")
        found = self._histories()
        return tuple(
            StoredAlert(Alert.model_validate_json(card), standing(history), history)
            for alert, card in rows
            for history in (found.get(alert, ()),)
        )

    def find(self, text: str, hidden: Collection[str] = ()) -> StoredAlert:
        """Return the alert that a person means by its id or its first digits.

        Args:
            text: what was typed.
            hidden: units on the suppression list; no user sees their alerts.

        Raises:
            UsageError: none or several fit.
        """
        fitting = self._rows(
            "SELECT alert, unit, card FROM alert WHERE substr(alert, 1, ?) = ?", len(text), text
        )
        found = [(alert, card) for alert, unit, card in fitting if unit not in hidden]
        if len(text) < LEAST_PREFIX or len(found) != 1:
            raise UsageError(
                f"ALERT: expected an id or {LEAST_PREFIX} or more of its first digits, found "
                f"{text[:20]!a}, which fits {len(found) or 'none'}: see `fieldfare institution "
                "alerts`"
            )
        ((alert, card),) = found
        return self._read_alert(alert, card)

    def kept(self, alert: str, hidden: Collection[str] = ()) -> StoredAlert | None:
        """Return the alert of exactly that id; None where there is none, or nobody is shown it."""
        rows = self._rows("SELECT unit, card FROM alert WHERE alert = ?", alert)
        if not rows or rows[0][0] in hidden:
            return None
        return self._read_alert(alert, rows[0][1])

    def _read_alert(self, alert: str, card: str) -> StoredAlert:
        history = self._histories(alert).get(alert, ())
        found = self._rows("SELECT -rest FROM place WHERE alert = ? AND least", alert)
        lowest = int(found[0][0]) if found else None
        return StoredAlert(Alert.model_validate_json(card), standing(history), history, lowest)

    def page(self, asked: QueueFilter, today: date, hidden: Collection[str] = ()) -> QueuePage:
        """Return a page of the queue.

        Args:
            asked: what to show.
            today: the day by which alerts are due.
            hidden: units that nobody is shown.
        """
        return self._reader.page(asked, today, self._alerts_of(hidden))

    def following(self, asked: QueueFilter, today: date, hidden: Collection[str] = ()) -> str:
        """Return the first alert of a page, the next one after `asked.after`; empty: none."""
        found = self._reader.items(asked, today, self._alerts_of(hidden), 1)
        return found[0].alert if found else ""

    def _alerts_of(self, units: Collection[str]) -> list[str]:
        if not units:
            return []
        query = f"SELECT alert FROM alert WHERE unit IN {LISTED}"
        return [alert for (alert,) in self._rows(query, json.dumps(sorted(units)))]

    def transaction(self) -> AbstractContextManager[None]:
        """Hold the store: nobody acts on an alert in between."""
        return self._database.transaction()

    def knows(self, key: str, user: str) -> bool:
        """Tell whether that person did an act with that key; another one's key says nothing."""
        query = "SELECT 1 FROM feedback WHERE key = ?1 UNION SELECT 1 FROM act WHERE key = ?1"
        beside = any((one.key, one.user) == (key, user) for one in self._beside)
        return bool(key) and (beside or bool(self._rows(query, _own_key(key, user))))

    def add(self, one: Feedback | CaseAct) -> None:
        """Add a decision or another act."""
        with self._database.transaction():
            if isinstance(one, CaseAct):
                self._insert_act(one)
            else:
                self._insert(one)
            self._move(one.alert)

    def _insert(self, feedback: Feedback) -> int:
        ((number,),) = self._rows(
            "INSERT INTO feedback (alert, time, user, disposition, party_role, confidence, "
            "note, reviewer, key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
            *(feedback.alert, feedback.time.isoformat(), feedback.user),
            *(feedback.disposition.value, feedback.party_role.value),
            *(feedback.confidence.value, feedback.note, feedback.reviewer),
            _own_key(feedback.key, feedback.user),
        )
        return int(number)

    def _insert_act(self, act: CaseAct) -> None:
        self._rows(
            "INSERT INTO act (alert, time, user, kind, note, key) VALUES (?, ?, ?, ?, ?, ?)",
            *(act.alert, act.time.isoformat(), act.user, act.kind.value, act.note),
            _own_key(act.key, act.user),
        )

    def _move(self, alert: str) -> None:
        """Bring an alert's row of the queue up to its history."""
        history = self._histories(alert).get(alert, ())
        for row in self._rows(_PLACE, alert):
            self._place(apply_history(row, history))

    def _place(self, row: tuple[Any, ...]) -> None:
        name = row[HOLDER]
        if name:
            self._rows("INSERT OR IGNORE INTO person (name) VALUES (?)", name)
        found = self._rows("SELECT number FROM person WHERE name = ?", name)
        self._rows(_PUT_PLACE, *row, pack_counts(row, found[0][0] if found else 0))

    def collect(self, line: str, act: Feedback | CaseAct | None) -> None:
        """Take over an act that a person signed in their own file, known by its line's hash.

        Args:
            line: SHA-256, hex; taken over once.
            act: a decision or another act on an alert; None: one of which only the log says more.
        """
        with self._database.transaction():
            if isinstance(act, Feedback):
                number = self._insert(act)
                self._rows("INSERT INTO collected VALUES (?, ?, ?)", line, number, act.reviewer)
            else:
                self._rows("INSERT INTO noted VALUES (?)", line)
            if isinstance(act, CaseAct):
                self._insert_act(act)
            if act is not None:
                self._move(act.alert)

    def collected(self) -> set[str]:
        """Return the hashes of the lines that were taken over."""
        query = "SELECT line FROM collected UNION SELECT * FROM noted"
        return {line for (line,) in self._rows(query)}

    def forgotten(self) -> set[str]:
        """Return the hashes of lines that were taken over, of alerts that are gone."""
        return {line for (line,) in self._rows("SELECT line FROM forgotten")}

    def let_go(self, lines: Mapping[str, str]) -> None:
        """Note of lines that their alert is gone, so that whoever signed them blanks them.

        Args:
            lines: the alert of each line's act, by hash, empty where it is about none; those that
                were not taken over stay.
        """
        there = {alert for (alert,) in self._rows("SELECT alert FROM alert")}
        gone = [(line,) for line, alert in lines.items() if alert not in there]
        with self._database.transaction():
            query = "INSERT OR IGNORE INTO forgotten SELECT line FROM noted WHERE line = ?"
            self._database.many(query, gone)
            self._database.many("DELETE FROM noted WHERE line = ?", gone)

    def alert(self, alert: str) -> Alert | None:
        """Return the alert of that id; None where there is none."""
        rows = self._rows("SELECT card FROM alert WHERE alert = ?", alert)
        return Alert.model_validate_json(rows[0][0]) if rows else None

    def tell(self, suppressed: Collection[str], codes: Mapping[str, str]) -> None:
        """Write down for those who cannot read the home: which alerts are hidden, and codes."""
        hidden = [
            (alert,)
            for alert, unit in self._rows("SELECT alert, unit FROM alert")
            if unit in suppressed
        ]
        with self._database.transaction():
            self._rows("DELETE FROM hidden")
            self._database.many("INSERT INTO hidden VALUES (?)", hidden)
            self._rows("DELETE FROM code")
            self._database.many("INSERT INTO code VALUES (?, ?)", tuple(codes.items()))

    def hidden(self) -> set[str]:
        """Return the units of alerts that are hidden from those who cannot read the home."""
        # CROSS: SQLite begins with what is on the left, which is short.
        query = "SELECT unit FROM hidden CROSS JOIN alert USING (alert)"
        return {unit for (unit,) in self._rows(query)}

    def codes(self) -> dict[str, str]:
        """Return the indicators' codes in reports."""
        return dict(self._rows("SELECT indicator, code FROM code"))

    def resting(self, now: datetime, days: int) -> set[str]:
        """Return units whose alert was closed in the last `days` days."""
        since = now - timedelta(days=days)
        return {
            head.unit
            for head in self._heads()
            if head.status.since is not None and head.status.since > since
        }

    def labels(self, as_of: datetime) -> list[UnitLabel]:
        """Return the labels as known at `as_of`, one for a unit."""
        found = (
            label_of(head.unit, head.selected, head.opened, head.decisions, as_of)
            for head in self._heads()
        )
        return latest([label for label in found if label is not None])

    def keep_entries(self, closed: Mapping[str, bytes], day: date) -> None:
        """Keep encrypted entries by alert, until `day`, in place of those from before."""
        with self._database.transaction():
            self._database.many(
                "INSERT OR REPLACE INTO kept_entries VALUES (?, ?, ?)",
                [(alert, day.isoformat(), content) for alert, content in closed.items()],
            )

    def entries(self, alert: str) -> tuple[date, bytes] | None:
        """Return an alert's encrypted entries and the day until which they are kept."""
        rows = self._rows("SELECT day, closed FROM kept_entries WHERE alert = ?", alert)
        return (date.fromisoformat(rows[0][0]), rows[0][1]) if rows else None

    def open_ids(self) -> dict[str, str]:
        """Return the id of every open alert by its unit."""
        query = "SELECT unit, alert FROM alert JOIN place USING (alert) WHERE open = 1"
        return dict(self._rows(query))

    def expire(self, now: datetime, days: int) -> tuple[int, int]:
        """Delete what has reached its date; return how many alerts, and how many entries.

        An alert goes with its decisions, comments and entries, `days` after it was closed; where
        nobody closed it, after it last came out of a scoring. Entries alone go at their own day.
        SQLite overwrites all of it.

        Args:
            now: the present in UTC.
            days: how long alerts are kept.
        """
        until = now - timedelta(days=days)
        scored = dict(self._rows("SELECT alert, scored FROM alert"))
        gone = [
            (head.alert,)
            for head in self._heads()
            if (head.status.since or datetime.fromisoformat(scored[head.alert])) <= until
        ]
        with self._database.transaction():
            entries = self._database.changed(
                "DELETE FROM kept_entries WHERE day < ?", now.date().isoformat()
            )
            self._database.many("INSERT INTO expiring VALUES (?)", gone)
            for statement in FORGET:
                self._rows(statement)
        self._database.give_back()
        return len(gone), entries

    def catch_up(self) -> None:
        """Give rows in the queue to alerts that an earlier Fieldfare kept without."""
        counts = "SELECT (SELECT count(*) FROM alert), (SELECT count(*) FROM place)"
        ((alerts_kept, rows_kept),) = self._rows(counts)
        if alerts_kept == rows_kept:  # at every opening: no card is read for it
            return
        query = "SELECT card FROM alert WHERE alert NOT IN (SELECT alert FROM place)"
        with self._database.transaction():
            alerts = [Alert.model_validate_json(card) for (card,) in self._rows(query)]
            rows, found = places(alerts, _RANDOM.random), self._histories()
            for one in alerts:
                history = found.get(one.alert, ())
                self._place(place_of(one, rows[one.alert], history, DUE_DAYS))

    def copy_to(self, path: Path) -> None:
        """Copy everything into a new file (0600).

        Raises:
            UsageError: something is at `path`, or it cannot be written.
        """
        self._database.copy_to(path)

    def publish(self, path: Path, mode: int, group: int) -> None:
        """Replace a copy that others read: who holds the old one keeps nobody from writing.

        An old one with alerts that are gone is overwritten first; who is reading it then is told
        that it is damaged.

        Args:
            path: the copy's, in a folder where this user alone makes files.
            mode: of the copy.
            group: of the copy, by number.

        Raises:
            UsageError: the store cannot be read, or the copy not be written.
            OSError: the disk refuses it.
        """
        fresh = path.with_name(f"{path.name}.new")
        with self._database.transaction():  # nobody else writes, or publishes an older state
            fresh.unlink(missing_ok=True)
            self._database.copy_to(fresh)
            os.chown(fresh, -1, group)
            fresh.chmod(mode)
            times = Path(self._rows("PRAGMA database_list")[0][2]).stat()
            os.utime(fresh, ns=(times.st_atime_ns, times.st_mtime_ns))  # newer: written to since
            if not path.exists():
                fresh.replace(path)
            else:
                with path.open("r+b", buffering=0) as old:
                    holds_more = self._is_held_more_by(path)
                    fresh.replace(path)
                    if holds_more:
                        _overwrite(old)
        sync_folder(path.parent)

    def _is_held_more_by(self, path: Path) -> bool:
        """Tell whether a copy holds alerts that are gone from here; a damaged one may."""
        query = "SELECT alert FROM alert"
        try:
            with _read_only(path) as copy:
                return not set(copy.rows(query)) <= set(self._rows(query))
        except UsageError:
            return True

    def _heads(self, histories: Mapping[str, History] | None = None) -> list[_Head]:
        found = self._histories() if histories is None else histories
        return [
            _Head(
                alert,
                unit,
                datetime.fromisoformat(opened),
                selected,
                standing(found.get(alert, ())),
            )
            for alert, unit, opened, selected in self._rows(
                "SELECT alert, unit, opened, selected FROM alert"
            )
        ]

    def _histories(self, alert: str = "") -> dict[str, History]:
        """Return the histories of all alerts that have one, or of one alert."""
        where, bound = (" WHERE alert = ?", (alert,)) if alert else ("", ())
        found: dict[str, list[Feedback | CaseAct]] = {}
        for row in self._rows(f"{_DECISIONS}{where} ORDER BY number", *bound):
            found.setdefault(row[0], []).append(_decision(*row))
        for row in self._rows(f"{_ACTS}{where} ORDER BY number", *bound):
            found.setdefault(row[0], []).append(_act(*row))
        for one in self._beside:
            if not alert or one.alert == alert:
                found.setdefault(one.alert, []).append(one)
        return {name: in_time(some) for name, some in found.items()}


def _own_key(key: str, user: str) -> str | None:
    """Return an act's key as it is kept: whoever copies another person's key has another one."""
    return bytes_hash(key.encode() + TYPE_SEPARATOR + user.encode()) if key else None


def _decision(
    alert: str,
    time: str,
    user: str,
    disposition: str,
    role: str,
    confidence: str,
    note: str,
    reviewer: int,
    key: str,
) -> Feedback:
    return Feedback(
        alert,
        datetime.fromisoformat(time),
        user,
        Disposition(disposition),
        PartyRole(role),
        Confidence(confidence),
        note,
        bool(reviewer),
        key,
    )


def _act(alert: str, time: str, user: str, kind: str, note: str, key: str) -> CaseAct:
    return CaseAct(alert, datetime.fromisoformat(time), user, CaseActKind(kind), note, key)


@contextmanager
def open_store(home: Home) -> Iterator[AlertStore]:
    """Open the home's own store (0600 in a folder 0700), made where there is none.

    Raises:
        UsageError: it is no store, locked, or cannot be written.
        OSError: the disk refuses it.
    """
    with store_at(scoring_folder(home) / STORE, PRIVATE_FILE) as store:
        yield store


@contextmanager
def store_at(path: Path, mode: int) -> Iterator[AlertStore]:
    """Open a store to write, made where there is none.

    Args:
        path: the file, in a folder that is there.
        mode: of the file.

    Raises:
        UsageError: it is no store, locked, or cannot be written.
        OSError: the disk refuses it.
    """
    _make(path, mode)
    with Database(ALERTS, path, busy_seconds=BUSY_SECONDS, mode=mode) as database:
        store = AlertStore(database)
        store.catch_up()
        yield store


@contextmanager
def read_store(
    path: Path, beside: Callable[[set[str]], Sequence[Feedback | CaseAct]]
) -> Iterator[AlertStore]:
    """Open another user's store to read.

    Args:
        path: the file.
        beside: returns the acts that were not collected yet, given the collected lines.

    Raises:
        UsageError: there is none, it is locked, or no store.
    """
    if not path.exists():
        raise UsageError(
            f"{path}: expected a store of alerts, found none: the operator scores first"
        )
    with _read_only(path) as database:
        if database.rows("PRAGMA user_version") != [(ALERTS.newest,)]:
            raise UsageError(
                f"{path}: expected a store of this Fieldfare, found an older or a newer one: the "
                "operator runs `fieldfare institution casework collect` once"
            )
        before = AlertStore(database)
        fresh = beside(before.collected() | before.forgotten())
        yield AlertStore(database, tuple(_once(fresh, before.knows)))


def _once(
    acts: Sequence[Feedback | CaseAct], knows: Callable[[str, str], bool]
) -> Iterator[Feedback | CaseAct]:
    """Yield acts but those that their person did before under the same key, as collected."""
    done: set[tuple[str, str]] = set()
    for one in acts:
        if not one.key or not ((one.key, one.user) in done or knows(one.key, one.user)):
            done.add((one.key, one.user))
            yield one


def scoring_folder(home: Home) -> Path:
    """Make the folder (0700) where there is none, and return it.

    Raises:
        OSError: the disk refuses it.
    """
    if not home.scoring.is_dir():
        home.scoring.mkdir(PRIVATE_FOLDER)
        home.scoring.chmod(PRIVATE_FOLDER)  # an odd umask may have taken the owner's rights too
        sync_folder(home.path)
    return home.scoring


def copy_store(path: Path, to: Path) -> None:
    """Copy a store into a new file (0600), which appears as a whole or not at all.

    Raises:
        UsageError: it is no store, or it cannot be written.
        OSError: the disk refuses it.
    """
    fresh = to.with_name(f"{to.name}.new")
    fresh.unlink(missing_ok=True)
    with _read_only(path) as database:
        database.copy_to(fresh)
    fresh.replace(to)
    sync_folder(to.parent)


_HELD: Final = (
    "SELECT alert FROM alert",
    "SELECT alert, time, user FROM feedback",
    "SELECT alert, time, user FROM act",
    "SELECT line FROM noted",
)


def _read_only(path: Path) -> Database:
    return Database(ALERTS, path, busy_seconds=BUSY_SECONDS, read_only=True)


def holds_more(path: Path, than: Path) -> bool:
    """Tell whether a store has alerts, decisions, acts or collected lines that another one lacks.

    Raises:
        UsageError: one is no store, or cannot be read.
    """
    with _read_only(path) as one, _read_only(than) as other:
        return any(not set(one.rows(held)) <= set(other.rows(held)) for held in _HELD)


_NEWEST: Final = """
SELECT max(time) FROM (SELECT scored AS time FROM alert
    UNION ALL SELECT time FROM feedback UNION ALL SELECT time FROM act)
"""


def is_later(path: Path, than: Path) -> bool:
    """Tell whether a store has something newer than everything that another one has.

    What retention deletes is older than what it leaves. Of an empty store nothing is known.

    Raises:
        UsageError: one is no store, or cannot be read.
    """
    with _read_only(path) as one, _read_only(than) as other:
        ((newest,),), ((known,),) = one.rows(_NEWEST), other.rows(_NEWEST)
        return newest is not None and known is not None and newest > known


def _overwrite(file: BinaryIO) -> None:
    left = os.fstat(file.fileno()).st_size
    while left > 0:
        left -= file.write(bytes(min(left, 1 << 20)))
    os.fsync(file.fileno())


def _make(path: Path, mode: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)

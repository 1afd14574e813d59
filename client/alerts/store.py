"""Alerts and decisions in one private file; they never leave the institution.

That an alert was reported is itself secret (harm rule 7): the file is 0600, or 0640 where a group
works on the alerts (casework.py), overwrites what it deletes, and no message repeats what is in
it. Decisions are only ever added.
"""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.alert import (
    Alert,
    AlertStatus,
    Confidence,
    Disposition,
    Feedback,
    PartyRole,
    UnitLabel,
    alert_status,
    label_of,
    latest,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.scoring.selection import Selected
from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, DatabaseKind
from fieldfare.shared.system.private_files import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder

STORE: Final = "alerts.sqlite"
LEAST_PREFIX: Final = 4
BUSY_SECONDS: Final = 5.0
_ALERTS: Final = (
    """
CREATE TABLE IF NOT EXISTS alert (
    alert TEXT PRIMARY KEY, unit TEXT NOT NULL, opened TEXT NOT NULL, scored TEXT NOT NULL,
    selected TEXT NOT NULL, rank INTEGER NOT NULL, card TEXT NOT NULL
) STRICT
""",
    """
CREATE TABLE IF NOT EXISTS feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL REFERENCES alert,
    time TEXT NOT NULL, user TEXT NOT NULL, disposition TEXT NOT NULL, party_role TEXT NOT NULL,
    confidence TEXT NOT NULL, note TEXT NOT NULL
) STRICT
""",
    """
CREATE TRIGGER IF NOT EXISTS feedback_stays BEFORE UPDATE ON feedback
    BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END
""",
    """
CREATE TRIGGER IF NOT EXISTS feedback_is_kept BEFORE DELETE ON feedback
    BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END
""",
)
# Some files of version 1 have these too.
_CASEWORK: Final = (
    """
CREATE TABLE IF NOT EXISTS collected (
    line TEXT PRIMARY KEY, number INTEGER NOT NULL REFERENCES feedback, reviewer INTEGER NOT NULL
) STRICT
""",
    "CREATE TABLE IF NOT EXISTS noted (line TEXT PRIMARY KEY) STRICT",
    "CREATE TABLE IF NOT EXISTS hidden (alert TEXT PRIMARY KEY REFERENCES alert) STRICT",
    "CREATE TABLE IF NOT EXISTS code (indicator TEXT PRIMARY KEY, code TEXT NOT NULL) STRICT",
)
_REMEDY: Final = "let other commands finish, free some space, or restore it from your backup"
_KIND: Final = DatabaseKind(
    name="the store of alerts",
    error=UsageError,
    again="repeat the command",
    restore=_REMEDY,
    otherwise=_REMEDY,
    pragmas=DURABLE,  # no WAL: the group reads the file, and may not write its index
    migrations=(_ALERTS, _CASEWORK),
    application=0,
)


@dataclass(frozen=True)
class Kept:
    """An alert as it is kept, its decisions, and where it stands."""

    alert: Alert
    decisions: tuple[Feedback, ...]

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

    def __init__(self, database: Database, beside: Sequence[Feedback] = ()) -> None:
        """Use `open_store`; `beside` are decisions that were not collected yet."""
        self._database, self._rows, self._beside = database, database.rows, beside

    def put(self, alerts: Sequence[Alert]) -> int:
        """Keep the alerts of one scoring; return how many are new.

        A unit whose alert is still open keeps that alert, with its id and the day it was opened:
        people are not asked twice. Alerts that were not looked at yet and did not come out
        again stay as well.
        """
        new = 0
        with self._database.transaction():
            open_ones = {h.unit: h for h in self._heads() if h.status.state != "closed"}
            for alert in alerts:
                before = open_ones.get(alert.unit)
                if before is not None:
                    # Why people were asked first stays: a random draw must remain one.
                    kept = {"alert": before.alert, "opened": before.opened.isoformat(),
                            "selected": Selected(before.selected)}  # fmt: skip
                    self._write(alert.model_copy(update=kept))
                else:
                    self._write(alert)
                    new += 1
        return new

    def _write(self, alert: Alert) -> None:
        self._rows(
            "INSERT INTO alert VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert) DO UPDATE SET "
            "scored = excluded.scored, selected = excluded.selected, rank = excluded.rank, "
            "card = excluded.card",
            *(alert.alert, alert.unit, alert.opened, alert.scored, alert.selected.value),
            *(alert.rank, alert.model_dump_json()),
        )

    def all(self) -> tuple[Kept, ...]:
        """Return every alert, the newest scoring first, then by rank."""
        rows = self._rows("SELECT alert, card FROM alert ORDER BY scored DESC, rank, alert")
        decisions = self._decisions()
        return tuple(
            Kept(Alert.model_validate_json(card), decisions.get(alert, ())) for alert, card in rows
        )

    def find(self, text: str, hidden: Collection[str] = ()) -> Kept:
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
        return Kept(Alert.model_validate_json(card), self._decisions().get(alert, ()))

    def add(self, feedback: Feedback) -> None:
        """Add a decision."""
        self._insert(feedback)

    def _insert(self, feedback: Feedback) -> int:
        ((number,),) = self._rows(
            "INSERT INTO feedback (alert, time, user, disposition, party_role, confidence, "
            "note) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING number",
            *(feedback.alert, feedback.time.isoformat(), feedback.user),
            *(feedback.disposition.value, feedback.party_role.value),
            *(feedback.confidence.value, feedback.note),
        )
        return int(number)

    def collect(self, line: str, feedback: Feedback | None) -> None:
        """Take over an act that a person signed in an own file, known by its line's hash.

        Args:
            line: SHA-256, hex; taken over once.
            feedback: the decision; None: another act, of which only the log says more.
        """
        with self._database.transaction():
            if feedback is None:
                self._rows("INSERT INTO noted VALUES (?)", line)
                return
            number = self._insert(feedback)
            self._rows("INSERT INTO collected VALUES (?, ?, ?)", line, number, feedback.reviewer)

    def collected(self) -> set[str]:
        """Return the hashes of the lines that were taken over."""
        return {
            line for (line,) in self._rows("SELECT line FROM collected UNION SELECT * FROM noted")
        }

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
        query = "SELECT unit FROM alert JOIN hidden USING (alert)"
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

    def copy_to(self, path: Path) -> None:
        """Copy everything into a new file (0600).

        Raises:
            UsageError: something is at `path`, or it cannot be written.
        """
        self._database.copy_to(path)

    def _heads(self) -> list[_Head]:
        decisions = self._decisions()
        return [
            _Head(alert, unit, datetime.fromisoformat(opened), selected, decisions.get(alert, ()))
            for alert, unit, opened, selected in self._rows(
                "SELECT alert, unit, opened, selected FROM alert"
            )
        ]

    def _decisions(self) -> dict[str, tuple[Feedback, ...]]:
        found: dict[str, list[Feedback]] = {}
        for one in self._feedback():
            found.setdefault(one.alert, []).append(one)
        for one in self._beside:
            found.setdefault(one.alert, []).append(one)
        if self._beside or self._rows("SELECT 1 FROM collected LIMIT 1"):
            # Collected later than another's, and signed before.
            for decisions in found.values():
                decisions.sort(key=lambda one: one.time)
        return {alert: tuple(decisions) for alert, decisions in found.items()}

    def _feedback(self) -> Iterator[Feedback]:
        query = (
            "SELECT alert, time, user, disposition, party_role, confidence, note, "
            "coalesce(reviewer, 1) FROM feedback LEFT JOIN collected USING (number) "
            "ORDER BY number"
        )
        for alert, time, user, disposition, role, confidence, note, reviewer in self._rows(query):
            yield Feedback(
                alert, datetime.fromisoformat(time), user, Disposition(disposition),
                PartyRole(role), Confidence(confidence), note, bool(reviewer),
            )  # fmt: skip


@contextmanager
def open_store(home: Home) -> Iterator[AlertStore]:
    """Open the home's own store (0600 in a folder 0700), made where there is none.

    Raises:
        UsageError: it is no store, locked, or cannot be written.
        OSError: the disk says no.
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
        OSError: the disk says no.
    """
    _make(path, mode)
    with Database(_KIND, path, busy_seconds=BUSY_SECONDS, mode=mode) as database:
        yield AlertStore(database)


@contextmanager
def read_store(
    path: Path, beside: Callable[[set[str]], Sequence[Feedback]]
) -> Iterator[AlertStore]:
    """Open another user's store to read.

    Args:
        path: the file.
        beside: returns the decisions that were not collected yet, given the collected lines.

    Raises:
        UsageError: there is none, it is locked, or no store.
    """
    if not path.exists():
        raise UsageError(
            f"{path}: expected a store of alerts, found none: the operator scores first"
        )
    with Database(_KIND, path, busy_seconds=BUSY_SECONDS, read_only=True) as database:
        yield AlertStore(database, beside(AlertStore(database).collected()))


def scoring_folder(home: Home) -> Path:
    """Make the folder (0700) where there is none, and return it.

    Raises:
        OSError: the disk says no.
    """
    if not home.scoring.is_dir():
        home.scoring.mkdir(PRIVATE_FOLDER)
        home.scoring.chmod(PRIVATE_FOLDER)  # an odd umask may have taken the owner's rights too
        sync_folder(home.path)
    return home.scoring


def _make(path: Path, mode: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)

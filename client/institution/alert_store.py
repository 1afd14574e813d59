"""Alerts and decisions in one private file of the home; nothing of it ever leaves.

That an alert was reported is itself secret (harm rule 7): the file is 0600, overwrites what it
deletes, and no message repeats what is in it. Decisions are only ever added.
"""

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from fieldfare.client.institution.home import Home
from fieldfare.client.scoring.alert import Alert, Confidence, Disposition, PartyRole
from fieldfare.client.scoring.choosing import Selected
from fieldfare.client.scoring.labels import (
    Feedback,
    Label,
    Standing,
    label_of,
    latest,
    standing_of,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.private_files import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder

STORE: Final = "alerts.sqlite"
LEAST_PREFIX: Final = 4
BUSY_SECONDS: Final = 5.0
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alert (
    alert TEXT PRIMARY KEY, unit TEXT NOT NULL, opened TEXT NOT NULL, scored TEXT NOT NULL,
    selected TEXT NOT NULL, rank INTEGER NOT NULL, card TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL REFERENCES alert,
    time TEXT NOT NULL, user TEXT NOT NULL, disposition TEXT NOT NULL, party_role TEXT NOT NULL,
    confidence TEXT NOT NULL, note TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS feedback_stays BEFORE UPDATE ON feedback
    BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END;
CREATE TRIGGER IF NOT EXISTS feedback_is_kept BEFORE DELETE ON feedback
    BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END;
PRAGMA user_version = 1;
"""


@dataclass(frozen=True)
class Kept:
    """An alert as it is kept, its decisions, and where it stands."""

    alert: Alert
    decisions: tuple[Feedback, ...]

    @property
    def standing(self) -> Standing:
        """After all decisions."""
        return standing_of(self.decisions)


@dataclass(frozen=True)
class _Head:
    """An alert without its card."""

    alert: str
    unit: str
    opened: datetime
    selected: str
    decisions: tuple[Feedback, ...]

    @property
    def standing(self) -> Standing:
        return standing_of(self.decisions)


class AlertStore:
    """An open store. Every method is one transaction that is on disk when it returns."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open_store`."""
        self._connection = connection

    def put(self, alerts: Sequence[Alert]) -> int:
        """Keep the alerts of one scoring; return how many are new.

        A unit whose alert is still open keeps that alert, with its id and the day it was opened:
        people are not asked twice. Alerts that were not looked at yet and did not come out
        again stay as well.
        """
        new = 0
        with self._connection:
            open_ones = {h.unit: h for h in self._heads() if h.standing.state != "closed"}
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
        self._connection.execute(
            "INSERT INTO alert VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (alert) DO UPDATE SET "
            "scored = excluded.scored, selected = excluded.selected, rank = excluded.rank, "
            "card = excluded.card",
            (alert.alert, alert.unit, alert.opened, alert.scored, alert.selected.value,
             alert.rank, alert.model_dump_json()),
        )  # fmt: skip

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
            hidden: units on the suppression list: their alerts are not there for anybody.

        Raises:
            UsageError: none or several fit.
        """
        fitting = self._rows(
            "SELECT alert, unit, card FROM alert WHERE substr(alert, 1, ?) = ?", len(text), text
        )
        found = [(alert, card) for alert, unit, card in fitting if unit not in hidden]
        if len(text) < LEAST_PREFIX or len(found) != 1:
            raise UsageError(
                f"ALERT: an id, or {LEAST_PREFIX} or more first digits of one, expected; "
                f"{text[:20]!a} fits {len(found) or 'none'}: see `fieldfare institution alerts`"
            )
        ((alert, card),) = found
        return Kept(Alert.model_validate_json(card), self._decisions().get(alert, ()))

    def add(self, feedback: Feedback) -> None:
        """Add a decision."""
        with self._connection:
            self._connection.execute(
                "INSERT INTO feedback (alert, time, user, disposition, party_role, confidence, "
                "note) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (feedback.alert, feedback.time.isoformat(), feedback.user,
                 feedback.disposition.value, feedback.party_role.value,
                 feedback.confidence.value, feedback.note),
            )  # fmt: skip

    def resting(self, now: datetime, days: int) -> set[str]:
        """Return units whose alert was closed in the last `days` days."""
        since = now - timedelta(days=days)
        return {
            head.unit
            for head in self._heads()
            if head.standing.since is not None and head.standing.since > since
        }

    def labels(self, as_of: datetime) -> list[Label]:
        """Return what was known at `as_of`, one label for a unit."""
        found = (
            label_of(head.unit, head.selected, head.opened, head.decisions, as_of)
            for head in self._heads()
        )
        return latest([label for label in found if label is not None])

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
        return {alert: tuple(decisions) for alert, decisions in found.items()}

    def _feedback(self) -> Iterator[Feedback]:
        query = (
            "SELECT alert, time, user, disposition, party_role, confidence, note FROM feedback "
            "ORDER BY number"
        )
        for alert, time, user, disposition, role, confidence, note in self._rows(query):
            yield Feedback(
                alert, datetime.fromisoformat(time), user, Disposition(disposition),
                PartyRole(role), Confidence(confidence), note,
            )  # fmt: skip

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()


@contextmanager
def open_store(home: Home) -> Iterator[AlertStore]:
    """Open the home's store (0600 in a folder 0700), made where there is none.

    Raises:
        UsageError: it is no store, locked, or cannot be written.
    """
    path = home.scoring / STORE
    try:
        scoring_folder(home)
        _make(path)
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.executescript(_SCHEMA)
            yield AlertStore(connection)
    except sqlite3.Error as error:
        raise UsageError(
            f"{path}: a store of alerts that can be read and written expected, found: "
            f"{error.sqlite_errorname}; let other commands finish, free some space, or restore it "
            "from your backup"
        ) from None


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


def _make(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)

"""The acts of persons on an alert beside deciding: take it, give it back, comment, undo.

Acts are only ever added, as decisions are. An undo takes back the undoing person's own last
decision; it stays in the history, and counts for nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from fieldfare.client.alerts.feedback import Feedback


class CaseActKind(StrEnum):
    """An act that is no decision."""

    TAKE = "take"
    RELEASE = "release"
    COMMENT = "comment"
    UNDO = "undo"


@dataclass(frozen=True)
class CaseAct:
    """One act of one person on one alert.

    Attributes:
        time: when, with a time zone.
        note: of a comment; stays in the store.
        key: chosen by who asks, so that asking twice does nothing twice; empty: none.
    """

    alert: str
    time: datetime
    user: str
    kind: CaseActKind
    note: str = ""
    key: str = ""


History = tuple[Feedback | CaseAct, ...]
"""Decisions and acts of one alert, in the order of time."""


def in_time(found: Sequence[Feedback | CaseAct]) -> History:
    """Return a history; what has one time stays in the order given."""
    return tuple(sorted(found, key=lambda one: one.time))


def standing(history: History) -> tuple[Feedback, ...]:
    """Return the decisions that were not undone, in the order of time."""
    kept: list[Feedback] = []
    for one in history:
        if isinstance(one, Feedback):
            kept.append(one)
        elif one.kind is CaseActKind.UNDO and kept and may_undo(kept, one.user, one.time):
            kept.pop()
    return tuple(kept)


def may_undo(decisions: Sequence[Feedback], user: str, now: datetime) -> bool:
    """Tell whether the last decision is this person's, and of the same day (UTC)."""
    last = decisions[-1] if decisions else None
    return last is not None and last.user == user and _day(last.time) == _day(now)


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def holder_of(history: History) -> str:
    """Return who took the alert and did not give it back; empty: nobody."""
    holder = ""
    for one in history:
        if isinstance(one, CaseAct) and one.kind is CaseActKind.TAKE:
            holder = one.user
        elif isinstance(one, CaseAct) and one.kind is CaseActKind.RELEASE:
            holder = ""
    return holder

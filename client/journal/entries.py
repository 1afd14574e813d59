"""An institution's log: which events and short details it may hold, and their hash chain.

Pure: entries in, lines out, and back. The sets are closed so that no record's value can get in by
way of a new key, and messages here never repeat what was found: it may be what must not be written
down.

An entry is one line of canonical JSON (RFC 8785). Its hash is the SHA-256 (FIPS 180-4) of a
type string, a zero byte and everything else in the line, with the hash of the entry before:
the last hash fixes every line. A line that could be written in another way is refused, so
that every changed byte shows.

The chain has no key: it shows what was damaged, lost or changed in places, but who may write
the file can write another log. What left stands in signed replies as well.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

import rfc8785

from fieldfare.shared.canonical import MAX_EXACT_INT, TYPE_SEPARATOR, chained_hash, is_sha256
from fieldfare.shared.errors import LedgerError, UsageError

Value = str | int | float | bool

MAX_TEXT: Final = 256  # characters
MAX_SENTENCE: Final = 500  # characters: what a person types, and a rule in words
MAX_LINE: Final = 32 * 1024  # bytes of a line: every text at its limit, in UTF-8, escaped

SENTENCES: Final = frozenset({"reason", "rule"})
TEXTS: Final = frozenset(
    {"code", "fingerprint", "head", "institution", "kind", "request", "run", "study", "user"}
)
COUNTS: Final = frozenset(
    {"attempt", "cumulative", "debit", "debited", "epoch", "sequence", "step"}
)
TERMS: Final = frozenset({"asked", "limit", "version"})  # texts, numbers or truth values


class Event(Enum):
    """Everything that is written down."""

    REQUEST = "request"
    REFUSAL = "refusal"
    RELEASE = "release"
    OPENED = "run opened"
    AGREED = "keys agreed"
    COSIGNED = "transcript co-signed"
    PUBLISHED = "rehearsal keys published"
    TOLD = "peers told"
    FORKED = "ledger forked"
    APPROVAL = "approval"
    REJECTION = "rejection"
    WITHDRAWAL = "withdrawal"
    FIRST_YES = "first of two approvals"
    POLICY = "policy widened"  # by whom, for which study; `rule` says what was added
    ROSTER = "roster"
    KEY = "key"
    LEDGER = "ledger"
    CLOCK = "clock"  # a person compared it
    START = "start"
    STOP = "stop"
    IN_FORCE = "in force"  # what a custodian answers under from here on
    STUDY_RECEIVED = "study received"
    MODEL_RECEIVED = "model received"
    # What is done with a model here: that it was, never about whom or what came out (harm rule 7).
    SCORED = "scored"
    TUNED = "model tuned"
    FEEDBACK = "feedback"
    WORDS_READ = "words read"  # a text was opened again to see what moved its score
    LABELS = "labels exported"
    REPORT_DRAFTED = "report drafted"
    ALERT_ACT = "alert act"  # taken, given back, commented, undone; `kind` says what
    CONSOLE = "console"  # a log-in or an account; `kind` says what
    BACKUP = "backup"  # the home was copied, or came from a copy; `kind` says which
    DELETED = "deleted"  # what was due: `kind` of it, `rule`, the day or file in `asked`, a hash
    REPAIR = "repair"  # the log itself left an incomplete line of an old file out


# What persons do about single alerts; that a report was drafted is secret by itself.
CASEWORK: Final = frozenset(
    {Event.FEEDBACK, Event.WORDS_READ, Event.REPORT_DRAFTED, Event.ALERT_ACT}
)


def check_actor(actor: object) -> None:
    """Refuse anything but 1 to 256 printable characters.

    Raises:
        UsageError: names the expected value, never the found one.
    """
    _check_text("actor", actor, MAX_TEXT)


def check_details(details: Mapping[str, Value]) -> None:
    """Refuse keys outside the closed set, values of another type, and long or odd texts.

    Edge cases:
        | value | answer |
        |---|---|
        | a key of no set, any nesting, None, bytes | refused |
        | an empty text, a line break, a control or direction character | refused |
        | an integer of 2^53 or more, NaN, an infinity | refused (RFC 8785 is not exact) |
        | -0.0 | written as 0 |

    Raises:
        UsageError: names the expected value, never the found one.
    """
    for key, value in details.items():
        if key in TEXTS:
            _check_text(key, value, MAX_TEXT)
        elif key in SENTENCES:
            _check_text(key, value, MAX_SENTENCE)
        elif key in COUNTS:
            _check_count(key, value)
        elif key in TERMS:
            _check_term(key, value)
        else:
            allowed = ", ".join(sorted(TEXTS | SENTENCES | COUNTS | TERMS))
            raise UsageError(f"expected details of the log from {allowed}, found another key")


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """Return `text` as it may stand in the log: cut, other characters as "?", never empty.

    For what others wrote (a refusal must be logged whatever it refused).
    """
    return "".join(c if c.isprintable() else "?" for c in text[:limit]) or "?"


def _check_text(key: str, value: object, limit: int) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= limit or not value.isprintable():
        raise UsageError(
            f"{key}: expected 1 to {limit} printable characters on one line, found something "
            "else: shorten it or leave it out"
        )


def _check_count(key: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= MAX_EXACT_INT:
        raise UsageError(f"{key}: expected an integer from 0 to 2^53 - 1, found something else")


def _check_term(key: str, value: object) -> None:
    if isinstance(value, str):
        _check_text(key, value, MAX_TEXT)
    elif not (
        isinstance(value, bool)
        or (
            isinstance(value, int | float)
            and math.isfinite(value)
            and abs(value) <= MAX_EXACT_INT  # also floats: RFC 8785 writes them as integers
        )
    ):
        raise UsageError(
            f"{key}: expected a short text, a number or true or false, found something else"
        )


# -- journal chain --------------------------------------------------------------------------------

FORMAT: Final = 1
ENTRY_TYPE: Final = b"fieldfare.journal.entry.v1"
_ENTRY_FIELDS: Final = {
    *("format", "sequence", "time", "event", "actor", "details", "previous", "hash")
}
_LEAST_YEAR: Final = 1970  # four digits, so that a time is written in one way only
_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One point of a log: the entry with this sequence has this hash."""

    sequence: int
    hash: str


GENESIS: Final = Mark(sequence=0, hash="0" * 64)


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One line of the log; `time` is the clock's, in UTC, also if it was set back."""

    sequence: int
    time: datetime
    event: Event
    actor: str
    details: Mapping[str, Value]
    previous: str
    hash: str

    @property
    def mark(self) -> Mark:
        """The log's position after this entry."""
        return Mark(sequence=self.sequence, hash=self.hash)

    @property
    def line(self) -> bytes:
        """The entry's canonical JSON, without a line break."""
        return rfc8785.dumps(_content(self) | {"hash": self.hash})


def next_entry(
    end: Mark, *, time: datetime, event: Event, actor: str, details: Mapping[str, Value]
) -> JournalEntry:
    """Return the entry that follows `end`.

    Raises:
        UsageError: the actor or the details may not stand in the log.
        LedgerError: a time without a time zone or before 1970, or a log of 2^53 entries.
    """
    check_actor(actor)
    check_details(details)
    if time.tzinfo is None or time.year < _LEAST_YEAR:
        raise LedgerError(
            f"expected a time with a time zone, from {_LEAST_YEAR} on, found {time}: set the clock"
        )
    if end.sequence >= MAX_EXACT_INT:
        raise LedgerError(
            "expected fewer than 2^53 entries in a log, found as many: begin a new log"
        )
    entry = JournalEntry(
        sequence=end.sequence + 1,
        time=time.astimezone(UTC),
        event=event,
        actor=actor,
        details=dict(details),
        previous=end.hash,
        hash="",
    )
    return replace(entry, hash=chained_hash(ENTRY_TYPE + TYPE_SEPARATOR, _content(entry)))


def parse_entry(line: bytes) -> JournalEntry:
    """Read a line, whose hash must be that of its content.

    Raises:
        LedgerError: anything else; says what does not fit.
    """
    found = _object(line)
    sequence, previous = found["sequence"], found["previous"]
    if not _is_count(sequence, 1) or not is_sha256(previous):
        raise LedgerError("expected a sequence number and a previous hash, found something else")
    try:
        entry = next_entry(
            Mark(sequence=sequence - 1, hash=previous),
            time=datetime.strptime(found["time"], _TIME).replace(tzinfo=UTC),
            event=Event(found["event"]),
            actor=found["actor"],
            details=found["details"],
        )
    except UsageError as error:
        raise LedgerError(str(error)) from None
    except (ValueError, TypeError, AttributeError):  # their messages repeat what was found
        raise LedgerError("expected a time, an event and details, found something else") from None
    _check_bytes(line, entry.line, found["hash"], entry.hash)
    return entry


def next_mark(end: Mark, entry: JournalEntry) -> Mark:
    """Accept `entry` if it is the one after `end`, and return where the log stands then.

    Raises:
        LedgerError: entries were removed, added or swapped.
    """
    if entry.sequence != end.sequence + 1:
        raise LedgerError(f"expected entry {end.sequence + 1}, found entry {entry.sequence}")
    if entry.previous != end.hash:
        raise LedgerError(
            f"expected an entry after the one with hash {end.hash}, found one after "
            f"{entry.previous}"
        )
    return entry.mark


def _content(entry: JournalEntry) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "sequence": entry.sequence,
        "time": entry.time.strftime(_TIME),
        "event": entry.event.value,
        "actor": entry.actor,
        "details": dict(entry.details),
        "previous": entry.previous,
    }


def _object(line: bytes) -> dict[str, Any]:
    if len(line) >= MAX_LINE:
        raise LedgerError(f"expected an entry of at most {MAX_LINE} bytes, found a longer line")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or set(found) != _ENTRY_FIELDS or found["format"] != FORMAT:
        raise LedgerError(f"expected an entry of format {FORMAT}, found something else")
    return found


def _check_bytes(line: bytes, expected: bytes, found: object, digest: str) -> None:
    if line == expected:
        return
    if found != digest:
        shown = found if is_sha256(found) else "something else"
        raise LedgerError(f"expected the hash {digest} of its content, found {shown}")
    raise LedgerError("expected canonical JSON, found other bytes with the same content")


def _is_count(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value <= MAX_EXACT_INT

"""The permitted content of an institution's log: a closed set of events and of short details.

The sets are closed so that no record's value can get in by way of a new key, and messages
here never repeat what was found: it may be what must not be written down.
"""

import math
from collections.abc import Mapping
from enum import Enum
from typing import Final

from fieldfare.shared.canonical import MAX_EXACT_INT
from fieldfare.shared.errors import UsageError

Value = str | int | float | bool

MAX_TEXT: Final = 256  # characters
MAX_SENTENCE: Final = 500  # characters: what a person types, and a rule in words
MAX_LINE: Final = 32 * 1024  # bytes of a line: every text at its limit, in UTF-8, escaped

SENTENCES: Final = frozenset({"reason", "rule"})
TEXTS: Final = frozenset(
    {
        "code",
        "fingerprint",
        "head",
        "institution",
        "kind",
        "request",
        "run",
        "study",
        "user",
    }
)
COUNTS: Final = frozenset({"attempt", "cumulative", "debit", "step"})
TERMS: Final = frozenset({"asked", "limit", "version"})  # texts, numbers or truth values


class Event(Enum):
    """Everything that is written down."""

    REQUEST = "request"
    REFUSAL = "refusal"
    RELEASE = "release"
    APPROVAL = "approval"
    REJECTION = "rejection"
    WITHDRAWAL = "withdrawal"
    ROSTER = "roster"
    KEY = "key"
    LEDGER = "ledger"
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
    REPAIR = "repair"  # the log itself moved an incomplete line aside


def check_actor(actor: object) -> None:
    """Refuse anything but 1 to 256 printable characters.

    Raises:
        UsageError: says what was expected, never what was found.
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
        UsageError: says what was expected, never what was found.
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

"""A preflight: a list of looks, each of which passes, warns, fails or is skipped, with a remedy.

A look returns what it saw, or raises what is wrong: errors of this project say what was
expected, what was found and what to do. A look at something that rests on another one that
failed is skipped, so that one mistake is said once.
"""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from fieldfare.shared.errors import FieldfareError

WIDTH: Final = 80
TOPIC: Final = 12
INDENT: Final = TOPIC + 7
LONGEST: Final = 600  # characters of what is shown of one finding

T = TypeVar("T")


class Outcome(Enum):
    """How a look ended; the value is what the screen says."""

    PASS = "pass"  # noqa: S105 -- no password
    WARN = "warn"
    FAIL = "FAIL"
    SKIP = "skip"


@dataclass(frozen=True)
class Seen:
    """What a look saw that neither passes nor fails by itself."""

    outcome: Outcome
    text: str


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        topic: what it is at, in a word.
        act: returns what it saw; raises FieldfareError or OSError where something is wrong.
        remedy: what to do then, beyond what the error says; may be empty.
    """

    topic: str
    act: Callable[[], str | Seen]
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of a look."""

    topic: str
    outcome: Outcome
    text: str
    remedy: str


class MissingError(Exception):
    """What a look rests on could not be had; an earlier look said why."""


class Part(Generic[T]):
    """Something that several looks rest on, made once."""

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        """Take down how it is made; `name` is what a skipped look says."""
        self._name = name
        self._make = make
        self._made: list[T] = []

    def get(self) -> T:
        """Return it, for the look that is at itself.

        Raises:
            FieldfareError, OSError: it cannot be made.
        """
        if not self._made:
            self._made.append(self._make())
        return self._made[0]

    def need(self) -> T:
        """Return it, for a look that rests on it.

        Raises:
            MissingError: it cannot be made.
        """
        try:
            return self.get()
        except (FieldfareError, OSError):
            raise MissingError(self._name) from None


def findings(looks: Iterable[Look]) -> Iterator[Finding]:
    """Look at everything in order."""
    for look in looks:
        seen = _seen(look)
        wrong = seen.outcome in {Outcome.FAIL, Outcome.WARN}
        yield Finding(look.topic, seen.outcome, seen.text, look.remedy if wrong else "")


def _seen(look: Look) -> Seen:
    try:
        seen = look.act()
    except MissingError as missing:
        return Seen(Outcome.SKIP, f"needs {missing}, which failed above")
    except FieldfareError as error:
        return Seen(Outcome.FAIL, str(error))
    except OSError as error:
        return Seen(Outcome.FAIL, f"{error.filename or 'system'}: {error.strerror or error}")
    return seen if isinstance(seen, Seen) else Seen(Outcome.PASS, seen)


def finding_lines(found: Finding) -> Iterator[str]:
    """Yield a finding for a terminal, at most 80 columns wide."""
    head = f"{found.outcome.value:<6}{found.topic:<{TOPIC}} "
    for line in _wrapped(found.text):
        yield f"{head}{line}"
        head = " " * INDENT
    for index, line in enumerate(_wrapped(found.remedy) if found.remedy else []):
        yield f"{'    to do:' if not index else '':<{INDENT}}{line}"


def _wrapped(text: str) -> list[str]:
    """Fold a text; what others wrote moves no cursor."""
    shown = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in shown.split("\n")]
    width = WIDTH - INDENT
    return [
        part for line in lines for part in textwrap.wrap(line, width, break_on_hyphens=False)
    ] or [""]


def findings_json(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings for programs."""
    return [
        {
            "topic": one.topic,
            "outcome": one.outcome.value.lower(),
            "found": one.text,
            "remedy": one.remedy,
        }
        for one in found
    ]

"""Texts on a terminal: strangers' words made plain, lists, bars, lengths of time.

Where a stranger wrote what is not printable, a terminal shows a space, for it may have no other
sign; a page shows U+FFFD (`pages/words.py`).
"""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

NARROW: Final = 80  # columns that every terminal has
MOST_CHARACTERS: Final = 2000  # a purpose is shown whole: what is cut off is not approved
SHORT: Final = 12  # digits of an id that are shown
UTC_TEXT: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} UTC$"  # of `utc_text`
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def one_line(text: str) -> str:
    """Return a foreign text on one line: nothing of it moves the cursor or sets colours.

    A space stands for what is not printable (Unicode's categories C and Z): control characters,
    marks of direction, joiners, separators of lines and paragraphs, half of a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in text)


def plain_lines(text: str) -> str:
    """Return a text whose lines and tabs are ours; the rest of it is as `one_line` makes it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in text)


def ascii_line(text: str) -> str:
    """Return a foreign text as one line of printable ASCII, for logs, with single spaces."""
    return " ".join("".join(c if c.isascii() and c.isprintable() else " " for c in text).split())


def cut(text: str, most: int) -> str:
    """Return a text of at most `most` characters; dots stand for the part that was cut off."""
    return text if len(text) <= most else text[: most - 3] + "..."


def cut_before(text: str, most: int) -> str:
    """Return the end of a text, at most `most` characters; dots stand for what was cut off."""
    return text if len(text) <= most else "..." + text[3 - most :]


def plain(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a foreign text on one line, cut, without control characters."""
    return cut(one_line(text[: most + 1]), most)


def utc_text(moment: datetime) -> str:
    """Return a moment that has a time zone, to the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def listed(names: Sequence[str], most: int) -> str:
    """Return the first names and how many more there are: `a, b and 3 more`."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: 1 attempt, 2 attempts; `many` where no s is added."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def folded(head: str, text: str, width: int = NARROW) -> list[str]:
    """Return the lines of a text beside its head; a stranger's text moves no cursor."""
    lines = [
        part
        for line in text.split("\n")
        for part in textwrap.wrap(one_line(line), width - len(head), break_on_hyphens=False)
    ] or [""]
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]


def bar(filled: int, width: int, rest: str = "-") -> str:
    """Return a bar of `width` signs, so many of them filled."""
    return f"[{'#' * filled}{rest * (width - filled)}]"


def elapsed(span: timedelta, *, least: int = 1, day: str = "d") -> str:
    """Say a length of time by its largest unit of which there are `least`.

    A clock that went back shows as 0 s.
    """
    seconds = max(int(span.total_seconds()), 0)
    for size, name in ((_DAY, day), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= least * size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def short(value: float | None) -> str:
    """Write a parameter with at most four digits; a dash where there is none."""
    return "-" if value is None else f"{value:.4g}"


def ago(span: timedelta) -> str:
    """Say how long ago something was, in its largest unit."""
    return f"{elapsed(span)} ago"


def duration(seconds: float) -> str:
    """Say how long something takes, to about two digits."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"

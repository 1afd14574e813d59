"""What a person is told, topic by topic: one value for a screen, a page and a desk's answer."""

from enum import StrEnum
from typing import Final

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_CLOSED: Final = ConfigDict(extra="forbid", strict=True)


class Tone(StrEnum):
    """How a text stands out."""

    PLAIN = ""
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, config=_CLOSED)
class StyledText:
    """A text in one tone."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[StyledText, ...]


@dataclass(frozen=True, config=_CLOSED)
class ReviewTopic:
    """One topic: its lines, and the rows of its table."""

    name: str
    lines: tuple[Line, ...] = ()
    rows: tuple[Line, ...] = ()

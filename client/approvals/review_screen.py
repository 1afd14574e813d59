"""A review as one screen, in plain words.

What a study says is text of somebody else's: nothing of it moves the cursor or sets colours.
"""

from collections.abc import Iterator
from textwrap import wrap
from typing import Final

from rich.console import RenderableType
from rich.text import Text

from fieldfare.client.approvals.review import Review
from fieldfare.client.approvals.review_words import SUM_TITLES, review_topics
from fieldfare.shared.desk.topics import Line, StyledText, Tone
from fieldfare.shared.terminal.screen import BAD, GOOD, PlainConsole, facts, table

_STYLES: Final = {Tone.PLAIN: "", Tone.GOOD: GOOD, Tone.BAD: BAD}
_TITLE: Final = 12  # characters of a title's line: all columns fit a terminal of 80


def show_review(review: Review, to: PlainConsole) -> None:
    """Print a review."""
    to.print(facts(_rows(review)))


def _rows(review: Review) -> Iterator[tuple[str, RenderableType]]:
    titles = ["\n".join(wrap(title, _TITLE)) for title in SUM_TITLES]
    first, *numbers = titles
    for topic in review_topics(review):
        if topic.rows:
            rows = [[_text(cell) for cell in row] for row in topic.rows]
            yield topic.name, table(titles, rows, numbers=numbers, whole=(first,))
        else:
            yield topic.name, Text("\n").join(map(_line, topic.lines))


def _line(line: Line) -> Text:
    return Text.assemble(*map(_text, line))


def _text(one: StyledText) -> Text:
    return Text(one.text, style=_STYLES[one.tone])

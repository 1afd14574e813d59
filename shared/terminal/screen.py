"""Screens of commands: a console, colours, tables, and facts under their topics."""

from collections.abc import Collection, Iterable, Sequence
from typing import IO, Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from fieldfare.shared.terminal.streams import PlainStream
from fieldfare.shared.terminal.texts import plain, plain_lines

WIDTH: Final = 100  # where the terminal's is not known
GAP: Final = 2  # columns between two columns
GOOD: Final = "green"
BAD: Final = "bold red"


class PlainConsole(Console):
    """A console whose colours are ours: no text on it is markup, moves a cursor or sets a style."""

    def __init__(self, **settings: Any) -> None:
        """Take the settings of rich's own console."""
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    @property
    def file(self) -> IO[str]:
        """The stream that is written to: past `PlainStream`, for what is written is plain."""
        found = super().file
        while isinstance(found, PlainStream):
            found = found.under
        return found

    @file.setter
    def file(self, new_file: IO[str]) -> None:
        self._file = new_file

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Give the pieces of what is shown: texts are plain, and styles are as they were."""
        for piece in super().render(renderable, options):
            if piece.control or piece.text.isprintable():
                yield piece
            else:
                yield Segment(plain_lines(piece.text), piece.style)


def console(width: int = WIDTH) -> PlainConsole:
    """Return a console on the standard output, `width` columns wide where it is no terminal."""
    found = PlainConsole()
    return found if found.is_terminal else PlainConsole(width=width)


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str | Text]] = (),
    *,
    numbers: Collection[str] = (),
    whole: Collection[str] = (),
    gap: int = GAP,
) -> Table:
    """Return a table without lines; a text in a cell is made plain.

    Args:
        titles: of its columns.
        rows: a cell for each column.
        numbers: titles of columns that stand to the right.
        whole: titles of columns that are never folded; those of numbers are not either.
        gap: between two columns.
    """
    found = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for title in titles:
        found.add_column(
            title,
            justify="right" if title in numbers else "left",
            no_wrap=title in numbers or title in whole,
            overflow="ellipsis" if title in numbers or title in whole else "fold",
        )
    for row in rows:
        add_row(found, *row)
    return found


def add_row(to: Table, *cells: str | Text, style: str = "") -> None:
    """Add a row to a table; a text in a cell is made plain."""
    to.add_row(*map(_cell, cells), style=style)


def facts(rows: Iterable[tuple[str, RenderableType]], head: str = "bold") -> Table:
    """Return rows of a topic, styled as `head`, and its text; texts are made plain."""
    found = Table.grid(padding=(0, GAP))
    found.add_column(style=head, no_wrap=True)
    found.add_column(overflow="fold")
    for topic, said in rows:
        found.add_row(Text(topic), _cell(said))
    return found


def _cell(said: RenderableType) -> RenderableType:
    return Text(plain(said)) if isinstance(said, str) else said

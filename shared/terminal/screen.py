"""Screens of commands: a console, colours, tables, and facts under their topics."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from fieldfare.shared.terminal.streams import PlainConsole
from fieldfare.shared.terminal.texts import plain

WIDTH: Final = 100  # where the terminal's is not known
GAP: Final = 2  # columns between two columns
GOOD: Final = "green"
BAD: Final = "bold red"


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

"""The streams that commands write to: whatever is written there, a stranger's text stays text.

Everything that a command writes goes through one of two: `PlainStream`, in place of the standard
output and the standard error, on which no sign moves a cursor, sets a colour or turns the direction
of reading; and `PlainConsole`, whose tables and colours are our own, and whose texts are as plain.
A call that forgets to make a text plain is thus still safe; whole lines are ours to keep apart
(`texts.one_line`).
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from fieldfare.shared.terminal.texts import plain_lines


class PlainStream:
    """A text stream to which only signs that can be seen, tabs and ends of lines pass.

    It has no `buffer`: nothing writes bytes past it.
    """

    def __init__(self, under: IO[str]) -> None:
        """Write to `under`."""
        self.under = under

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream below has, but for its bytes."""
        if name == "buffer":
            raise AttributeError(name)
        return getattr(self.under, name)

    def write(self, text: str) -> int:
        """Write a text as it can be read; returns the number of signs that were given."""
        self.under.write(plain_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, one after the other."""
        for line in lines:
            self.write(line)


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


@contextmanager
def plain_streams() -> Iterator[None]:
    """Let what is written to stdout and stderr be plain, while the block lasts."""
    before = sys.stdout, sys.stderr
    make_streams_plain()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def make_streams_plain() -> None:
    """Let what is written to stdout and stderr be plain from here on, tracebacks too."""
    sys.stdout, sys.stderr = _plain(sys.stdout), _plain(sys.stderr)


def _plain(stream: TextIO) -> TextIO:
    if stream is None or isinstance(stream, PlainStream):  # none: a process without it
        return stream
    return cast("TextIO", PlainStream(stream))

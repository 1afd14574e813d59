"""The streams that commands write to: whatever is written there, a stranger's text stays text.

Everything that a command writes goes through one of two: `PlainStream`, in place of the standard
output and the standard error, on which no sign moves a cursor, sets a colour or turns the direction
of reading; and `screen.PlainConsole`, whose tables and colours are our own, its texts as plain.
A call that forgets to make a text plain is thus still safe; whole lines are ours to keep apart
(`texts.one_line`).
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any, TextIO, cast

from fieldfare.shared.errors import UsageError
from fieldfare.shared.terminal.texts import plain_lines


class PlainStream:
    """A text stream to which only signs that can be seen, tabs and ends of lines pass.

    Attributes:
        under: what is written to.
        buffer: for bytes, which are not written past it.
    """

    def __init__(self, under: IO[str]) -> None:
        """Write to `under`."""
        self.under = under
        self.buffer = PlainBytes(under)

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream below has."""
        return getattr(self.under, name)

    def write(self, text: str) -> int:
        """Write a text as it can be read; returns the number of signs that were given."""
        self.under.write(plain_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, one after the other."""
        for line in lines:
            self.write(line)


class PlainBytes:
    """What takes the bytes of a whole file, for programs, and hands them on as they are."""

    def __init__(self, under: IO[str]) -> None:
        """Write to `under`."""
        self.flush = under.flush
        self._under = under

    def write(self, content: bytes) -> int:
        """Write bytes; returns their number.

        Raises:
            UsageError: signs that are not seen: without them it would be another file.
        """
        text = content.decode(errors="surrogateescape")
        if plain_lines(text) != text:
            raise UsageError(
                "expected signs that can be seen in what goes to the standard output, found "
                "others: take them out of its texts, for nobody sees what they do there"
            )
        self._under.write(text)
        return len(content)


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


def write_binary(content: bytes) -> None:
    """Write bytes to a standard output that is not a terminal."""
    stream: Any = sys.stdout
    while isinstance(stream, PlainStream):
        stream = stream.under
    stream.flush()
    stream.buffer.write(content)
    stream.buffer.flush()


def _plain(stream: Any) -> TextIO:
    if stream is None or isinstance(stream, PlainStream):  # none: a process without it
        return cast("TextIO", stream)
    return cast("TextIO", PlainStream(stream))

"""Lines of a CSV file, each judged by itself: what one line holds decides about no other line.

A quoted text ends with its line. What goes on to the engine are whole rows alone: UTF-8, as many
fields as the header, quotes as RFC 4180, section 2, has them; every other line is left out and
counted. So no quote of one record can take another one with it, and an engine that reads the rest
never meets a form that it reads in a way of its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.records.encoding.problems import SHOWN

MOST_LINE: Final = 1_990_000  # bytes; the engine takes rows of at most 2,000,000
_FEED, _QUOTE, _RETURN = b'\n"\r'
_MARK_START: Final = 0xEF  # of a byte order mark: the engine drops it, of its first row alone
_SWAPPED: Final = bytes.maketrans(b"\r\n", b"\n\r")

Mask = NDArray[np.bool_]
Places = NDArray[np.intp]


class LineFault(Enum):
    """Why a line is no row."""

    FIELDS = (
        "expected as many fields as the header in every row, found another number at line {line}; "
        "check separators and quotes there"
    )
    QUOTES = (
        "expected fields whose quotes end, found another form at line {line}; write a quote inside "
        "a field twice, and texts with line breaks to Parquet: a text ends with its line here"
    )
    BYTES = (
        "expected {encoding} text, found other bytes at line {line}; declare the encoding that the "
        "file has, or write it again"
    )
    LENGTH = (
        "expected rows of at most 1,990,000 bytes, found a longer one at line {line}; shorten the "
        "texts there"
    )
    RETURN = (
        "expected lines that end as the header does, found a line break of another kind inside "
        "line {line}; take it out, or write the texts to Parquet"
    )


@dataclass
class LineFaults:
    """Lines that are no rows: how many, numbers of the first ones, and the first one's fault."""

    count: int = 0
    first: list[int] = field(default_factory=list)
    fault: LineFault | None = None

    def add(self, line: int, fault: LineFault) -> None:
        """Note one; they come in order."""
        self.count += 1
        self.fault = self.fault or fault
        if len(self.first) < SHOWN:
            self.first.append(line)


class CsvLines:
    """Takes a file's bytes block by block and gives the rows in them, for the engine to read.

    Attributes:
        left_out: lines that are no rows.
        read: lines so far.
    """

    def __init__(self, separator: str, fields: int, skipped: int, *, returns: bool = False) -> None:
        """Begin.

        Args:
            separator: one character.
            fields: of the header.
            skipped: lines at the top that are no rows; the header too.
            returns: lines end with a carriage return alone, as the header's does.
        """
        self.left_out = LineFaults()
        self._separator, self._fields, self._skipped = separator.encode(), fields, skipped
        self._returns, self.read = returns, 0
        self._held, self._too_long = b"", False

    def rows(self, block: bytes) -> bytes:
        """Return the rows that end in this block, which is UTF-8 but for lines to be left out."""
        content = self._held + (block.translate(_SWAPPED) if self._returns else block)
        cut = content.rfind(b"\n") + 1
        whole, self._held = content[:cut], content[cut:]
        if cut and self._too_long:
            cut = whole.index(b"\n") + 1
            self._note(self.read, LineFault.LENGTH)
            whole, self.read, self._too_long = whole[cut:], self.read + 1, False
        if len(self._held) > MOST_LINE:
            self._held, self._too_long = b"", True
        return self._rows_in(whole) if whole else b""

    def end(self) -> bytes:
        """Return the last row, where no line end follows it."""
        return self.rows(b"\r" if self._returns else b"\n") if self._held or self._too_long else b""

    def _note(self, line: int, fault: LineFault) -> None:
        if line >= self._skipped:
            self.left_out.add(line + 1, fault)

    def _rows_in(self, content: bytes) -> bytes:
        """Return the rows in whole lines."""
        if b"\r" in content:
            content = content.replace(b"\r\n", b"\n")
        lines = _WholeLines(content, self._separator)
        plain = lines.plain(self._fields)
        plain[: max(0, self._skipped - self.read)] = False
        rows = content if plain.all() else b"".join(self._rest(lines, plain))
        self.read += len(plain)
        return rows

    def _rest(self, lines: "_WholeLines", plain: Mask) -> Iterator[bytes]:
        """Yield the plain lines as they are, and what can be read of the others in a plain form."""
        done = 0
        for index in np.flatnonzero(~plain).tolist():
            start, stop = int(lines.starts[index]), int(lines.ends[index])
            yield lines.content[done:start]
            done = stop + 1
            line = lines.content[start:stop]
            if self.read + index < self._skipped or not line:
                continue  # an empty line is nobody's
            found = plain_row(line, self._separator, self._fields)
            if isinstance(found, LineFault):
                self._note(self.read + index, found)
            else:
                yield found
        yield lines.content[done:]


class _WholeLines:
    """Whole lines, and where in them quotes and separators are."""

    def __init__(self, content: bytes, separator: bytes) -> None:
        self.content, self._separator = content, separator
        self._bytes = np.frombuffer(content, np.uint8)
        self.ends = self._where(_FEED)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])
        self._quotes = self._where(_QUOTE)
        self._quotes_before = np.searchsorted(self._quotes, self.starts)

    def _where(self, sign: int) -> Places:
        return np.flatnonzero(self._bytes == sign)

    def plain(self, fields: int) -> Mask:
        """Return which lines are rows as the engine takes them; the others need a closer look."""
        lengths = self.ends - self.starts
        plain: Mask = (lengths > (0 if fields > 1 else -1)) & (lengths <= MOST_LINE)
        if len(self._separator) > 1:
            return np.zeros_like(plain)
        plain &= self._bytes[self.starts] != _MARK_START
        plain &= self._well_quoted()
        plain[self._line_of(self._where(_RETURN))] = False
        cuts = np.bincount(self._line_of(self._separators()), minlength=len(plain))
        plain &= cuts + 1 == fields
        return plain & self._text()

    def _line_of(self, places: Places) -> Places:
        return np.searchsorted(self.ends, places)

    def _rank(self, places: Places) -> Places:
        """Return how many quotes of its own line stand before each place."""
        return np.searchsorted(self._quotes, places) - self._quotes_before[self._line_of(places)]

    def _separators(self) -> Places:
        """Return where separators stand outside of quotes, in lines that are well quoted."""
        places = self._where(self._separator[0])
        return places[self._rank(places) % 2 == 0] if len(self._quotes) else places

    def _well_quoted(self) -> Mask:
        """Return the lines whose every quote begins or ends a field, or stands beside another."""
        well = np.ones(len(self.ends), np.bool_)
        quotes = self._quotes
        if not len(quotes):
            return well
        opens = self._rank(quotes) % 2 == 0
        line, separator = self._line_of(quotes), self._separator[0]
        before, after = self._bytes[quotes - 1], self._bytes[quotes + 1]
        begins = (quotes == self.starts[line]) | (before == separator) | (before == _QUOTE)
        ends = (after == separator) | (after == _FEED) | (after == _QUOTE)
        well[line[~np.where(opens, begins, ends)]] = False
        well &= np.bincount(line, minlength=len(well)) % 2 == 0
        return well

    def _text(self) -> Mask:
        """Return the lines that are UTF-8."""
        if _is_text(self.content):
            return np.ones(len(self.ends), np.bool_)
        lines = self.content.split(b"\n")[:-1]
        return np.fromiter(map(_is_text, lines), np.bool_, len(lines))


def plain_row(line: bytes, separator: bytes, fields: int) -> bytes | LineFault:
    """Return a line's fields, each in quotes, or why it is no row.

    A field that begins with a quote, spaces aside, ends with one; in another field a quote is a
    sign like any other. A separator at the end of the line makes no further field.
    """
    if len(line) > MOST_LINE:
        return LineFault.LENGTH
    try:
        found = _fields_in(line.decode(), separator.decode())
    except UnicodeDecodeError:
        return LineFault.BYTES
    if found is None or b"\r" in line:
        return LineFault.RETURN if b"\r" in line else LineFault.QUOTES
    if len(found) == fields + 1 and not found[-1]:
        found.pop()
    if len(found) != fields:
        return LineFault.FIELDS
    row = separator.join(b'"%b"' % one.replace('"', '""').encode() for one in found)
    return row + b"\n" if len(row) <= MOST_LINE else LineFault.LENGTH


def _fields_in(line: str, separator: str) -> list[str] | None:
    """Return a line's fields; None where a quoted text does not end, or not with its field."""
    form, found, at = _form_of(separator), list[str](), 0
    while one := form.match(line, at):
        quoted, bare = one.groups()
        found.append(bare if quoted is None else quoted.replace('""', '"'))
        if one.end() == len(line):
            return found
        at = one.end() + 1
    return None


@cache
def _form_of(separator: str) -> re.Pattern[str]:
    """Return the form of one field; no sign of it is looked at twice."""
    sign, space = re.escape(separator), "" if separator == " " else " *+"
    quoted = rf'{space}"((?:[^"]++|"")*+)"{space}'
    return re.compile(rf'(?:{quoted}|(?!{space}")([^{sign}]*+))(?={sign}|\Z)')


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True

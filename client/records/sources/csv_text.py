"""CSV as banks export it: any encoding, any usual separator.

Every field is text, and the separator comes from the header line alone (or is declared), so
how one row is read never depends on another row (docs/design.md, "The unit"). A file
passes through a pipe on its way, which lets whole rows pass alone: it is never copied to a disk.
"""

import codecs
import csv
import fcntl
import gzip
import os
import re
import select
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Final

from fieldfare.client.records.sources.csv_lines import MOST_LINE, CsvLines, LineFaults
from fieldfare.client.records.sources.engine import Feed, Source, UnreadLines, connect, different
from fieldfare.client.records.sources.mapping import UTF8, ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, literal
from fieldfare.shared.errors import RecordsError

MAX_HEADER_CHARACTERS: Final = 1_000_000
SEPARATORS: Final = (",", "\t", ";", "|")
BLOCK: Final = 1 << 20  # bytes read at once, and asked for as the pipe's size
_WAIT_MS: Final = 50  # how soon an abandoned pipe is noticed
MOST_UNREAD: Final = 10_000  # notes of lines that are no rows, some for each: they take memory
_MARK: Final = "\udcff"  # becomes a byte that is no UTF-8: its line is left out
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MARKING: Final = "fieldfare.unreadable"  # a way to handle bytes that are no text
_SEPARATOR_LINE: Final = re.compile(r"sep=([,\t;|])")  # as spreadsheets write and read it
# PKWARE's APPNOTE, section 4.3.7 (.xlsx, .ods), and [MS-CFB], section 2.2 (.xls)
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")

codecs.register_error(_MARKING, lambda error: (_MARK, getattr(error, "end", 0)))


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written, by its header alone.

    Attributes:
        skipped: lines before the header.
        separator: one character.
        names: of the columns.
        returns: its lines end with a carriage return alone.
    """

    skipped: int
    separator: str
    names: tuple[str, ...]
    returns: bool = False


def csv_form(
    path: Path, declared: ColumnMapping | None = None, *, repeats: bool = False
) -> CsvForm:
    """Return the form of a CSV file; its header, the first line with text, alone decides it.

    Args:
        path: the file.
        declared: how it is written.
        repeats: a name may stand twice; the second `Account` is then `Account.1`.

    Raises:
        RecordsError: no header, not in the declared encoding, or a name that stands twice.
    """
    declared = declared or ColumnMapping()
    skipped, said, line = _header(path, declared.encoding)
    bare = re.sub(r'"[^"]*"', "", line)
    # The first of equals: a comma.
    separator = declared.separator or said or max(SEPARATORS, key=bare.count)
    try:
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # a name without an end
        names = []
    if not any(names):
        raise RecordsError(f"{path}: expected a header row with column names, found none")
    names = [name or f"unnamed_{index}" for index, name in enumerate(names, start=1)]
    if repeats:
        names = [
            f"{name}.{names[:i].count(name)}" if name in names[:i] else name
            for i, name in enumerate(names)
        ]
    different(str(path), names)
    return CsvForm(skipped, separator, tuple(names), returns=line.endswith("\r"))


def _header(path: Path, encoding: str) -> tuple[int, str, str]:
    """Return how many lines stand before the header, the separator that one says, the header."""
    wrong = RecordsError(
        f"{path}: expected {encoding.upper()} text (or such text compressed by gzip); convert the "
        "file, or declare its encoding in the mapping"
    )
    try:
        # What is read ahead of its end are rows: no byte of theirs decides about the header.
        content = opened(path)
        with TextIOWrapper(content, encoding=encoding, errors=_MARKING, newline="") as stream:
            if content.peek(8).startswith(_WORKBOOKS):
                raise RecordsError(
                    f"{path}: expected text, found a workbook or an archive: save its sheet as CSV "
                    "in UTF-8, or unpack it"
                )
            skipped, line = 0, stream.readline(MAX_HEADER_CHARACTERS).removeprefix("\ufeff")
            while line and not line.strip():
                skipped, line = skipped + 1, stream.readline(MAX_HEADER_CHARACTERS)
            said = _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n"))
            if said:
                skipped, line = skipped + 1, stream.readline(MAX_HEADER_CHARACTERS)
    except (OSError, EOFError, UnicodeError, zlib.error):
        raise wrong from None
    if (
        _MARK in line or "\0" in line
    ):  # UTF-16 without its mark reads as UTF-8, every second character a zero
        raise wrong
    return skipped, said[1] if said else "", line


def opened(path: Path) -> gzip.GzipFile | BufferedReader:
    """Open a file for its bytes, decompressed where its name ends in `.gz`."""
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile(path, "rb")
    return path.open("rb")


def _scan(path: str, form: CsvForm, *, lenient: bool) -> str:
    passes = f", ignore_errors=true, store_rejects=true, rejects_limit={MOST_UNREAD}"
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in form.names)
    return (
        f"read_csv({literal(path)}, auto_detect=false, header=false, strict_mode=true, "
        f"delim={literal(form.separator)}, quote='\"', escape='\"', null_padding=false, "
        # On several threads the engine may lose good rows behind a line that is none.
        f"parallel=false, compression='none', columns={{{columns}}}{passes * lenient})"
    )


class RowsPipe:
    """A file's rows as UTF-8 at the end of a pipe, filled by a thread of its own."""

    def __init__(self, path: Path, form: CsvForm, encoding: str) -> None:
        """Start to read."""
        self._path, self._encoding = path, encoding
        self._ended = threading.Event()
        self._problem: RecordsError | None = None
        self._lines = CsvLines(
            form.separator, len(form.names), form.skipped + 1, returns=form.returns
        )
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self._read, True)
        # Many pipes may be open already: this one then keeps its usual size.
        with suppress(PermissionError):
            fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, BLOCK)
        self._thread = threading.Thread(target=self._pour, daemon=True)
        self._thread.start()

    @property
    def path(self) -> str:
        """Where this process can read the text, once."""
        return f"/proc/self/fd/{self._read}"

    @property
    def left_out(self) -> LineFaults:
        """The lines that were no rows so far."""
        return self._lines.left_out

    def finish(self) -> RecordsError | None:
        """End the thread, at the end or before it; returns why there are no more rows, if so."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            os.close(self._read)
        return self._problem

    def _pour(self) -> None:
        done = False
        try:
            with suppress(OSError, EOFError, UnicodeError, zlib.error):
                self._send_all()
                done = True
        finally:
            if not done:  # whatever it was: rows never end without a word
                self._problem = RecordsError(
                    f"{self._path}: expected a whole file, found a damaged one or a part of one "
                    f"after line {self._lines.read}; fetch it again"
                )
            os.close(self._write)

    def _send_all(self) -> None:
        for block in self._blocks():
            self._send(self._lines.rows(block))
            if self._ended.is_set():
                return
        self._send(self._lines.end())

    def _blocks(self) -> Iterator[bytes]:
        with opened(self._path) as stream:
            blocks = iter(partial(stream.read, BLOCK), b"")
            yield from blocks if self._encoding == UTF8 else decoded(blocks, self._encoding)

    def _send(self, content: bytes) -> None:
        """Write to the pipe until all is in it, or nobody wants it any more."""
        room = select.poll()
        room.register(self._write, select.POLLOUT)
        view = memoryview(content)
        while view and not self._ended.is_set():
            if room.poll(_WAIT_MS):
                view = view[_written(self._write, view) :]


def _written(descriptor: int, content: memoryview) -> int:
    try:
        return os.write(descriptor, content)
    except BlockingIOError:  # less room than one atomic write needs
        return 0


def decoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """Yield text in another encoding as UTF-8; what is not text becomes bytes that are none.

    Line by line where a line's end is one byte: of some encodings (ISO-2022, HZ) a text that
    does not go back to Latin letters would change the next line's.
    """
    if "\n".encode(encoding) != b"\n":
        decoder = codecs.getincrementaldecoder(encoding)(_MARKING)
        for block in blocks:
            yield _utf8(decoder.decode(block))
        yield _utf8(decoder.decode(b"", final=True))
        return
    held = b""
    for block in blocks:
        *lines, held = (held + block).split(b"\n")
        if lines:
            yield b"".join(_utf8_line(line, encoding) + b"\n" for line in lines)
        if len(held) > MOST_LINE:
            yield _utf8_line(held, encoding)
            held = b""
    yield _utf8_line(held, encoding)


def _utf8_line(line: bytes, encoding: str) -> bytes:
    text = line.decode(encoding, _MARKING)
    return _utf8(text.replace("\n", _MARK) if "\n" in text else text)


def _utf8(text: str) -> bytes:
    """Return UTF-8; halves of characters, which some encodings can write, become the mark."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(_MARK, text).encode("utf-8", "surrogateescape")


@contextmanager
def open_csv(path: Path, declared: ColumnMapping, *, repeats: bool = False) -> Iterator[Source]:
    """Open a CSV file (also `.gz`) as it is declared to be written; `repeats` as in `csv_form`.

    *Formal Guarantees.* How a line is read, and whether it is a row, depends on that line and on
    the header alone.

    Raises:
        RecordsError: its header cannot be read.
    """
    form = csv_form(path, declared, repeats=repeats)
    columns = dict.fromkeys(form.names, ColumnType.TEXT)
    begin = partial(_rows_feed, path, form, declared.encoding)

    def whole(_: Sequence[str]) -> Feed:
        """Begin a reading that a line which is no row ends."""
        return begin(lenient=False)

    def passing(_: Sequence[str]) -> Feed:
        """Begin a reading that leaves such lines out."""
        return begin(lenient=True)

    yield Source(str(path), columns, whole, declared.numerals, lenient=passing)


def _rows_feed(path: Path, form: CsvForm, encoding: str, *, lenient: bool) -> Feed:
    pipe = RowsPipe(path, form, encoding)
    # The engine looks behind a path when it is allowed: the pipe has to be there first.
    connection = connect(files=[pipe.path])

    def finish() -> RecordsError | None:
        """End the pipe; returns what was wrong with it."""
        problem, left = pipe.finish(), pipe.left_out
        connection.close()
        if problem is None and left.fault is not None and not lenient:
            said = left.fault.value.format(line=left.first[0], encoding=encoding.upper())
            return RecordsError(f"{path}: {said}")
        return problem

    def left_out() -> UnreadLines:
        """Return the lines that were left out, by the engine too."""
        notes = connection.execute("SELECT count(DISTINCT line) FROM reject_errors").fetchall()
        left = pipe.left_out
        return UnreadLines(left.count + int(notes[0][0]), tuple(left.first))

    scan = _scan(pipe.path, form, lenient=lenient)
    return Feed(connection, scan, finish, left_out if lenient else UnreadLines)

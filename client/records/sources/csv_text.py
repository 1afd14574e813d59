"""CSV as banks export it: any encoding, any usual separator, quoted newlines.

Every field is text, and the separator comes from the header line alone (or is declared), so
how one row is read never depends on another row (docs/design.md, "The unit"). A compressed file, or
one in another encoding than UTF-8, passes through a pipe on its way: it is never copied to a disk.
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
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Final

import duckdb

from fieldfare.client.records.encoding.problems import SHOWN
from fieldfare.client.records.sources.engine import Feed, Source, UnreadLines, connect, different
from fieldfare.client.records.sources.mapping import UTF8, ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType, literal
from fieldfare.shared.errors import RecordsError

MAX_HEADER_CHARACTERS: Final = 1_000_000
SEPARATORS: Final = (",", "\t", ";", "|")
BLOCK: Final = 1 << 20  # bytes read at once, and asked for as the pipe's size
_WAIT_MS: Final = 50  # how soon an abandoned pipe is noticed
MOST_UNREAD: Final = 10_000  # notes of lines that are no rows, some for each: they take memory
_MARK: Final = "\udcff"  # becomes a byte that is no UTF-8: the engine passes over its line
_MARKING: Final = "fieldfare.unreadable"  # a way to handle bytes that are no text
_SEPARATOR_LINE: Final = re.compile(r"sep=([,\t;|])")  # as spreadsheets write and read it
# PKWARE's APPNOTE, section 4.3.7 (.xlsx, .ods), and [MS-CFB], section 2.2 (.xls)
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")

codecs.register_error(_MARKING, lambda error: (_MARK, getattr(error, "end", 0)))


@dataclass(frozen=True)
class CsvForm:
    """How a CSV file is written: lines before its header, separator, column names."""

    skipped: int
    separator: str
    names: tuple[str, ...]


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
    return CsvForm(skipped, separator, tuple(names))


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


def _scan(path: str, form: CsvForm, *, lenient: bool, threads: bool = True) -> str:
    passes = f", ignore_errors=true, store_rejects=true, rejects_limit={MOST_UNREAD}"
    # On several threads the engine may lose good rows behind a line that is none, where the part
    # of another thread begins (400 of 1,200 for one such line).
    passes += ", parallel=false" * (not threads)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in form.names)
    return (
        f"read_csv({literal(path)}, auto_detect=false, header=true, strict_mode=true, "
        f"skip={form.skipped}, delim={literal(form.separator)}, quote='\"', escape='\"', "
        f"null_padding=false, compression='none', columns={{{columns}}}{passes * lenient})"
    )


def _passed_over(connection: duckdb.DuckDBPyConnection) -> UnreadLines:
    """Return the lines that a lenient scan could not split into fields, or read as UTF-8."""
    notes = connection.execute("SELECT line FROM reject_errors").fetchall()
    found = sorted({int(line) for (line,) in notes})
    return UnreadLines(len(found), tuple(found[:SHOWN]), len(notes) >= MOST_UNREAD)


def _passed_over_again(path: str, form: CsvForm) -> UnreadLines:
    """Return the same where a last quote does not end: only on several threads it is noted."""
    with connect(files=[path]) as connection:
        scan = _scan(path, form, lenient=True)
        connection.execute(f"SELECT count(COLUMNS(*)) FROM {scan}").fetchall()
        return _passed_over(connection)


def _quotes_end(path: Path) -> bool:
    with path.open("rb") as stream:
        return sum(block.count(b'"') for block in iter(partial(stream.read, BLOCK), b"")) % 2 == 0


def one_ending(path: Path) -> bool:
    """Tell whether all lines of a file end alike, as the engine wants them to."""
    returns, breaks, both, last = 0, 0, 0, b""
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            returns += block.count(b"\r")
            breaks += block.count(b"\n")
            both += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
            last = block[-1:]
    return returns == 0 or breaks == 0 or returns == breaks == both


class _Endings:
    """Lines that all end with a line feed, outside of quotes; quoted text is unchanged.

    A lone carriage return outside of quotes is no row's: its line is marked, and passed over. As to
    the engine, a quote begins a quoted text at the beginning of a field alone: where any did, one
    customer's quote and another's carriage return kept all records from loading.
    """

    def __init__(self, separator: str) -> None:
        self.quoted, self._held = False, ""
        self._opens = frozenset({"", separator, "\n", '"'})
        self._before = ""  # what stands before the next quote; a quote: one that ended a text

    def plain(self, text: str, *, final: bool) -> str:
        """Return a part of a file with one kind of line end."""
        text, self._held = self._held + text, ""
        if text.endswith("\r") and not final:  # a line feed may follow
            text, self._held = text[:-1], "\r"
        parts = text.split('"')
        for index, part in enumerate(parts):
            if index:
                self._pass_quote()
            if part and not self.quoted:
                parts[index] = part.replace("\r\n", "\n").replace("\r", _MARK)
                field = part.rstrip(" ")  # spaces before a quote are no part of a field
                self._before = field[-1] if field else self._before.replace('"', " ")
        return '"'.join(parts)

    def _pass_quote(self) -> None:
        if self.quoted:
            self.quoted, self._before = False, '"'
        elif self._before in self._opens:
            self.quoted = True
        else:
            self._before = " "


class Utf8Pipe:
    """A file's text as UTF-8 at the end of a pipe, filled by a thread of its own."""

    def __init__(
        self, path: Path, encoding: str, *, lenient: bool = False, separator: str = ","
    ) -> None:
        """Start to read; with `lenient`, lines with bytes that are no text are passed over."""
        self._path, self._encoding, self._lenient = path, encoding, lenient
        self._ended = threading.Event()
        self._problem: RecordsError | None = None
        self._endings = _Endings(separator)
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
    def quotes_end(self) -> bool:
        """Whether all that was read so far is no half of a quoted text; of lenient ones."""
        return not self._endings.quoted

    def finish(self) -> RecordsError | None:
        """End the thread, at the end or before it; raises for bytes that it could not decode."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            os.close(self._read)
        return self._problem

    def _pour(self) -> None:
        lines = 0
        try:
            for text in self._texts():
                self._send(text.encode("utf-8", "surrogateescape"))
                lines += text.count("\n")
        except UnicodeError:
            self._problem = RecordsError(
                f"{self._path}: expected {self._encoding.upper()} text, found other bytes after "
                f"line {lines}; declare the encoding that the file has, or write it again"
            )
        except (OSError, EOFError, zlib.error):
            self._problem = RecordsError(
                f"{self._path}: expected a whole file, found a damaged one or a part of one after "
                f"line {lines}; fetch it again"
            )
        finally:
            os.close(self._write)

    def _texts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self._encoding)(
            _MARKING if self._lenient else "strict"
        )
        endings = self._endings
        with opened(self._path) as stream:
            while block := stream.read(BLOCK):
                if self._ended.is_set():
                    return
                text = decoder.decode(block)
                yield endings.plain(text, final=False) if self._lenient else text
        text = decoder.decode(b"", final=True)
        yield endings.plain(text, final=True) if self._lenient else text

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


@contextmanager
def open_csv(path: Path, declared: ColumnMapping, *, repeats: bool = False) -> Iterator[Source]:
    """Open a CSV file (also `.gz`) as it is declared to be written; `repeats` as in `csv_form`.

    Raises:
        RecordsError: its header cannot be read.
    """
    form = csv_form(path, declared, repeats=repeats)
    columns = dict.fromkeys(form.names, ColumnType.TEXT)
    # Compressed files too: the engine takes half of one for the whole (measured).
    piped = declared.encoding != UTF8 or path.suffix.lower() == ".gz"
    with ExitStack() as stack:

        def feed(_: Sequence[str], *, lenient: bool = False) -> Feed:
            """Begin a reading of the file."""
            if piped or (lenient and not one_ending(path)):
                return _decoded(path, form, declared.encoding, lenient=lenient)
            connection = stack.enter_context(connect(files=[str(path)]))
            if not lenient:
                return Feed(connection, _scan(str(path), form, lenient=False))
            unread = partial(_passed_over, connection)
            if not _quotes_end(path):
                unread = partial(_passed_over_again, str(path), form)
            once = _scan(str(path), form, lenient=True, threads=False)
            return Feed(connection, once, unread=unread)

        passing = partial(feed, lenient=True)
        yield Source(str(path), columns, feed, declared.numerals, lenient=passing)


def _decoded(path: Path, form: CsvForm, encoding: str, *, lenient: bool) -> Feed:
    pipe = Utf8Pipe(path, encoding, lenient=lenient, separator=form.separator)
    # The engine looks behind a path when it is allowed: the pipe has to be there first.
    connection = connect(files=[pipe.path])

    def finish() -> RecordsError | None:
        """End the pipe; returns what was wrong with it."""
        problem = pipe.finish()
        connection.close()
        return problem

    def passed_over() -> UnreadLines:
        """Return the lines that a lenient reading passed over."""
        if pipe.quotes_end:
            return _passed_over(connection)
        again = Utf8Pipe(path, encoding, lenient=True, separator=form.separator)
        try:
            return _passed_over_again(again.path, form)
        finally:
            again.finish()

    scan = _scan(pipe.path, form, lenient=lenient, threads=not lenient)
    return Feed(connection, scan, finish, passed_over if lenient else UnreadLines)

"""CSV as banks export it: any encoding, any usual separator, quoted newlines.

Every field is text, and the separator comes from the header line alone (or is declared), so
how one row is read never depends on another row (design section 2, "Unit"). A compressed file, or
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import Final

from fieldfare.client.records.engine import Feed, Source, connect, different
from fieldfare.client.records.mapping import UTF8, ColumnMapping
from fieldfare.client.records.sql import ColumnType, literal
from fieldfare.shared.errors import RecordsError

MAX_HEADER_CHARACTERS: Final = 1_000_000
SEPARATORS: Final = (",", "\t", ";", "|")
BLOCK: Final = 1 << 20  # bytes read at once, and asked for as the pipe's size
_WAIT_MS: Final = 50  # how soon an abandoned pipe is noticed


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
    skipped, line = _header(path, declared.encoding)
    bare = re.sub(r'"[^"]*"', "", line)
    # The first of equals: a comma.
    separator = declared.separator or max(SEPARATORS, key=bare.count)
    try:
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # a name without an end
        names = []
    if not any(names):
        raise RecordsError(f"{path}: a header row with column names expected, none found")
    names = [name or f"unnamed_{index}" for index, name in enumerate(names, start=1)]
    if repeats:
        names = [f"{name}.{names[:i].count(name)}" if name in names[:i] else name
                 for i, name in enumerate(names)]  # fmt: skip
    different(str(path), names)
    return CsvForm(skipped, separator, tuple(names))


def _header(path: Path, encoding: str) -> tuple[int, str]:
    """Return how many blank lines stand before the header, and the header."""
    wrong = RecordsError(
        f"{path}: {encoding.upper()} text (or such text compressed by gzip) expected; convert the "
        "file, or declare its encoding in the mapping"
    )
    try:
        with TextIOWrapper(opened(path), encoding=encoding, newline="") as stream:
            skipped, line = 0, stream.readline(MAX_HEADER_CHARACTERS).removeprefix("\ufeff")
            while line and not line.strip():
                skipped, line = skipped + 1, stream.readline(MAX_HEADER_CHARACTERS)
    except (OSError, EOFError, UnicodeError, zlib.error):
        raise wrong from None
    if "\0" in line:  # UTF-16 without its mark reads as UTF-8, every second character a zero
        raise wrong
    return skipped, line


def opened(path: Path) -> gzip.GzipFile | BufferedReader:
    """Open a file for its bytes, decompressed where its name ends in `.gz`."""
    if path.suffix.lower() == ".gz":
        return gzip.GzipFile(path, "rb")
    return path.open("rb")


def _scan(path: str, form: CsvForm) -> str:
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in form.names)
    return (
        f"read_csv({literal(path)}, auto_detect=false, header=true, strict_mode=true, "
        f"skip={form.skipped}, delim={literal(form.separator)}, quote='\"', escape='\"', "
        f"null_padding=false, compression='none', columns={{{columns}}})"
    )


class Utf8Pipe:
    """A file's text as UTF-8 at the end of a pipe, filled by a thread of its own."""

    def __init__(self, path: Path, encoding: str) -> None:
        """Start to read."""
        self._path, self._encoding = path, encoding
        self._ended = threading.Event()
        self._problem: RecordsError | None = None
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

    def finish(self) -> RecordsError | None:
        """End the thread, read to the end or not, and say what it could not decode."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join()
            os.close(self._read)
        return self._problem

    def _pour(self) -> None:
        lines = 0
        try:
            for text in self._texts():
                self._send(text.encode())
                lines += text.count("\n")
        except UnicodeError:
            self._problem = RecordsError(
                f"{self._path}: {self._encoding.upper()} text expected, other bytes found after "
                f"line {lines}; declare the encoding that the file has, or write it again"
            )
        except (OSError, EOFError, zlib.error):
            self._problem = RecordsError(
                f"{self._path}: a whole file expected, a damaged one or a part of one found after "
                f"line {lines}; fetch it again"
            )
        finally:
            os.close(self._write)

    def _texts(self) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder(self._encoding)("strict")
        with opened(self._path) as stream:
            while block := stream.read(BLOCK):
                if self._ended.is_set():
                    return
                yield decoder.decode(block)
        yield decoder.decode(b"", final=True)

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
    if declared.encoding != UTF8 or path.suffix.lower() == ".gz":
        # Compressed files too: the engine takes half of one for the whole (measured).
        def decoded(_: Sequence[str]) -> Feed:
            return _decoded(path, form, declared.encoding)

        yield Source(str(path), columns, decoded, declared.numerals)
        return
    with connect(files=[str(path)]) as connection:
        feed = Feed(connection, _scan(str(path), form))
        yield Source(str(path), columns, lambda _: feed, declared.numerals)


def _decoded(path: Path, form: CsvForm, encoding: str) -> Feed:
    pipe = Utf8Pipe(path, encoding)
    # The engine looks behind a path when it is allowed: the pipe has to be there first.
    connection = connect(files=[pipe.path])

    def finish() -> RecordsError | None:
        problem = pipe.finish()
        connection.close()
        return problem

    return Feed(connection, _scan(pipe.path, form), finish)

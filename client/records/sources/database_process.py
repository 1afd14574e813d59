"""A process of its own that reads a database file, in bounded memory.

A view is the text of whoever wrote the file, and may make a value of gigabytes out of nothing: the
engine's limit counts its buffers, and no such value. So a fresh interpreter that holds nothing but
the file reads it, and the kernel bounds what it may hold. It computes what it is asked in SQL of
ours and hands over the rows; it is asked over a pipe, in frames of `client/wire`, and ends with its
parent.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa

from fieldfare.client.records.encoding.problems import FailedRowsError
from fieldfare.client.records.sources.databases import Rows, open_duckdb, open_sqlite
from fieldfare.client.records.sources.engine import NO_MEMORY, Feed, Source, UnreadLines, unreadable
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.sql import ColumnType
from fieldfare.client.wire.frames import Field, Shape, decode, encode
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.protocol.flower_record import bytes_of
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.processes import child_environment, end_child, end_with_parent

PROCESS: Final = "fieldfare.client.records.sources.database_process"
MEMORY: Final = 1 << 30  # bytes that the process may hold, beside files that are mapped
MOST_ROW: Final = 128 << 20  # bytes of one row
MOST_BATCH: Final = 16 << 20  # bytes of rows in a frame, of which there are copies on its way
_GRACE_SECONDS: Final = 1.0
_ORDER, _QUESTION, _END = (Field("order"),), (Field("question"),), (Field("end"),)  # of JSON
_SCHEMA, _BATCH = (Field("schema"),), (Field("batch"),)  # of Arrow

_OPENERS: Final[
    Mapping[str, Callable[[Path, ColumnMapping, Rows], AbstractContextManager[Source]]]
] = {"duckdb": open_duckdb, "sqlite": open_sqlite}


@dataclass(frozen=True)
class DatabaseOrder:
    """The rows that a process opens.

    Attributes:
        kind: `duckdb` or `sqlite`.
        path: of the file.
        mapping: what is declared about it, as JSON.
        rows: table, schema, query.
    """

    kind: str
    path: str
    mapping: str
    rows: tuple[str | None, str | None, str | None]


class _RowsQuery(NamedTuple):
    expressions: Sequence[str]
    columns: Sequence[str] | None
    where: str
    lenient: bool


@dataclass(frozen=True, eq=False)
class DatabaseSource(Source):
    """A source whose rows another process reads and computes."""

    process: "DatabaseProcess | None" = None

    def batches(
        self,
        expressions: Sequence[str],
        columns: Sequence[str] | None = None,
        where: str = "",
        unread: list[UnreadLines] | None = None,
    ) -> Iterator[Any]:
        """Stream as `Source.batches` does.

        Raises:
            FailedRowsError: the source's own SQL failed, or needs more memory than there is.
        """
        if self.process is not None:
            asked = _RowsQuery(expressions, columns, where, lenient=unread is not None)
            yield from self.process.batches(asked, unread)


@contextmanager
def open_database(order: DatabaseOrder, mapping: ColumnMapping) -> Iterator[Source]:
    """Open a database file in a process of its own, for as long as it is read.

    Raises:
        RecordsError: it cannot be opened, does not have the rows, or no process can be started.
    """
    with closing(DatabaseProcess(order)) as process:
        columns = {name: ColumnType(kind) for name, kind in process.columns.items()}
        yield DatabaseSource(
            order.path,
            columns,
            _no_feed,
            mapping.numerals,
            computed=True,
            failing=process.failing,
            process=process,
        )


def _no_feed(_: Sequence[str]) -> Feed:
    raise NotImplementedError


class DatabaseProcess:
    """One process; started anew where a reading was left early.

    Attributes:
        columns: name and kind of each.
        failing: parts of the source's own SQL which one value may make fail.
    """

    def __init__(self, order: DatabaseOrder) -> None:
        """Start it."""
        self._order = order
        self._begin()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _begin(self) -> None:
        theirs_in, asking = os.pipe()
        hearing, theirs_out = os.pipe()
        self._asking, self._hearing = (
            Connection(asking, readable=False),
            Connection(hearing, writable=False),
        )
        self._idle = True
        try:
            # Of its own session: what is typed at the terminal reaches the parent alone.
            self._process = subprocess.Popen(  # noqa: S603 -- our own module, no shell
                [sys.executable, "-I", "-m", PROCESS, str(theirs_in), str(theirs_out)],
                env=child_environment(),
                stdin=subprocess.PIPE,  # held open: it ends when it closes
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs_in, theirs_out),
                start_new_session=True,
            )
        except OSError as error:
            raise RecordsError(
                f"{self._order.path}: expected a process to read it, found: {error.strerror}"
            ) from None
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        with ExitStack() as unless_open:
            unless_open.callback(self.close)  # nobody else has it yet
            said = self._answer(asdict(self._order))
            self.columns: dict[str, str] = said["columns"]
            self.failing = tuple[str, ...](said["failing"])
            unless_open.pop_all()

    def _answer(self, order: Mapping[str, Any]) -> dict[str, Any]:
        try:
            _send(self._asking, _ORDER, json.dumps(order).encode())
            return self._told(_hear(self._hearing, _END)[1])
        except (EOFError, OSError):
            raise self._died() from None

    def _told(self, content: bytes) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(content)
        if said.get("problem"):
            raise (FailedRowsError if said["failed"] else RecordsError)(said["problem"])
        return said

    def _died(self) -> RecordsError:
        return FailedRowsError(f"{self._order.path}: {NO_MEMORY}")

    def batches(self, asked: _RowsQuery, unread: list[UnreadLines] | None) -> Iterator[Any]:
        """Yield record batches of expressions.

        Raises:
            RecordsError: as the source says it.
        """
        if not self._idle:
            self.close()
            self._begin()
        self._idle, schema = False, None
        try:
            _send(self._asking, _QUESTION, json.dumps(asked._asdict()).encode())
            shape, content = _hear(self._hearing, _SCHEMA, _BATCH, _END)
            while shape is not _END:
                if shape is _SCHEMA:
                    schema = pa.ipc.read_schema(pa.py_buffer(content))
                else:
                    yield pa.ipc.read_record_batch(pa.py_buffer(content), schema)
                shape, content = _hear(self._hearing, _SCHEMA, _BATCH, _END)
        except (EOFError, OSError):
            raise self._died() from None
        said = self._told(content)
        self._idle = True
        if unread is not None:
            for count, first in said["unread"]:
                unread.append(UnreadLines(count, tuple(first), rows=True))

    def close(self) -> None:
        """End the process."""
        for pipe in (self._asking, self._hearing):
            with suppress(OSError):
                pipe.close()
        end_child(self._process, _GRACE_SECONDS)


def _send(to: Connection, shape: Shape, content: bytes) -> None:
    to.send_bytes(encode(shape, {shape[0].name: content}))


def _hear(of: Connection, *shapes: Shape) -> tuple[Shape, bytes]:
    """Return what the next frame holds, and of which of these shapes it is."""
    found = decode(of.recv_bytes(), *shapes)
    shape = next(one for one in shapes if one[0].name in found)
    return shape, bytes_of(found, shape[0].name)


# -- the process ----------------------------------------------------------------------------------


def _tell_type(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """Name a defect's type alone: a text may quote a record."""
    del error, trace
    sys.stderr.write(f"the process that reads a database failed: {kind.__name__}\n")


def _serve(hearing: Connection, telling: Connection) -> None:
    order = DatabaseOrder(**json.loads(_hear(hearing, _ORDER)[1]))
    declared = ColumnMapping.model_validate_json(order.mapping)
    try:
        with _OPENERS[order.kind](Path(order.path), declared, Rows(*order.rows)) as source:
            columns = {name: kind.value for name, kind in source.columns.items()}
            _tell(telling, columns=columns, failing=source.failing)
            while True:
                asked = _RowsQuery(**json.loads(_hear(hearing, _QUESTION)[1]))
                _tell(telling, unread=_hand_over(telling, source, asked))
    except BrokenPipeError:
        return
    except RecordsError as error:
        _tell(telling, problem=str(error), failed=isinstance(error, FailedRowsError))
    except MemoryError:
        _tell(telling, problem=f"{order.path}: {NO_MEMORY}", failed=True)
    except (duckdb.Error, pa.ArrowException, OSError, UnicodeError) as error:
        _tell(telling, problem=str(unreadable(order.path, error)), failed=False)


def _tell(telling: Connection, **said: Any) -> None:
    _send(telling, _END, json.dumps(said).encode())


def _hand_over(telling: Connection, source: Source, asked: _RowsQuery) -> list[Any]:
    """Send the rows; returns the count and the first numbers of those that were left out."""
    unread: list[UnreadLines] | None = [] if asked.lenient else None
    begun = False
    for batch in source.batches(asked.expressions, asked.columns, asked.where, unread):
        if not begun:
            _send(telling, _SCHEMA, batch.schema.serialize().to_pybytes())
            begun = True
        for part in _parts(batch, source.name):
            _send(telling, _BATCH, part.serialize().to_pybytes())
    return [(one.count, one.first) for one in unread or ()]


def _parts(batch: Any, name: str) -> Iterator[Any]:
    """Yield a batch in parts that the parent can hold."""
    if batch.nbytes <= MOST_BATCH or (batch.num_rows == 1 and batch.nbytes <= MOST_ROW):
        yield batch
    elif batch.num_rows == 1:
        raise FailedRowsError(f"{name}: {NO_MEMORY}")
    else:
        half = batch.num_rows // 2
        yield from _parts(batch.slice(0, half), name)
        yield from _parts(batch.slice(half), name)


def main(arguments: Sequence[str]) -> int:
    """Answer at two descriptors until they close."""
    sys.excepthook = _tell_type
    keep_out_of_dumps()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    end_with_parent(0.0)
    hearing = Connection(int(arguments[0]), writable=False)
    telling = Connection(int(arguments[1]), readable=False)
    with suppress(EOFError):
        _serve(hearing, telling)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

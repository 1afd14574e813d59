"""A PostgreSQL table in ranges of its pages, read side by side by connections of one snapshot.

A range is a few megabytes and comes whole before a row of it is passed on, so that a connection
that is lost costs its range and no row twice. Ranges, and the order of rows in them, do not depend
on how many connections read them (PostgreSQL documentation, "TID Range Scan" of EXPLAIN, from
version 14 on; 9.28.5, "Snapshot Synchronization Functions").
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

import pyarrow as pa
from adbc_driver_manager import AdbcStatusCode
from adbc_driver_manager import Error as AdbcError

from fieldfare.shared.errors import RecordsError

RANGE_BYTES: Final = 16 << 20  # of a table and of the long texts that belong to it
MOST_LOSSES: Final = 3  # of connections, over one range
AHEAD: Final = 1  # ranges that are read before they are asked for, beside one for each connection
_OLDEST: Final = 140_000  # version 14: older servers would read the whole table for each range
_KINDS: Final = "rmp"  # tables, materialized views, partitioned tables: rows that have pages

# The table and all that are read with it; `relam` is 0 where there is no storage of its own. Who
# may read some columns only may not ask for `ctid`.
_SIZES: Final = """
WITH RECURSIVE below(oid) AS (
    SELECT to_regclass($1)::oid
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN below b ON i.inhparent = b.oid)
SELECT position(c.relkind::text IN $2) > 0 AND coalesce(a.amname, 'heap') = 'heap'
        AND current_setting('server_version_num')::int >= $3
        AND has_table_privilege(to_regclass($1), 'SELECT'),
    coalesce(pg_relation_size(c.oid) / current_setting('block_size')::bigint, 0),
    coalesce(pg_table_size(c.oid), 0)::bigint, greatest(c.reltuples, 0)::bigint
FROM below JOIN pg_class c ON c.oid = below.oid LEFT JOIN pg_am a ON a.oid = c.relam
"""


class SnapshotLostError(RecordsError):
    """The state of a database that was read is gone: rows read later would be of another one."""


class PageRange(NamedTuple):
    """Pages from `first` on and before `end`; None: to the last."""

    first: int
    end: int | None

    @property
    def where(self) -> str:
        """SQL for the rows that lie there."""
        until = "" if self.end is None else f" AND ctid < '({self.end},0)'::tid"
        return f"ctid >= '({self.first},0)'::tid{until}"


def page_ranges(database: Any, relation: str) -> tuple[list[PageRange], int]:
    """Return ranges that are the whole of a table, which is locked, and about how many rows it has.

    No ranges where rows have no pages, or this user may not name them; 0 rows where the server
    never counted them.

    Args:
        database: a connection.
        relation: the table's name as SQL.

    Raises:
        AdbcError: the server refuses to say.
    """
    with database.cursor() as cursor:
        cursor.execute(_SIZES, [relation, _KINDS, _OLDEST])
        found = cursor.fetchall()
        if not found or not all(has_pages for has_pages, *_ in found):
            return [], 0
        # No row; but each partition is locked for as long as the transaction, as the table is. One
        # that is emptied or written anew while no reader has it would be of another state.
        cursor.execute(f"SELECT count(*) FROM {relation} WHERE {PageRange(0, 0).where}")
    tables = [(pages, size) for _, pages, size, _ in found]
    return ranges_of(tables), sum(rows for *_, rows in found)


def ranges_of(tables: Sequence[tuple[int, int]]) -> list[PageRange]:
    """Cut tables into ranges of pages, of which each holds about `RANGE_BYTES` of all together.

    Small partitions lie in the first ranges, beside the first pages of a large one, so the first
    have fewer pages than the last; a page of each table is the least. What is written later is in
    the last.

    Args:
        tables: of each, or of each partition, its pages and its bytes.
    """
    filled = sorted((pages, max(size, 1) / pages) for pages, size in tables if pages)
    # Bytes that a further page of each table not yet at its end brings, by the first such table.
    rates = list(accumulate(rate for _, rate in reversed(filled)))[::-1]
    firsts, at, place = [0], 0, 0
    while filled:
        at += max(1, int(RANGE_BYTES / rates[place]))
        if at >= filled[-1][0]:
            break
        firsts.append(at)
        while filled[place][0] <= at:
            place += 1
    ends = [*firsts[1:], None]
    return [PageRange(first, end) for first, end in zip(firsts, ends, strict=True)]


@dataclass(frozen=True)
class RangeReader:
    """What reads ranges: a connection, and how to get another one of the same snapshot.

    Attributes:
        again: raises SnapshotLostError where nothing holds the snapshot any more.
    """

    database: Any
    again: Callable[[], Any]


class RangeRows:
    """The rows of ranges, in their order; each is read by the connection that is free.

    Attributes:
        problem: why the rows ended early; None: they did not.
    """

    def __init__(
        self,
        select: str,
        ranges: Sequence[PageRange],
        sides: "SimpleQueue[RangeReader]",
        explain: Callable[[Exception], RecordsError],
    ) -> None:
        """Begin to read.

        Args:
            select: SQL for the rows, to which a WHERE can be added.
            ranges: at least one.
            sides: at least one; each is taken while it reads a range, and put back.
            explain: says what a server's answer means.
        """
        self.problem: RecordsError | None = None
        self._select, self._explain = select, explain
        self._free, self._count = sides, sides.qsize()
        self._pool = ThreadPoolExecutor(self._count)
        self._waiting = deque(ranges)
        self._begun: deque[Future[tuple[Any, list[Any]]]] = deque()
        self._begin()
        try:
            self.schema, first = self._begun.popleft().result()
        except RecordsError:
            self.close()
            raise
        self._first = first

    def _begin(self) -> None:
        while self._waiting and len(self._begun) < self._count + AHEAD:
            self._begun.append(self._pool.submit(self._read, self._waiting.popleft()))

    def batches(self) -> Iterator[Any]:
        """Yield Arrow record batches; ends at a `problem`."""
        found: list[Any] = self._first
        self._first = []
        try:
            while True:
                self._begin()
                yield from found
                if not self._begun:
                    return
                _, found = self._begun.popleft().result()
        except RecordsError as error:
            self.problem = error

    def reader(self) -> Any:
        """Return them as an Arrow stream."""
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def close(self) -> None:
        """Read no further range, and wait for those that are under way; may be called twice."""
        self._waiting.clear()
        self._pool.shutdown(cancel_futures=True)

    def _read(self, pages: PageRange) -> tuple[Any, list[Any]]:
        side = self._free.get()
        try:
            for _ in range(MOST_LOSSES):
                try:
                    return _rows(side.database, f"{self._select} WHERE {pages.where}")
                except (AdbcError, OSError, pa.ArrowException) as error:
                    if _answers(side.database):
                        raise self._explain(error) from None
                side.database.close()
                side = RangeReader(side.again(), side.again)
            raise SnapshotLostError("expected a server that stays, found none: read again")
        finally:
            self._free.put(side)


def _answers(database: Any) -> bool:
    """Tell whether a connection still is one.

    Of one that broke off amid rows the driver says as little as of a server's answer there.
    """
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT 1")
    except AdbcError as error:
        # What the driver says of a transaction that failed, as an answer leaves it.
        return error.status_code is AdbcStatusCode.INVALID_STATE
    return True


def _rows(database: Any, query: str) -> tuple[Any, list[Any]]:
    with database.cursor() as cursor:
        cursor.execute(query)
        reader = cursor.fetch_record_batch()
        return reader.schema, list(reader)

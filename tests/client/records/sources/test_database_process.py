"""A database file is read by a process of its own: the same rows, in bounded memory."""

import os
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fieldfare.client.records.encoding.problems import FailedRowsError
from fieldfare.client.records.sources.database_process import MEMORY, PROCESS, DatabaseSource
from fieldfare.client.records.sources.databases import Rows, open_duckdb
from fieldfare.client.records.sources.engine import UnreadLines
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.source import open_source
from fieldfare.shared.errors import RecordsError

LETTERS = 700_000_000


def made(path: Path, *statements: str) -> Path:
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def peak(source: Any) -> int:
    assert isinstance(source, DatabaseSource)
    assert source.process is not None
    status = Path(f"/proc/{source.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))


def test_a_view_that_makes_gigabytes_of_nothing_is_refused_in_bounded_memory(
    tmp_path: Path,
) -> None:
    """A file of 274 kB took 7.8 GB of the custodian's own memory."""
    view = f"CREATE VIEW v AS SELECT repeat('x', {LETTERS}) AS a"
    path = made(tmp_path / "r.duckdb", "CREATE TABLE t AS SELECT 1 AS a", view)
    own = int(Path("/proc/self/statm").read_text().split()[1])
    with open_source(path, rows=Rows("v")) as source:
        with pytest.raises(FailedRowsError, match="found rows that need more"):
            list(source.batches(["CAST(a AS VARCHAR) AS a"]))
        assert peak(source) < MEMORY
    grown = int(Path("/proc/self/statm").read_text().split()[1]) - own
    assert grown * 4096 < MEMORY // 4


def test_a_process_gives_what_the_same_file_gives_here(tmp_path: Path) -> None:
    path = made(
        tmp_path / "r.duckdb",
        "CREATE TABLE t AS SELECT i AS a, i / 7 AS b, 'é' || i AS c, DATE '2020-01-01' AS d, "
        "CAST(i AS HUGEINT) * 10000000000000000000000 AS e FROM range(250001) AS r(i)",
    )
    asked = ["CAST(a AS VARCHAR) AS a", "b", "c", "CAST(d AS VARCHAR) AS d", "CAST(e AS VARCHAR)"]
    with open_duckdb(path, ColumnMapping(), Rows()) as here, open_source(path) as apart:
        assert apart.columns == here.columns
        for where in ("", "a % 2 = 0"):
            found = [
                [row for batch in source.batches(asked, where=where) for row in batch.to_pylist()]
                for source in (here, apart)
            ]
            assert found[0] == found[1]
        unread: list[UnreadLines] = []
        assert sum(batch.num_rows for batch in apart.batches(["a"], unread=unread)) == 250_001
        assert unread == [UnreadLines(0, (), rows=True)]


def test_a_process_that_was_left_amid_rows_is_started_anew_and_ends_with_its_source(
    tmp_path: Path,
) -> None:
    path = made(tmp_path / "r.duckdb", "CREATE TABLE t AS SELECT i AS a FROM range(500000) AS r(i)")
    with open_source(path) as source:
        assert isinstance(source, DatabaseSource)
        assert source.process is not None
        first, left = source.process.pid, source.batches(["a"])
        next(left)
        left.close()  # type: ignore[attr-defined]
        assert sum(batch.num_rows for batch in source.batches(["a"])) == 500_000
        second = source.process.pid
    assert first != second
    assert not Path(f"/proc/{first}").exists()
    assert not Path(f"/proc/{second}").exists()


def test_a_view_that_fails_at_a_value_says_so_and_not_which(tmp_path: Path) -> None:
    path = made(
        tmp_path / "r.duckdb",
        "CREATE TABLE t AS SELECT 'MARKED-7781' AS a",
        "CREATE VIEW v AS SELECT CAST(a AS DOUBLE) AS a FROM t",
    )
    with open_source(path, rows=Rows("v")) as source:
        assert source.failing == ("cast",)
        with pytest.raises(FailedRowsError, match="values of their column's type") as caught:
            list(source.batches(["a"]))
    assert "MARKED" not in str(caught.value)


def test_a_file_that_cannot_be_opened_leaves_no_process(tmp_path: Path) -> None:
    path = made(tmp_path / "r.duckdb", "CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(RecordsError) as caught, open_source(path, rows=Rows("none")):
        pass
    # The error holds what was begun: nothing is tidied up by chance.
    assert caught.tb is not None
    assert not [one for one in children() if PROCESS in one]


def children() -> list[str]:
    """The commands of this process's children; of one that ended and was not waited for, too."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [Path(f"/proc/{pid}/cmdline").read_text() or PROCESS for pid in pids]

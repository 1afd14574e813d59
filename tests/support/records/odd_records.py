"""Odd records of two hundred kinds, and every kind of source that can hold them beside others."""

import csv
import gzip
import io
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.feather as pf
import pyarrow.parquet as pq

from fieldfare.client.records import LoadedRecords

COLUMNS: Final = ("unit", "amount", "hours", "channel", "label")
OTHERS: Final = 2000
LONG: Final = 100_000
Row = tuple[Any, ...]
Names = Sequence[str]
Write = Callable[..., Path]

TEXTS: Final[tuple[str | bytes, ...]] = (
    # quotes, separators, line ends
    '"', '"x', 'x"', '"x"y', '"x"', 'a""b', '""', '"""', '" x "', ' "x', "'", ",", ",,", ";", "|",
    "\t", "\n", "\r", "\r\n", "a\nb", "a\rb", "a\r\nb", '"a\nb', 'a\n"b', "\\", '\\"', "\\N",
    "\x1a", "#", "--", "sep=;",
    # signs that are not seen, or turn others round
    "\0", "a\0b", "\ufeff", "a\ufeffb", "\u202eabc", "\u200b", "\u2028", "\x85", "\x1b[2J", "\x7f",
    "e\u0301", "\U0001f600", "\ufffe", "\U0010ffff",
    # bytes that are no text
    b"\xff", b"br\xe4nch", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3",
    b"\xfe\xff\x00a",
    # numbers, and what looks like some
    "", " ", "NULL", "NA", "nan", "inf", "-inf", "1e999", "-1e999", "1e-400", "9" * 400, "0x10",
    "1_0", "1,5", "1.5.5", "\u0663", "-0", "007", "7.0", "+7", "7e0", ".", "-", "e5",
    "18446744073709551616",
    # truth values, dates, nested values, media, formulas
    "true", "TRUE", "2026-13-45", "9999999-01-01", "0000-00-00", "294247-01-10 04:00:54.775808",
    "-290308-12-22", "infinity", "24:00", "[1, 2]", '{"a": 1}', "<img src=x>",
    "data:image/png;base64,iVBORw0KGgo=", "=cmd|' /C calc'!A0", "';DROP TABLE t;--", "%s%n",
    "x" * LONG,
)  # fmt: skip
NUMBERS: Final = (float("nan"), float("inf"), float("-inf"), 5e-324, 1.8e307, -0.0, 2.0**53 + 2)


def texts(
    fitting: Sequence[str] = ("1", "7", "branch", "1"), columns: Sequence[int] = (0, 1, 3, 4)
) -> list[Row]:
    """Return rows of texts, one odd value each, in one column after the other (bytes).

    `fitting` is what stands in the columns after the unit's.
    """
    found = []
    for column in columns:
        for number, value in enumerate(TEXTS):
            row = [f"odd-{column}-{number}", *fitting]
            content = [cell.encode() for cell in row]
            content[column] = value if isinstance(value, bytes) else value.encode()
            found.append(tuple(content))
    return found


def others() -> list[Row]:
    """Return rows of texts that fit (bytes), of units of their own."""
    levels = ("branch", "online", "x")
    rows = ((f"u{n}", str(n % 9), str(n % 25), levels[n % 3], str(n % 2)) for n in range(OTHERS))
    return [tuple(cell.encode() for cell in row) for row in rows]


def beside(odd: Sequence[Row]) -> list[Row]:
    """Return odd rows among the others: some first, some last, the rest in the middle."""
    rows = others()
    return [*odd[:1], *rows[:700], *odd[1:-1], *rows[700:], *odd[1:][-1:]]


def vectors(records: LoadedRecords) -> dict[str, Any]:
    """Return everything that sums read of each unit, by its id; every unit stands once."""
    found = {}
    data = records.data
    for place, unit in enumerate(records.units.tolist()):
        if data.tables is None:
            own: Any = data.positions[:, place].tolist()
        else:
            start, stop = data.tables.starts[place : place + 2]
            own = data.tables.positions[:, start:stop].tolist()
        asked = [values[place] for values in records.asked.numbers.values()]
        order = None if data.order is None else int(data.order[place])
        found[unit] = (own, int(data.labels[place]), np.nan_to_num(asked, nan=-1).tolist(), order)
    assert len(found) == len(records)
    return found


# -- sources: each writes rows of bytes, those that it can hold, and returns where ---------------


def _quoted_csv(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(names)
    writer.writerows([[cell.decode("utf-8", "surrogateescape") for cell in row] for row in rows])
    (folder / "r.csv").write_bytes(out.getvalue().encode("utf-8", "surrogateescape"))
    return folder / "r.csv"


def _bare_csv(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    lines = [",".join(names).encode(), *(b",".join(row) for row in rows), b""]
    (folder / "r.csv").write_bytes(b"\n".join(lines))
    return folder / "r.csv"


def _packed_csv(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    path = _bare_csv(folder, rows, names).with_suffix(".csv.gz")
    path.write_bytes(gzip.compress((folder / "r.csv").read_bytes(), 1))
    return path


def arrow_table(rows: Sequence[Row], names: Names = COLUMNS) -> Any:
    """Return an Arrow table of texts that nobody looked at."""
    columns = [
        pa.array(column, pa.binary()).view(pa.string()) for column in zip(*rows, strict=True)
    ]
    return pa.table(columns, names=list(names))


def _parquet(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    pq.write_table(arrow_table(rows, names), folder / "r.parquet", row_group_size=500)
    return folder / "r.parquet"


def _partitions(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    table, size = arrow_table(rows, names), len(rows) // 3 + 1
    for day in range(3):
        (folder / "r" / f"day={day}").mkdir(parents=True, exist_ok=True)
        part = table.slice(day * size, size)
        pq.write_table(part, folder / "r" / f"day={day}" / "part.parquet")
    return folder / "r"


def _arrow(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    pf.write_feather(arrow_table(rows, names), str(folder / "r.arrow"), compression="uncompressed")
    return folder / "r.arrow"


def _sqlite(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    (folder / "r.sqlite").unlink(missing_ok=True)
    with closing(sqlite3.connect(folder / "r.sqlite")) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(names)})")
        cells = ", ".join("CAST(? AS TEXT)" for _ in names)
        connection.executemany(f"INSERT INTO t VALUES ({cells})", rows)
        connection.commit()
    return folder / "r.sqlite"


def _is_text(row: Row) -> bool:
    try:
        b"".join(row).decode()
    except UnicodeDecodeError:
        return False
    return True


def _duckdb(folder: Path, rows: Sequence[Row], names: Names = COLUMNS) -> Path:
    found = arrow_table([row for row in rows if _is_text(row)], names)
    (folder / "r.duckdb").unlink(missing_ok=True)
    with duckdb.connect(folder / "r.duckdb") as connection:
        connection.register("found", found)
        connection.execute("CREATE TABLE t AS SELECT * FROM found")
    return folder / "r.duckdb"


SOURCES: Final[Mapping[str, Write]] = {
    "csv, every text in quotes": _quoted_csv,
    "csv, nothing in quotes": _bare_csv,
    "csv.gz": _packed_csv,
    "parquet": _parquet,
    "a folder of partitions": _partitions,
    "arrow": _arrow,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
}


# -- the same for columns of numbers -------------------------------------------------------------


def number_rows(odd: Sequence[float] = ()) -> list[Row]:
    """Return the others with numbers for numbers, and odd ones in each column of numbers."""
    found: list[Row] = []
    for number, value in enumerate(odd):
        for column in (1, 2, 4):
            row: list[Any] = [f"odd-{column}-{number}", 1.0, 7.0, "branch", 1.0]
            row[column] = value
            found.append(tuple(row))
    for unit, amount, hours, channel, label in others():
        numbers = float(amount), float(hours), float(label)
        found.append((unit.decode(), *numbers[:2], channel.decode(), numbers[2]))
    return found


def _number_table(rows: Sequence[Row]) -> Any:
    return pa.table([list(column) for column in zip(*rows, strict=True)], names=list(COLUMNS))


def _number_parquet(folder: Path, rows: Sequence[Row]) -> Path:
    pq.write_table(_number_table(rows), folder / "n.parquet")
    return folder / "n.parquet"


def _number_arrow(folder: Path, rows: Sequence[Row]) -> Path:
    pf.write_feather(_number_table(rows), str(folder / "n.arrow"), compression="uncompressed")
    return folder / "n.arrow"


def _number_duckdb(folder: Path, rows: Sequence[Row]) -> Path:
    (folder / "n.duckdb").unlink(missing_ok=True)
    table = _number_table(rows)
    with duckdb.connect(folder / "n.duckdb") as connection:
        connection.register("found", table)
        connection.execute("CREATE TABLE t AS SELECT * FROM found")
    return folder / "n.duckdb"


def _number_sqlite(folder: Path, rows: Sequence[Row]) -> Path:
    (folder / "n.sqlite").unlink(missing_ok=True)
    kinds = [("odd-blob", b"\xff\x00", 1, "branch", 1), ("odd-big", 2**63 - 1, b"", 2.5, None)]
    with closing(sqlite3.connect(folder / "n.sqlite")) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(COLUMNS)})")
        written = [*(kinds if len(rows) > OTHERS else []), *rows]
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", written)
        connection.commit()
    return folder / "n.sqlite"


TYPED: Final[Mapping[str, Write]] = {
    "parquet": _number_parquet,
    "arrow": _number_arrow,
    "duckdb": _number_duckdb,
    "sqlite": _number_sqlite,
}

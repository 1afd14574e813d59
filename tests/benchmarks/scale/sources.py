"""Time and memory to check the same records from a file, a folder of partitions and PostgreSQL.

    python -m tests.benchmarks.scale.sources --rows 1000000 --limit 1000

Made-up records (a unit, a label, ten numbers) are written once; each source is then checked by a
process of its own in a memory cgroup. Prints a line of JSON for each: rows, processor seconds, the
peak of the group with what it cached of files, and what the check found, which is the same for all.
"""

import hashlib
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import pyarrow.parquet as pq
import typer
from tests.benchmarks.records import CUSTOMERS
from tests.support.system.memory_group import memory_group
from tests.support.system.postgres import running_postgres

from fieldfare.client.records.load import check_records
from fieldfare.client.records.settings import PostgresqlSource
from fieldfare.client.records.sources.source import table_at
from fieldfare.shared.errors import RunError

SECONDS: Final = 7_200
DAYS: Final = 20  # partitions
FILES: Final = 5  # of each
ADDRESS: Final = "URI"  # the variable with the database's address
KINDS: Final = ("file", "folder", "postgresql-1", "postgresql-4")


def check(kind: str, place: str, rows: int) -> str:
    """Check one source here; returns a digest of what was found."""
    if kind.startswith("postgresql"):
        source = PostgresqlSource(
            kind="postgresql",
            uri_environment=ADDRESS,
            table="customers",
            unit="unit",
            connections=int(kind.rpartition("-")[2]),
        )
        table = source.as_table(source.declared(Path()), Path(), os.environ)
    else:
        table = table_at(Path(place))
    found = check_records([table], CUSTOMERS.study(rows), today=datetime.now(UTC).date())
    if found.rows != rows or not found.loads:
        raise RunError(f"{kind}: expected {rows} rows that load, found {found.rows}")
    columns = json.dumps([one.model_dump() for one in found.columns])
    return hashlib.sha256(f"{found.zero} {found.each} {columns}".encode()).hexdigest()


def write(folder: Path, rows: int) -> dict[str, Path]:
    """Write the records as one file and as partitions by day, the same rows in the same order."""
    whole, parts = folder / "whole.parquet", folder / "parts"
    CUSTOMERS.write(whole, rows)
    with pq.ParquetFile(whole) as file:
        for index, batch in enumerate(file.iter_batches(max(1, rows // DAYS // FILES))):
            day = parts / f"day={index // FILES:03d}"
            day.mkdir(parents=True, exist_ok=True)
            with pq.ParquetWriter(day / f"part-{index:04d}.parquet", batch.schema) as writer:
                writer.write_batch(batch)
    return {"file": whole, "folder": parts}


def measured(kind: str, place: str, rows: int, limit: int, uri: str) -> dict[str, Any]:
    """Check one source in a process of its own, which may hold `limit` megabytes."""
    command = [sys.executable, "-m", "tests.benchmarks.scale.sources", "--one", kind,
               "--place", place, "--rows", str(rows)]  # fmt: skip
    before = os.times()
    with memory_group(limit << 20) as group:
        done = group.run(command, seconds=SECONDS, env={**os.environ, ADDRESS: uri})
        after = os.times()
        if done.returncode:
            raise RunError(f"{kind}: {done.stderr[-500:]}")
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        return {
            "source": kind,
            "rows": rows,
            "limit_mb": limit,
            "processor_seconds": round(spent, 1),
            "peak_mb": group.peak >> 20,
            "found": done.stdout.strip(),
        }


def measure(rows: int, limit: int) -> list[dict[str, Any]]:
    """Check every source; without a PostgreSQL of Debian's packages the test that asks skips."""
    with tempfile.TemporaryDirectory() as folder, running_postgres() as server:
        places = write(Path(folder), rows)
        server.ingest({"customers": pq.read_table(places["file"])})
        return [
            measured(kind, str(places.get(kind, "")), rows, limit, server.uri) for kind in KINDS
        ]


def main(
    rows: Annotated[int, typer.Option(help="Rows of each source.")] = 1_000_000,
    limit: Annotated[int, typer.Option(help="Megabytes of each check.")] = 1_000,
    one: Annotated[str, typer.Option(hidden=True)] = "",
    place: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measure, or check one source for it."""
    if one:
        typer.echo(check(one, place, rows))
        return
    for found in measure(rows, limit):
        typer.echo(json.dumps(found))


if __name__ == "__main__":
    typer.run(main)

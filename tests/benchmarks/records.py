"""Time and memory to check and load millions of records.

    python -m tests.benchmarks.records [--rows 10000000] [--json]

Made-up records (a unit, a label, ten numbers) are written as one Parquet file; then a process
of its own checks them, and another loads them. Each reports its peak resident memory as the
kernel counted it. Ends with 1 where a peak is above the promise of 4 GB.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.benchmarks.harness import FOLDER, Bench, BenchRow, apart, at_most, peak_bytes
from tests.benchmarks.inputs import BenchCustomers

from fieldfare.client.records import read_records
from fieldfare.client.records.load import check_records
from fieldfare.client.records.sources.source import table_at
from fieldfare.shared.errors import RunError
from fieldfare.shared.features.features import NumericFeature, Scale

COLUMNS: Final = 10
LIMIT_BYTES: Final = 4 * 10**9
CUSTOMERS: Final = BenchCustomers(
    features=[
        NumericFeature(kind="numeric", name=f"x{index}", lower=0, upper=1e5, scale=Scale.LOG1P)
        for index in range(COLUMNS)
    ],
    draw=lambda generator, _, rows: generator.lognormal(4, 2, rows),
    positive=0.01,
    absent=0.1,
    seed=20250630,
    at_once=500_000,
)


def measure_task(task: str, file: str, rows: int) -> dict[str, Any]:
    """Run one task in this process: seconds of the task alone, peak memory of the process.

    Raises:
        RunError: another number of records.
    """
    study = CUSTOMERS.study(rows)
    began = time.perf_counter()
    if task == "check":
        report = check_records([table_at(Path(file))], study, today=datetime.now(UTC).date())
        found = report.rows if report.loads else -1
    else:
        found = len(read_records([Path(file)], study))
    seconds = time.perf_counter() - began
    if found != rows:
        raise RunError(f"{task}: expected {rows} rows, found {found}")
    return {"task": task, "rows": rows, "seconds": seconds, "peak_bytes": peak_bytes()}


def measure(rows: int = 10_000_000) -> list[dict[str, Any]]:
    """Time and memory to check and load records, each in a process of its own."""
    with TemporaryDirectory(prefix=FOLDER) as folder:
        path = Path(folder) / "records.parquet"
        CUSTOMERS.write(path, rows)
        return [apart(measure_task, task, path, rows) for task in ("check", "load")]


def promises(found: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of memory."""
    return [
        at_most(
            f"{one['task']:<6} {one['rows']:>12,} rows  {one['seconds']:8.1f} s  peak",
            one["peak_bytes"] / 1e9,
            LIMIT_BYTES / 1e9,
            "GB",
            digits=2,
        )
        for one in found
    ]


BENCH: Final = Bench(measure, promises)

if __name__ == "__main__":
    BENCH.app()()

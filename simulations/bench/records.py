"""Time and memory to check and load millions of records.

    python -m fieldfare.simulations.bench.records [--rows 10000000]

Made-up records (a unit, a label, ten numbers) are written as one Parquet file; then a process
of its own checks them, and another loads them. Each reports its peak resident memory as the
kernel counted it. Ends with 1 where a peak is above the promise of 4 GB.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records import read_records
from fieldfare.client.records.load import check_records
from fieldfare.client.records.sources.source import table_at
from fieldfare.shared.study.study import Study

ROWS: Final = 10_000_000
COLUMNS: Final = 10
LIMIT_BYTES: Final = 4 * 10**9
SEED: Final = 20250630
POSITIVE: Final = 0.01
ABSENT: Final = 0.1
_GROUP: Final = 500_000  # rows made and written at once
_TASKS: Final = ("check", "load")


@dataclass(frozen=True)
class Measure:
    """The cost of one task.

    Attributes:
        seconds: wall clock, of the task alone.
        peak_bytes: resident memory of the whole process at its highest.
    """

    task: str
    rows: int
    seconds: float
    peak_bytes: int


def bench_study(rows: int) -> Study:
    """Return the study that the made-up records fit."""
    features = [
        {"kind": "numeric", "name": f"x{index}", "lower": 0, "upper": 1e5, "scale": "log1p"}
        for index in range(COLUMNS)
    ]
    return Study.model_validate(
        {
            "name": "bench",
            "purpose": "measure",
            "records": {"unit": "unit", "label": "label", "units": rows, "prevalence": POSITIVE},
            "features": features,
            "privacy": {"epsilon": 1, "delta": 1e-8},
        }
    )


def write_records(path: Path, rows: int) -> None:
    """Write made-up records: ids of 14 characters in no order, a tenth of the values missing."""
    generator = np.random.default_rng(SEED)
    ids = generator.permutation(rows)
    writer = None
    for start in range(0, rows, _GROUP):
        table = _table(ids[start : start + _GROUP], generator)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _table(ids: Any, generator: np.random.Generator) -> Any:
    digits = pc.utf8_lpad(pa.array(ids).cast(pa.string()), width=10, padding="0")
    columns = {
        "unit": pc.binary_join_element_wise("CUST", digits, ""),
        "label": pa.array((generator.random(len(ids)) < POSITIVE).astype(np.int8)),
    }
    for index in range(COLUMNS):
        values = generator.lognormal(4, 2, len(ids))
        columns[f"x{index}"] = pa.array(values, mask=generator.random(len(ids)) < ABSENT)
    return pa.table(columns)


def measure(task: str, path: Path, rows: int) -> Measure:
    """Run one task in this process."""
    study = bench_study(rows)
    began = time.perf_counter()
    if task == "check":
        report = check_records([table_at(path)], study, today=datetime.now(UTC).date())
        found = report.rows if report.loads else -1
    else:
        found = len(read_records([path], study))
    seconds = time.perf_counter() - began
    if found != rows:
        sys.exit(f"{task}: expected {rows} rows, found {found}")
    return Measure(task, rows, seconds, peak_bytes())


def peak_bytes() -> int:
    """Return this process's peak resident memory: VmHWM of proc(5).

    Not getrusage(2), which would count the parent that this process was started from.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def measured_apart(task: str, path: Path, rows: int) -> Measure:
    """Run one task in a process of its own, so that no memory of another counts."""
    module = [sys.executable, "-m", "fieldfare.simulations.bench.records"]
    arguments = ["--task", task, "--file", str(path), "--rows", str(rows)]
    done = subprocess.run([*module, *arguments], stdout=subprocess.PIPE, check=True)  # noqa: S603
    return Measure(**json.loads(done.stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line for each task, and return 1 where a peak is too high."""
    parser = argparse.ArgumentParser(prog="bench_records", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--task", choices=_TASKS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task is not None:
        print(json.dumps(asdict(measure(options.task, options.file, options.rows))))  # noqa: T201
        return 0
    with TemporaryDirectory(prefix="fieldfare-bench-") as folder:
        path = Path(folder) / "records.parquet"
        write_records(path, options.rows)
        found = [measured_apart(task, path, options.rows) for task in _TASKS]
    for item in found:
        print(  # noqa: T201
            f"{item.task:<6} {item.rows:>12,} rows  {item.seconds:8.1f} s  "
            f"peak {item.peak_bytes / 1e9:.2f} GB (at most {LIMIT_BYTES / 1e9:.0f})"
        )
    return int(any(item.peak_bytes > LIMIT_BYTES for item in found))


if __name__ == "__main__":
    sys.exit(main())

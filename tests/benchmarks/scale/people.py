"""An invented world of a million people: time, memory, bytes, and the same bytes again.

    python -m tests.benchmarks.scale.people [--people 1000000] [--months 1]

Runs `fieldfare world make` twice with one seed, each under a memory cgroup (root, or a delegated
group), and compares every file.
"""

import hashlib
import json
import os
import resource
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer
from tests.benchmarks.harness import COMMAND, FOLDER, Bench, BenchRow, at_most
from tests.support.system.memory_group import memory_group

from fieldfare.shared.errors import RunError

MIB: Final = 1 << 20
LIMIT_MEGABYTES: Final = 4000
SECONDS_A_MILLION: Final = 6.0  # transactions, as in tests/benchmarks/world.py
LONGEST: Final = 7200.0


def made(people: int, months: int, limit: int, folder: Path) -> dict[str, Any]:
    """Make a world in a new folder under a limit of megabytes; returns what it took.

    Raises:
        RunError: it did not stay within the limit, or ended with a fault.
    """
    command = [*COMMAND, "world", "make", "--people", str(people), "--months", str(months)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with memory_group(limit * MIB) as group:
        done = group.run([*command, "--out", str(folder), "--json"], seconds=LONGEST)
        if done.returncode or group.killed:
            raise RunError(f"expected a world within {limit} MB, found: {done.stderr[-2000:]}")
        peak = group.peak
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        "transactions": json.loads(done.stdout)["totals"]["transactions"],
        "processor_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "process_megabytes": after.ru_maxrss / 1024,  # the largest child there was
        "group_megabytes": peak / MIB,
        "disk_megabytes": sum(file.stat().st_size for file in files) / MIB,
        "sha256": _hash(folder, files),
    }


def _hash(folder: Path, files: list[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(str(file.relative_to(folder)).encode() + b"\0")
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()


def measure(
    people: Annotated[int, typer.Option(min=500, help="Of the world.")] = 1_000_000,
    months: Annotated[int, typer.Option(min=1, help="Of the world.")] = 1,
    limit: Annotated[int, typer.Option(help="Megabytes of all processes.")] = LIMIT_MEGABYTES,
    folder: Annotated[str, typer.Option(help="Where there is room.")] = "",
) -> dict[str, Any]:
    """Make a large world twice."""
    runs = []
    for _ in range(2):
        with TemporaryDirectory(prefix=FOLDER, dir=folder or None) as name:
            runs.append(made(people, months, limit, Path(name) / "world"))
    return {"people": people, "months": months, "cores": os.cpu_count(), "runs": runs}


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of large worlds."""
    runs, people = found["runs"], f"{found['people']:,} people"
    seconds = max(run["processor_seconds"] / run["transactions"] * 1e6 for run in runs)
    peak = max(run["process_megabytes"] for run in runs)
    different = len({run["sha256"] for run in runs})
    return [
        at_most(f"{people}: a million transactions", seconds, SECONDS_A_MILLION, "s"),
        at_most(f"{people}: memory of the process", peak, LIMIT_MEGABYTES, "MB", digits=0),
        at_most("different worlds of one seed", different, 1, "", digits=0),
    ]


def words(found: dict[str, Any]) -> list[str]:
    """Return a row for each run."""
    lines = ["transactions  processor s  process MB  with files MB  disk MB"]
    return lines + [
        f"{run['transactions']:12,} {run['processor_seconds']:12.0f}"
        f" {run['process_megabytes']:11.0f} {run['group_megabytes']:14.0f}"
        f" {run['disk_megabytes']:8.0f}"
        for run in found["runs"]
    ]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

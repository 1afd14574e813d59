"""Steps of a deployed federation, timed: real processes, TLS, signatures, masks, exact noise.

    python -m tests.benchmarks.deployed [--counts 3,6,12,20] [--steps N] [--json]

A coordinator and institutions as `fieldfare coordinator start` and `fieldfare institution start`
run them, each with a ledger that syncs; the coordinator keeps its transcript. For the first count,
stock Flower exchanges a vector of the same size on the same machine afterwards. For each count,
the processor time that the coordinator takes for a step is read from /proc.
"""

import os
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import numpy as np
import typer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, at_most, numbers
from tests.benchmarks.inputs import study_toml, write_records
from tests.benchmarks.stock import Fabric, stock_rounds

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.demo.testbed import COORDINATOR, Bed, in_this_process

COUNTS: Final = "3,6,12,20"
STEPS: Final = 15
FEATURES: Final = 25
UNITS: Final = 2000  # of each: a step's sum is measured elsewhere
STOCK_ROUNDS: Final = 3
STOCK_NODES: Final = 3  # a process for each message: more would say more of this machine
LOOK_SECONDS: Final = 0.02
BOUNDED: Final = 11  # n - t at which failed masks leave less than 4 times epsilon 1
LIMIT_SECONDS: Final = 0.8  # a step of three institutions, the median: two messages each
SLACK: Final = 1.25  # of processor time for each institution, most against least
SUPERLINK: Final = b"superlink.process"
RUN_PROCESS: Final = b"run_process"
TICK: Final = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass
class Steps:
    """The observations of one run from outside.

    Attributes:
        run: its id.
        ended: when each number of steps was first seen to be done.
        begun: seconds of processor time of the coordinator's processes before the first step.
        finished: the same after the last.
    """

    run: str
    ended: dict[int, datetime] = field(default_factory=dict)
    begun: dict[bytes, float] = field(default_factory=dict)
    finished: dict[bytes, float] = field(default_factory=dict)

    def see(self, row: RunRow, coordinator: int) -> None:
        """Look at how a run stands."""
        progress = row.progress
        if progress is None or progress.phase == "hello" or progress.step in self.ended:
            return
        self.ended[progress.step] = progress.at
        if progress.step in (1, progress.steps):
            found = {
                name: processor_seconds(coordinator, name) for name in (SUPERLINK, RUN_PROCESS)
            }
            self.begun, self.finished = self.begun or found, found

    @property
    def seconds(self) -> list[float]:
        """Return what each step took, the first left out: processes warm up in it."""
        times = [self.ended[step] for step in sorted(self.ended) if step > 0]
        return [(b - a).total_seconds() for a, b in pairwise(times)]

    def processor(self, name: bytes) -> float:
        """Return seconds of processor time for a step."""
        return (self.finished[name] - self.begun[name]) / max(1, len(self.seconds))


def processor_seconds(parent: int, name: bytes) -> float:
    """Return what a process below another has used, by a part of its command; 0 if there is none.

    Args:
        parent: id of the process above.
        name: in the command line, as proc(5) gives it.
    """
    below = {parent}
    for process in sorted(_processes()):
        with suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
            if int(fields[1]) not in below:
                continue
            below.add(process)
            if name in Path(f"/proc/{process}/cmdline").read_bytes():
                return TICK * (int(fields[11]) + int(fields[12]))
    return 0.0


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def new_bed(folder: Path, institutions: int, steps: int) -> Bed:
    """Return a bed of small institutions, whose founding takes little."""
    records = {}
    folder.mkdir()
    for index in range(institutions):
        name = f"bank-{index + 1:02d}"
        records[name] = folder / f"{name}.parquet"
        write_records(records[name], units=UNITS, features=FEATURES, banks=1, seed=index)
    study = folder / "study.toml"
    text = study_toml(
        units=UNITS * institutions,
        features=FEATURES,
        steps=steps,
        tolerance=max(1, institutions - BOUNDED),
    )
    study.write_text(text, encoding="utf-8")
    return Bed(folder / "bed", records, study, command=in_this_process)


def trained(bed: Bed) -> Steps:
    """Start a founded bed, train its study to the end, watching; nothing of it runs afterwards.

    Raises:
        RunError: the run did not finish.
    """
    try:
        bed.start()
        run = bed.run(bed.agree())
        with run_store(CoordinatorHome(bed.coordinator_home).runs_database) as store:
            steps = Steps(run)
            while True:
                row = store.row(run)
                steps.see(row, bed.pid(COORDINATOR))
                if row.state.ended:
                    break
                time.sleep(LOOK_SECONDS)
    finally:
        bed.stop()
    if row.state is not RunStatus.FINISHED:
        raise RunError(f"expected a finished run, found {row.state.value}: {row.reason}")
    return steps


def measure(
    counts: Annotated[str, typer.Option(help="Institutions of each federation.")] = COUNTS,
    steps: Annotated[int, typer.Option(min=3, help="Training steps.")] = STEPS,
) -> dict[str, Any]:
    """Time the steps of deployed federations, one after another, beside stock Flower.

    Returns:
        Seconds: medians of a step; processor time of a step; load averages of the machine.
    """
    rows: list[dict[str, float]] = []
    stock: dict[str, float] = {}
    with TemporaryDirectory(prefix=FOLDER) as folder:
        for count in numbers(counts):
            typer.echo(f"{count} institutions: founding", err=True)
            bed = new_bed(Path(folder) / f"of-{count}", count, steps)
            bed.found()
            typer.echo(f"{count} institutions: {steps} steps", err=True)
            load, seen = os.getloadavg()[0], trained(bed)
            rows.append(_row(count, load, seen))
            if not stock:
                typer.echo("stock Flower, the same vector", err=True)
                stock = _stock(bed)
    return {"limit": LIMIT_SECONDS, "steps": steps, "deployed": rows, "stock": stock}


def _row(count: int, load: float, seen: Steps) -> dict[str, float]:
    return {
        "institutions": count,
        "load_before": load,
        "median_seconds": statistics.median(seen.seconds),
        "most_seconds": max(seen.seconds),
        "superlink_processor_seconds": seen.processor(SUPERLINK),
        "run_processor_seconds": seen.processor(RUN_PROCESS),
    }


def _stock(bed: Bed) -> dict[str, float]:
    """Exchange a vector of the study's size with stock Flower, under the bed's certificates."""
    home = CoordinatorHome(bed.coordinator_home)
    keys = {name: bed.home(name) / "keys" / "node" for name in bed.names[:STOCK_NODES]}
    tls = (home.authority, home.server_certificate, home.server_key)
    fabric = Fabric(bed.folder / "stock", *tls, keys)
    entries = plan_for(bed.loaded_study).training.vectors.entries
    load = os.getloadavg()[0]
    seconds = stock_rounds(fabric, entries=entries, rounds=STOCK_ROUNDS)
    return {
        "institutions": len(keys),
        "load_before": load,
        "median_seconds": statistics.median(seconds),
        "most_seconds": max(seconds),
    }


def line(rows: Sequence[dict[str, float]], name: str) -> tuple[float, float]:
    """Return the least-squares line of a figure over institutions: at none, and for each."""
    counts = [row["institutions"] for row in rows]
    slope, start = np.polyfit(counts, [row[name] for row in rows], 1)
    return float(start), float(slope)


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of a step, and of the coordinator's work for each institution."""
    rows, stock = found["deployed"], found["stock"]
    first, median = rows[0]["institutions"], rows[0]["median_seconds"]
    ratio = stock["median_seconds"] / median
    beside = f"stock Flower {stock['median_seconds']:.2f} s a round, {ratio:.0f} x as long"
    what = f"step of {first} deployed institutions; {beside}"
    made = [at_most(what, median, found["limit"], "s", digits=2)]
    if len(rows) > 1:
        few, many = rows[0]["institutions"], rows[-1]["institutions"]
        growth = (_work(rows[-1]) / many) / (_work(rows[0]) / few)
        what = f"processor time of a step for each institution, {many} / {few} of them"
        made.append(at_most(what, growth, SLACK, "x", digits=2))
    return made


def _work(row: dict[str, float]) -> float:
    return row["superlink_processor_seconds"] + row["run_processor_seconds"]


def table(found: dict[str, Any]) -> list[str]:
    """Return lines for people."""
    rows = found["deployed"]
    lines = ["institutions  step, median / most  SuperLink, processor  run process  load before"]
    lines += [
        f"{row['institutions']:12d}  {row['median_seconds']:7.2f} /{row['most_seconds']:6.2f} s"
        f"   {row['superlink_processor_seconds']:18.3f} s {row['run_processor_seconds']:10.3f} s"
        f"  {row['load_before']:11.1f}"
        for row in rows
    ]
    if len(rows) > 1:
        for name, what in (
            ("superlink_processor_seconds", "SuperLink"),
            ("run_processor_seconds", "run process"),
        ):
            start, each = line(rows, name)
            lines.append(f"{what}: {start:.3f} s + {each:.3f} s for each institution, a step")
    stock = found["stock"]
    lines.append(
        f"stock Flower: {stock['median_seconds']:.2f} / {stock['most_seconds']:.2f} s a round of "
        f"{stock['institutions']}, load before {stock['load_before']:.1f}"
    )
    return lines


def end_by_exception() -> None:
    """End by an exception on a signal to stop, so that no process of a bed stays behind."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)


BENCH: Final = Bench(measure, promises, table)

if __name__ == "__main__":
    end_by_exception()
    BENCH.app()()

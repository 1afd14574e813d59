"""One large institution cut into parts: memory of all its processes, time, the same bytes.

    python -m tests.benchmarks.scale.partitions --units 2000000,1000000

Each run loads records from Parquet, cuts them, and takes 60 private steps and an evaluation, in a
process of its own under a memory cgroup (root, or a delegated group). The first size is cut in
every way, also on Ray and with a worker killed. Growth is fitted over the numbers of units; what is
said beyond the largest of them is extrapolated.
"""

import hashlib
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
import typer
from tests.benchmarks.harness import CALL, FOLDER, Bench, BenchRow, apart, at_most, numbers
from tests.benchmarks.inputs import study_toml, write_records
from tests.support.system.memory_group import MemoryGroup, memory_group

from fieldfare.client.records import Spool, holdout_mask
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.records.load import BUCKETS_KEY, Load
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.sums.local_workers import LocalWorkers
from fieldfare.client.sums.partitioned_sums import (
    PartitionedSums,
    WholeUnits,
    Workplace,
    sums_of,
)
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.engines.cluster import cluster
from fieldfare.simulations.engines.ray_actors import RayPartitions

FEATURES: Final = 40
STEPS: Final = 60
KEY: Final = b"bench"
LIMIT_MEGABYTES: Final = 3000
RAY_MEGABYTES: Final = 6000  # Ray keeps what it hands on in memory
TEN_MILLION: Final = 10_000_000
SECONDS: Final = 150.0  # for ten million units, on two cores
EXPONENT: Final = 1.05
CORES: Final = 2
FAR: Final = (100_000_000, 32)  # units and cores that are extrapolated to
LONGEST: Final = 3600.0
PAUSE: Final = 0.1
MIB: Final = 1 << 20


class AskedRun(NamedTuple):
    """A run to measure.

    Attributes:
        units: of the institution.
        parts: 1: in one process; else by two workers; on Ray an actor each.
        kill: the step in which a worker is killed; -1: none.
        ray: whether actors of Ray add up.
    """

    units: int
    parts: int
    kill: int = -1
    ray: bool = False


def institution(
    file: str, folder: str, units: int, parts: int, kill: int, ray: bool
) -> dict[str, Any]:
    """Load, cut and sum, as a custodian does, or a simulation on Ray; in a process of its own.

    Args:
        file: Parquet.
        folder: for what is spilled.
        units: the fields of an `AskedRun`, as JSON carries them.
        parts: the next.
        kill: the next.
        ray: the last.
    """
    study = parse_study(study_toml(units=units, features=FEATURES, steps=STEPS))
    begun = time.perf_counter()
    with cluster(None, CORES) if ray else nullcontext():
        sums = _loaded(study, Path(file), parts, Path(folder), ray=ray)
        loaded, alone = time.perf_counter(), time.process_time()
        seen, parameters = _trained(study, sums, kill)
        trained = time.perf_counter()
        seen.update(sums.vector(ReleaseKind.EVALUATION, parameters).tobytes())
    return {
        "loading_seconds": loaded - begun,
        "loading_processor_seconds": alone,  # one process, its start included
        "steps_seconds": trained - loaded,
        "sums": seen.hexdigest(),
        "model": hashlib.sha256(parameters.tobytes()).hexdigest(),
    }


def _loaded(study: Study, file: Path, parts: int, folder: Path, *, ray: bool) -> RunSums:
    load = Load(study, spool=Spool(folder))
    load.read(table_at(file))
    records = load.finish()
    mask = holdout_mask(records.units, key=KEY, share=study.evaluation.holdout)
    if ray:
        order = unit_order(records.units, key=BUCKETS_KEY)
        cut = WholeUnits(records.data, mask, order).cut(study, parts)
        return PartitionedSums(study, RayPartitions(study, cut))
    at = Workplace(folder, workers=1 if parts == 1 else CORES, parts=parts)
    return sums_of(study, records, mask, None, split="", at=at)


def _trained(study: Study, sums: RunSums, kill: int) -> tuple[Any, Any]:
    """Take every step; noise is drawn for its time and left out, so that bytes can be compared."""
    terms, noise = plan_for(study).training, ExactNoise()
    scale = terms.share(3, study.privacy.collusion_tolerance)
    parameters, seen = np.zeros(terms.vectors.entries), hashlib.sha256()
    for step in range(STEPS):
        with _killed(sums) if step == kill else nullcontext():
            found = sums.vector(ReleaseKind.TRAINING, parameters)
        noise.sample(terms.vectors.entries, scale)
        seen.update(found.tobytes())
        mean = np.ldexp(found.astype(np.float64), -terms.vectors.gamma_bits)
        parameters = parameters - 5.0 * mean / study.training_units
    return seen, parameters


@contextmanager
def _killed(sums: RunSums) -> Iterator[None]:
    """Kill a worker that is in the middle: stopped first, so that it has not answered."""
    if not isinstance(sums, PartitionedSums) or not isinstance(sums.partitions, LocalWorkers):
        raise RunError("expected workers to kill one of, found sums in one process")
    (victim, *_) = sums.partitions.processes
    os.kill(victim, signal.SIGSTOP)
    later = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
    later.start()
    yield
    later.join()


# -- under a limit --------------------------------------------------------------------------------


def limited(arguments: Sequence[Any], limit: int) -> dict[str, Any]:
    """Run `institution` under a memory limit; adds processor time and peaks of all its processes.

    Raises:
        RunError: it was killed, or ended with a fault.
    """
    call = [sys.executable, "-c", CALL, __spec__.name, institution.__name__]
    before = _processor_seconds()
    with memory_group(limit) as group, _watched(group) as anonymous:
        done = group.run([*call, json.dumps(arguments)], seconds=LONGEST, env=dict(os.environ))
        if done.returncode or group.killed:
            raise RunError(f"expected a run within {limit} bytes, found: {done.stderr[-2000:]}")
        peak = group.peak
    return {
        **json.loads(done.stdout[done.stdout.index("{") :]),  # DuckDB may tell progress before it
        "processor_seconds": _processor_seconds() - before,
        "peak_megabytes": peak / MIB,
        "anonymous_megabytes": max(anonymous) / MIB,
    }


@contextmanager
def _watched(group: MemoryGroup) -> Iterator[list[int]]:
    """Note every tenth of a second what no file backs."""
    seen, over = [0], threading.Event()

    def watch() -> None:
        while not over.wait(PAUSE):
            seen.append(group.anonymous)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(
    units: Annotated[str, typer.Option(help="Of each institution.")] = "2000000,1000000",
    parts: Annotated[str, typer.Option(help="Of the first; the others take its last.")] = "1,4,16",
    ray: Annotated[str, typer.Option(help="Parts of the first on Ray.")] = "",
    limit: Annotated[int, typer.Option(help="Megabytes of all processes.")] = LIMIT_MEGABYTES,
    ray_limit: Annotated[int, typer.Option(help="Megabytes on Ray.")] = RAY_MEGABYTES,
    folder: Annotated[str, typer.Option(help="Keeps records and finished runs, to go on.")] = "",
) -> dict[str, Any]:
    """Measure institutions of several sizes in parts, each under one memory limit."""
    (first, *others), cuts = numbers(units), numbers(parts)
    asked = [AskedRun(first, cuts[-1]), AskedRun(first, cuts[-1], kill=STEPS // 2)]
    asked += [AskedRun(first, cut) for cut in cuts[:-1]]
    asked += [AskedRun(size, cuts[-1]) for size in others]
    asked += [AskedRun(first, cut, ray=True) for cut in numbers(ray)]
    with nullcontext(folder) if folder else TemporaryDirectory(prefix=FOLDER) as name:
        rows = [_row(one, Path(name), (ray_limit if one.ray else limit) * MIB) for one in asked]
    return {"cores": os.cpu_count(), "limit_megabytes": limit, "rows": rows}


def _row(asked: AskedRun, folder: Path, limit: int) -> dict[str, Any]:
    """Return what a run took, of this time or of an earlier one that left it in the folder."""
    folder.mkdir(exist_ok=True)
    kept = folder / f"{asked.units}-{asked.parts}-{asked.kill}-{asked.ray}.json"
    if not kept.exists():
        file = folder / f"{asked.units}.parquet"
        if not file.exists():
            apart(_records, file, asked.units)
        given = (str(file), str(folder / "spill"), *asked)
        found = {"units": asked.units, "parts": asked.parts, "killed": asked.kill >= 0}
        kept.write_text(json.dumps({**found, "ray": asked.ray, **limited(given, limit)}), "utf-8")
    row: dict[str, Any] = json.loads(kept.read_text("utf-8"))
    return row


def _records(file: str, units: int) -> None:
    write_records(Path(file), units=units, features=FEATURES, banks=1)


def _local(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for row in found["rows"] if not row["ray"]]


def _shared(row: dict[str, Any]) -> float:
    """Return the processor seconds of what several processes share."""
    return float(row["processor_seconds"] - row["loading_processor_seconds"])


def _idle_seconds(row: dict[str, Any]) -> float:
    """Return what a run's processor time comes to on cores that do nothing else."""
    by = 1 if row["parts"] == 1 else CORES
    return float(row["loading_processor_seconds"] + _shared(row) / by)


def _grown(rows: Sequence[dict[str, Any]]) -> float:
    """Fit processor seconds = a * units^b over the runs of the last cut; returns b."""
    cut = max(row["parts"] for row in rows if not row["ray"])
    kept = [row for row in rows if row["parts"] == cut and not row["killed"] and not row["ray"]]
    logs = np.log([[row["units"], row["processor_seconds"]] for row in kept])
    if len(kept) == 1:
        return 1.0
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of large institutions."""
    rows, limit = found["rows"], found["limit_megabytes"]
    exponent = _grown(rows)
    sizes = {row["units"] for row in rows}
    different = max(
        len({(r["sums"], r["model"]) for r in rows if r["units"] == size}) for size in sizes
    )
    peak = max(row["anonymous_megabytes"] for row in _local(found))
    largest = max(sizes)
    seconds = max(_idle_seconds(row) for row in _local(found) if row["units"] == largest)
    wanted = SECONDS * largest / TEN_MILLION
    return [
        at_most("different sums or models of one institution", different, 1, "", digits=0),
        at_most("memory that no file backs, all processes", peak, limit, "MB", digits=0),
        at_most(f"{largest:,} units, as on 2 idle cores", seconds, wanted, "s"),
        at_most("exponent of processor time in units", exponent, EXPONENT, "", digits=3),
    ]


def words(found: dict[str, Any]) -> list[str]:
    """Return a row for each run, and what follows for larger ones."""
    lines = [
        f"One institution, {FEATURES} features, {STEPS} private steps; all processes together",
        "     units parts  load s  steps s  processor s  held MB  with files MB",
    ]
    lines += [
        f"{row['units']:10,} {row['parts']:5} {row['loading_seconds']:7.1f}"
        f" {row['steps_seconds']:8.1f} {row['processor_seconds']:12.1f}"
        f" {row['anonymous_megabytes']:8.0f} {row['peak_megabytes']:14.0f}"
        + ("  a worker killed" if row["killed"] else "  on Ray" if row["ray"] else "")
        for row in found["rows"]
    ]
    return [*lines, _far(found["rows"])]


def _far(rows: Sequence[dict[str, Any]]) -> str:
    """Say what follows for an institution beyond all that were measured, line by line grown."""
    units, cores = FAR
    exponent = _grown(rows)
    size = max(row["units"] for row in rows)
    last = next(row for row in rows if row["units"] == size)  # of the last cut
    more = (units / last["units"]) ** max(exponent, 1.0)
    alone, shared = last["loading_processor_seconds"] * more, _shared(last) * more / cores
    held = last["anonymous_megabytes"] * units / last["units"] / 1000
    return (
        f"Extrapolated, not measured: {units:,} units on {cores} cores, {alone / 60:.1f} min in one"
        f" process to load and cut them, {shared / 60:.1f} min for {STEPS} steps by all,"
        f" at most {held:.0f} GB."
    )


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

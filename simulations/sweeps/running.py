"""All points of a sweep: what is kept is not run again; two processes, or tasks of Ray."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.simulations.beside import ALONE, CORES, SideProcess
from fieldfare.simulations.engines.cluster import cluster
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.sweeps.keeping import SweepFolder
from fieldfare.simulations.sweeps.measuring import PointRows, SharedSplit
from fieldfare.simulations.sweeps.points import SweepGrid, SweepPoint

Said = Callable[[str, int, int], None]
PARTS: Final = 2  # chunks that each worker takes, at least: nobody waits long for another


def unsaid(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def sweep(
    grid: SweepGrid,
    out: Path,
    said: Said = unsaid,
    both: SideProcess = ALONE,
    address: str | None = None,
    cores: int | None = None,
) -> pa.Table:
    """Run every point that is not kept yet, and write the table; returns it.

    Args:
        grid: of the sweep.
        out: its folder, made where it is not there.
        said: told how many points are done, of how many.
        both: the second core, for points in process.
        address: of a Ray cluster; None: Ray is started on this machine alone, where it is asked.
        cores: of the cluster that is started here; None: all.

    Raises:
        FieldfareError: by whose fault it is.
    """
    grid.plan.engine.check_cluster(address, cores)
    keeping = SweepFolder(out, grid)
    (out / "points").mkdir(parents=True, exist_ok=True)
    missing = {point for point in grid.points if keeping.found(point) is None}
    done, total = len(grid.points) - len(missing), len(grid.points)
    said("points", done, total)
    workers = 1 if both is ALONE else CORES
    if grid.plan.engine is Engine.RAY and missing:
        from fieldfare.simulations.sweeps import ray_tasks  # noqa: PLC0415 -- an extra of its own

        with cluster(address, cores) as workers:
            for rows in ray_tasks.rows_of(grid, chunks(grid, missing, workers)):
                keeping.put(rows)
                done += 1
                said("points", done, total)
    elif missing:
        each = [(keeping, chunk) for chunk in chunks(grid, missing, workers)]
        both.share(keep, each, lambda _: said("points", kept_of(keeping), total))
    said("points", total, total)
    return keeping.write_table()


def kept_of(keeping: SweepFolder) -> int:
    """Return how many points of a sweep are kept."""
    return sum(keeping.found(point) is not None for point in keeping.grid.points)


def chunks(grid: SweepGrid, missing: set[SweepPoint], workers: int) -> list[tuple[SweepPoint, ...]]:
    """Return the missing points of each block, cut where there are fewer blocks than work.

    What a block shares is computed once for each chunk of it.
    """
    blocks = [tuple(point for point in block if point in missing) for block in grid.blocks()]
    blocks = [block for block in blocks if block]
    pieces = math.ceil(PARTS * workers / len(blocks)) if len(blocks) < workers else 1
    return [part for block in blocks for part in _cut(block, pieces)]


def _cut(block: tuple[SweepPoint, ...], pieces: int) -> Iterator[tuple[SweepPoint, ...]]:
    size = math.ceil(len(block) / pieces)
    for start in range(0, len(block), size):
        yield block[start : start + size]


def measured(grid: SweepGrid, points: Sequence[SweepPoint]) -> Iterator[PointRows]:
    """Yield what comes of points of one block; numbers take one thread, so that bits are the same.

    Raises:
        UsageError, RecordsError: records do not fit.
    """
    with threadpool_limits(1):
        block = SharedSplit.of(grid, points[0])
        for point in points:
            yield block.rows(point)


def keep(keeping: SweepFolder, points: Sequence[SweepPoint]) -> None:
    """Run points of one block, and keep each as soon as it is there."""
    for rows in measured(keeping.grid, points):
        keeping.put(rows)

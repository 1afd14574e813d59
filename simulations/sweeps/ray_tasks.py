"""Points of a sweep as tasks of a Ray cluster: of this machine, or one that is named.

Each node of a named cluster has the same Fieldfare and reads the same files.
"""

from collections.abc import Iterator, Sequence

from fieldfare.simulations.engines.cluster import loaded_ray
from fieldfare.simulations.sweeps.measuring import PointRows
from fieldfare.simulations.sweeps.points import SweepGrid, SweepPoint


def rows_of(grid: SweepGrid, chunks: Sequence[tuple[SweepPoint, ...]]) -> Iterator[PointRows]:
    """Yield what comes of each point as soon as it is there; their order is nobody's.

    Raises:
        FieldfareError: that a task raised; see `running.measured`.
    """
    ray = loaded_ray()
    task = ray.remote(num_returns="streaming", max_retries=0)(_task)
    shared = ray.put(grid)
    streams = [task.remote(shared, chunk) for chunk in chunks]
    waiting = dict.fromkeys(streams)
    while waiting:
        ready, _ = ray.wait(list(waiting), num_returns=1, fetch_local=False)
        for stream in ready:
            try:
                yield ray.get(next(stream))
            except StopIteration:
                del waiting[stream]
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None


def _task(grid: SweepGrid, points: Sequence[SweepPoint]) -> Iterator[PointRows]:
    # A worker of Ray's loads this, and only then what runs a point.
    from fieldfare.simulations.sweeps.running import measured  # noqa: PLC0415 -- they need each other

    yield from measured(grid, points)

"""Points of a sweep as tasks of a Ray cluster: of this machine, or one that is named.

Ray is told to report nothing, to serve no page, and to listen on this machine alone unless an
address is named. Each node of a named cluster has the same Fieldfare and reads the same files.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.sweeps.measuring import PointRows
from fieldfare.simulations.sweeps.points import SweepGrid, SweepPoint

SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray warns of it otherwise
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # of one machine: Ray then takes the loopback address
}
LOOPBACK: Final = "127.0.0.1"


@contextmanager
def cluster(address: str | None, workers: int | None = None) -> Iterator[int]:
    """Connect to Ray, or start it on this machine alone; gives the number of its cores.

    Args:
        address: HOST:PORT of a cluster that runs; None: one is started here, and ends with this.
        workers: tasks at a time, where it is started here; None: a task for each core.

    Raises:
        UsageError: Ray is not installed, or the cluster is not there.
    """
    os.environ.update(SETTINGS)  # before it is imported: it reads them then
    ray = _ray()
    here: dict[str, Any] = {
        "num_cpus": workers,
        "include_dashboard": False,
        "_node_ip_address": LOOPBACK,
    }
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            configure_logging=False,
            **({} if address else here),
        )
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        where = f"a Ray cluster at {address}" if address else "Ray to start here"
        raise UsageError(f"--ray-address: expected {where}, found: {error}") from None
    try:
        if not address and ray.util.get_node_ip_address() != LOOPBACK:
            raise UsageError(
                "engine = ray: expected Ray on the loopback address alone, found another: "
                "it was imported before; begin with a fresh Python"
            )
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        ray.shutdown()


def rows_of(grid: SweepGrid, chunks: Sequence[tuple[SweepPoint, ...]]) -> Iterator[PointRows]:
    """Yield what comes of each point as soon as it is there; their order is nobody's.

    Raises:
        FieldfareError: that a task raised; see `running.measured`.
    """
    ray = _ray()
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


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415 -- an extra of its own
    except ImportError:
        raise UsageError(
            "engine = ray: expected Ray, found none: pip install 'fieldfare[ray]'"
        ) from None
    return ray

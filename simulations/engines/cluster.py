"""A Ray cluster: of this machine alone, or one that is named.

Ray is told to report nothing, to serve no page, and to listen on this machine alone unless an
address is named. Each node of a named cluster has the same Fieldfare.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.addresses import split_address

SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_PROMPT_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray warns of it otherwise
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # of one machine: Ray then takes the loopback address
}
LOOPBACK: Final = "127.0.0.1"
TRY_SECONDS: Final = 10.0


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
    ray = loaded_ray()
    if address:
        check_listens(address)
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


def check_listens(address: str) -> None:
    """Check that something listens there: Ray itself tries for minutes, and says so by its logs.

    Raises:
        UsageError: no HOST:PORT, or nothing listens.
    """
    try:
        socket.create_connection(split_address(address), TRY_SECONDS).close()
    except ValueError as error:
        raise UsageError(f"--ray-address: {error}, found {address!r}") from None
    except OSError as error:
        why = error.strerror or error
        raise UsageError(
            f"--ray-address: expected a Ray cluster at {address}, found: {why}: "
            "start its first node with `ray start --head --port PORT`"
        ) from None


def loaded_ray() -> Any:
    """Load Ray.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import ray  # noqa: PLC0415 -- an extra of its own
    except ImportError:
        raise UsageError(
            "engine = ray: expected Ray, found none: pip install 'fieldfare[ray]'"
        ) from None
    return ray

"""The environment of every process of the coordinator that uses Flower."""

from collections.abc import Mapping
from pathlib import Path


def flower_environment(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment in which nothing steers flwr and flwr calls nobody.

    Args:
        given: the environment of this process.
        folder: a private one, for what flwr may want to keep.
    """
    kept = {name: value for name, value in given.items() if not name.upper().startswith("FLWR_")}
    return kept | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }

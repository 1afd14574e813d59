"""Environment and log of every coordinator's process that uses Flower."""

import logging
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


def quiet_flower() -> None:
    """Let flwr's log say what is unexpected, and never what was in a message."""
    log = logging.getLogger("flwr")
    log.setLevel(logging.WARNING)
    log.addFilter(without_contents)


def without_contents(record: logging.LogRecord) -> bool:
    """Take values out of a record; says whether the record is shown at all."""
    said: object = record.msg
    if isinstance(said, dict):  # a query that failed, with its values
        record.msg, record.args = "a query failed: %s", (str(said.get("query"))[:80],)
    return "[ApiError:" not in record.msg  # answered, and in the audit log

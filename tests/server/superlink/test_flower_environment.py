import logging
from pathlib import Path
from typing import Any

import pytest

from fieldfare.server.superlink.retention import flower_environment, without_contents


def test_nothing_steers_flower_and_it_calls_nobody() -> None:
    given = {"PATH": "/bin", "FLWR_ENABLE_EVENT_LOG": "1", "flwr_home": "/x", "HOME": "/h"}
    assert flower_environment(given, Path("/run/ours")) == {
        "PATH": "/bin",
        "HOME": "/h",
        "FLWR_HOME": "/run/ours",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


@pytest.mark.parametrize(
    ("said_by_flower", "shown"),
    [
        ({"query": "INSERT INTO x", "data": {"content": b"PAYLOAD"}}, "a query failed: INSERT"),
        ("[/v1/x][ApiError:7] a key", None),
        ("[/v1/x][UnexpectedError:KeyError] 'x'", "UnexpectedError"),
    ],
)
def test_the_log_says_what_is_unexpected_and_no_payload(
    said_by_flower: Any, shown: str | None
) -> None:
    record = logging.LogRecord("flwr", logging.ERROR, "", 0, said_by_flower, None, None)
    assert without_contents(record) == (shown is not None)
    if shown:
        assert shown in record.getMessage()
        assert "PAYLOAD" not in record.getMessage()

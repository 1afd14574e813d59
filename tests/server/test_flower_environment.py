from pathlib import Path

from fieldfare.server.flower_environment import flower_environment


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

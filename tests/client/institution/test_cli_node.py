"""`institution node` before it connects; with a SuperLink it is tested in tests/deployment."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.institution.cli_node import node_environment

COMMAND: Final = Path(sys.executable).with_name("fieldfare")


def test_without_settings_it_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "institution", "node", "--home", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"fieldfare: {tmp_path}/node.toml: a readable file expected")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "FLWR_INTERNAL_GRPC_FLEET_API",
        "FLWR_TELEMETRY_ENABLED",
        "FLWR_HOME",
        "flwr_home",
        "FIELDFARE_PASSPHRASE_FILE",
        "FIELDFARE_HOME",
    ],
)
def test_nothing_around_it_steers_flwr_and_no_secret_is_handed_on(name: str) -> None:
    made = node_environment({name: "evil", "PATH": "/bin", "https_proxy": "p"}, Path("/x"))
    assert "evil" not in made.values()
    assert made == {
        "PATH": "/bin",
        "https_proxy": "p",
        "FLWR_HOME": "/x",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


def test_the_environment_of_this_process_is_left_alone(tmp_path: Path) -> None:
    before = dict(os.environ)
    node_environment(os.environ, tmp_path)
    assert dict(os.environ) == before

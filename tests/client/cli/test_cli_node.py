"""`institution node` before it connects; with a SuperLink it is tested in tests/deployment."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.cli.node import MISSING, node_environment
from fieldfare.client.node.settings import NodeSettings

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
    assert done.stderr.startswith(f"fieldfare: {tmp_path}/node.toml: expected the node's settings")
    for name in ("superlink", "bundles"):
        assert f"    {name} = " in done.stderr
    assert "Traceback" not in done.stderr


def test_what_it_asks_for_is_all_that_is_needed() -> None:
    asked = {line.split()[0] for line in MISSING.splitlines()[1:]}
    assert asked == {
        name for name, field in NodeSettings.model_fields.items() if field.is_required()
    }


def test_the_supervisor_is_small() -> None:
    """It lives as long as the node; what is in it can go wrong as long."""
    libraries = "flwr", "duckdb", "pyarrow", "numpy", "torch"
    code = f"import sys, fieldfare.client.cli.node; print({{*{libraries}}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"


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

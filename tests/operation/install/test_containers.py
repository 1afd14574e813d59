"""The containers: linted, shut in, and with a custodian that has no network."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

HERE: Final = Path(__file__).parents[3] / "containers"
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((HERE / "compose.yaml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
BANKS: Final = ("a", "b", "c")


def hadolint(file: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("hadolint")), "--no-color", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_file_is_linted(tmp_path: Path) -> None:
    assert hadolint(HERE / "Containerfile").stdout == ""
    bad = tmp_path / "Containerfile"
    bad.write_text("FROM debian\nRUN cd /x && sudo true\n")
    assert {"DL3003", "DL3004", "DL3006"} <= set(hadolint(bad).stdout.split())


def test_there_are_a_coordinator_and_three_institutions() -> None:
    names = {f"{part}-{bank}" for part in ("custodian", "node") for bank in BANKS}
    assert set(SERVICES) == {"coordinator", *names}


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_shut_in(name: str) -> None:
    found = SERVICES[name]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "cap_add" not in found
    assert "privileged" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["user"].split(":")[0] not in {"0", "root"}
    assert found["image"].startswith("localhost/fieldfare-")


@pytest.mark.parametrize("bank", BANKS)
def test_custodian_and_node_share_a_socket_and_no_network(bank: str) -> None:
    custodian, node = SERVICES[f"custodian-{bank}"], SERVICES[f"node-{bank}"]
    assert custodian["network_mode"] == "none"
    assert node["networks"] == [f"bank-{bank}"]
    assert custodian["user"] != node["user"]
    mounted = [{line.split(":")[0] for line in one["volumes"]} for one in (custodian, node)]
    assert mounted[0] & mounted[1] == {f"socket-{bank}"}
    others = {
        one for other in BANKS if other != bank for one in SERVICES[f"node-{other}"]["networks"]
    }
    assert f"bank-{bank}" not in others


def test_every_volume_and_network_is_declared() -> None:
    used = {line.split(":")[0] for one in SERVICES.values() for line in one["volumes"]}
    assert used == set(COMPOSE["volumes"])
    networks = {name for one in SERVICES.values() for name in one.get("networks", [])}
    assert networks == set(COMPOSE["networks"])


def test_a_home_lies_where_its_command_looks() -> None:
    for name, found in SERVICES.items():
        places = {line.split(":")[1] for line in found["volumes"]}
        command = found["command"]
        assert any(str(command[-1]).startswith(place) for place in places), name

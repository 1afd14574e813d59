"""The containers: linted, shut in, each custodian out of everybody's reach but its node's.

At night they are built and run: a coordinator and three institutions to an audited model.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
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


def mounted(name: str) -> set[str]:
    return {line.split(":")[0] for line in SERVICES[name]["volumes"]}


@pytest.mark.parametrize("bank", BANKS)
def test_nodes_of_two_banks_share_no_network(bank: str) -> None:
    custodian, node = SERVICES[f"custodian-{bank}"], SERVICES[f"node-{bank}"]
    assert custodian["user"] != node["user"]
    assert f"bank-{bank}" in node["networks"]
    others = {
        one for other in BANKS if other != bank for one in SERVICES[f"node-{other}"]["networks"]
    }
    assert not set(node["networks"]) & others


@pytest.mark.parametrize("bank", ["a", "b"])
def test_custodian_and_node_share_a_socket_and_no_network(bank: str) -> None:
    assert SERVICES[f"custodian-{bank}"]["network_mode"] == "none"
    assert SERVICES[f"node-{bank}"]["networks"] == [f"bank-{bank}"]
    assert mounted(f"custodian-{bank}") & mounted(f"node-{bank}") == {f"socket-{bank}"}


def test_a_custodian_on_a_network_shares_it_with_its_node_alone() -> None:
    assert SERVICES["custodian-c"]["networks"] == ["link-c"]
    assert "network_mode" not in SERVICES["custodian-c"]
    assert COMPOSE["networks"]["link-c"] == {"internal": True}
    there = {name for name, one in SERVICES.items() if "link-c" in one.get("networks", [])}
    assert there == {"custodian-c", "node-c"}
    assert not mounted("custodian-c") & mounted("node-c")


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


SCRIPT: Final = Path(__file__).with_name("containers.sh")
ROOT: Final = HERE.parent
MINUTES: Final = 60
STORAGE: Final = os.environ.get("STORAGE", "overlay")


def typed(words: list[str], environment: Mapping[str, str]) -> str:
    """What an administrator types, with Debian's podman; returns what was said."""
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * MINUTES,
        env=os.environ | environment,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    return done.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings that work on any kernel, and storage of the test's own, which takes some 4 GB."""
    room, work = (Path(mkdtemp(prefix="ff-containers-", dir="/var/tmp")) for _ in range(2))
    work.chmod(0o755)
    settings, storage = tmp_path / "containers.conf", tmp_path / "storage.conf"
    settings.write_text('[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n')
    places = f'graphroot = "{room}/kept"\nrunroot = "{room}/run"\n'
    storage.write_text(f'[storage]\ndriver = "{STORAGE}"\n{places}')
    yield {
        "CONTAINERS_CONF_OVERRIDE": str(settings),
        "CONTAINERS_STORAGE_CONF": str(storage),
        "STORAGE": STORAGE,
        "PROJECT": "fieldfare-test",
        "WORK": str(work),
    }
    subprocess.run(["umount", f"{room}/kept/{STORAGE}"], capture_output=True, check=False)
    shutil.rmtree(room)
    shutil.rmtree(work)


@pytest.mark.promises  # PART=operate alone; as root, with podman-compose, runc, nftables
def test_a_federation_in_containers(environment: dict[str, str], tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    typed([*build, "--wheel-dir", str(tmp_path), str(ROOT)], {})
    (wheel,) = tmp_path.glob("fieldfare-*.whl")
    typed([str(HERE / "build.sh"), str(wheel)], environment)
    try:
        typed(["bash", str(SCRIPT), "found"], environment)
        said = typed(["bash", str(SCRIPT), "run"], environment)
    finally:
        typed(["bash", str(SCRIPT), "down"], environment)
    assert "an audited model, and everything shut in: ok" in said

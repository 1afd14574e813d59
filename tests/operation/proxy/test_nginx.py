"""A federation of three learns through a real nginx (Debian's) while one address floods it."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from tests.security.exhaustion.test_slow_connections import Dribblers
from tests.support.federations.beds import check_whole, delivered, small_bed
from tests.support.federations.outages import until_step
from tests.support.network.coordinator import RunningSuperlink
from tests.support.system.ports import free_ports
from tests.support.system.processes import until

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.simulations.demo.testbed import Bed, in_this_process

EXAMPLE: Final = Path(__file__).parents[3] / "docs" / "proxy" / "nginx.conf"
NGINX: Final = Path("/usr/sbin/nginx")
PROXY: Final = "127.0.0.9"  # where nginx's own connections come from
ATTACKER: Final = "127.0.0.2"
MANY: Final = 100  # connections that the attacker holds, and makes anew when they are ended
LONG: Final = bool(os.environ.get("FIELDFARE_OPERATE_LONG"))
pytestmark = [
    pytest.mark.promises,
    pytest.mark.skipif(not LONG, reason="nginx: make nightly PART=operate"),
]


class ThroughNginx(RunningSuperlink):
    """A SuperLink as others reach it."""

    @property
    def public(self) -> str:
        return load_settings(self.home).address


def configured(folder: Path, listen: str, behind: str) -> Path:
    """The example with this test's ports and folder, and an address of its own for nginx."""
    text = EXAMPLE.read_text()
    for old, new in (
        ("listen 8443;", f"listen {listen};"),
        ("proxy_pass 127.0.0.1:8444;", f"proxy_pass {behind}; proxy_bind {PROXY};"),
        ("pid /run/nginx.pid;", f"pid {folder}/nginx.pid;"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "nginx.conf"
    path.write_text(text.replace("/var/log/nginx", str(folder)))
    return path


@contextmanager
def nginx(folder: Path, listen: str, behind: str) -> Iterator[None]:
    folder.mkdir()
    settings = configured(folder, listen, behind)
    command = [str(NGINX), "-c", str(settings), "-g", "daemon off;"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with (folder / "out.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            until((folder / "nginx.pid").read_text)  # `-t` made it, empty
            yield
        finally:
            process.terminate()
            process.wait(60)


def moved_behind(bed: Bed, port: int) -> tuple[str, str]:
    """Let a founded bed's SuperLink listen elsewhere, behind a proxy; returns both addresses."""
    home = CoordinatorHome(bed.coordinator_home)
    behind = f"127.0.0.1:{port}"
    text = re.sub(r"(?m)^bind = .*$", f'bind = "{behind}"', home.settings.read_text())
    home.settings.write_text(text.replace("proxies = []", f'proxies = ["{PROXY}"]'))
    return load_settings(home).address, behind


def logged(home: CoordinatorHome) -> list[dict[str, Any]]:
    return [json.loads(line) for line in home.audit_log.read_text().splitlines()]


def peers_of(home: CoordinatorHome, name: str) -> set[str]:
    return {line["peer"] for line in logged(home) if name in line["who"]}


@pytest.mark.timeout(900)
def test_a_federation_learns_while_one_address_floods(tmp_path: Path) -> None:
    """The model arrives everywhere; a node that starts in the flood is let in; the log is true."""
    bed = small_bed(tmp_path, steps=20)
    bed.command = in_this_process
    bed.found()
    home = CoordinatorHome(bed.coordinator_home)
    address, behind = moved_behind(bed, free_ports(1)[0])
    flood = Dribblers(ThroughNginx(home), [ATTACKER], MANY)
    with nginx(tmp_path / "nginx", address, behind):
        try:
            bed.start_coordinator()
            with flood.at_work():
                until(lambda: flood.all_came)
                for name in bed.names:
                    bed.start_institution(name)
                bed.until_connected()
                run = bed.run(bed.agree())
                until_step(bed, run, 1)
                bed.stop_one(bed.names[0])
                bed.start_institution(bed.names[0])
                row = bed.until_ended(run)
                time.sleep(1)
                ended_in_flood = flood.lost
            report = check_whole(bed, row)
            assert report["steps"] == report["planned_steps"] == 20
            bed.until(lambda: all(run in delivered(bed, name) for name in bed.names), "the model")
        finally:
            bed.stop()
    said = bed.log("coordinator").read_text()
    assert ended_in_flood > MANY / 4
    assert f"{ATTACKER}: expected few connections from unknown keys" in said
    assert f"{PROXY}: expected" not in said
    assert f"{PROXY}, a proxy" not in said
    assert {name: peers_of(home, name) for name in bed.names} == {
        name: {"127.0.0.1"} for name in bed.names
    }
    assert PROXY not in {line["peer"] for line in logged(home) if line["listener"] == "public"}
    passed = (tmp_path / "nginx" / "fieldfare.log").read_text()
    assert ATTACKER in passed
    assert "127.0.0.1" in passed

"""An operator puts the node on another machine: commands as typed, and the custodian's process."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from tests.client.cli.test_cli_custodian import NAME, approved, started, told
from tests.client.oversight.test_preflight_home import look
from tests.support.homes.institutions import Coordinator
from tests.support.network.calling import connected
from tests.support.network.certificates import Authority
from tests.support.system.ports import free_port

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.home.layout import Home
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import read
from fieldfare.client.node.terms import load_node_terms
from fieldfare.client.wire.tls import TlsTarget
from fieldfare.shared.cli.root import run
from fieldfare.shared.system.clock import utc_now

__all__ = ["approved"]  # a fixture


def typed(capfd: pytest.CaptureFixture[str], home: Home, *words: str) -> tuple[int, str]:
    code = run(["institution", "link", *words, "--home", str(home.path)])
    out, err = capfd.readouterr()
    return code, out + err


@pytest.fixture
def home(coordinator: Coordinator, approved: str) -> Home:
    del approved
    return coordinator.homes[NAME]


def listen(home: Home, **fields: Any) -> None:
    document = tomlkit.parse(home.settings.read_text())
    document["custodian"] = fields
    home.settings.write_text(tomlkit.dumps(document))


def test_the_node_moves_to_another_machine(
    home: Home, approved: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    listen(home, listen=f"127.0.0.1:{port}")
    assert "renews itself" in typed(capfd, home)[1]
    assert "--replace" in typed(capfd, home)[1]
    code, said = typed(capfd, home, "--out", str(tmp_path / "far" / "link"))
    assert code == 0
    settings = tmp_path / "far" / "node.toml"
    authority = Authority.make(tmp_path).folder / "authority.pem"
    authority.rename(settings.with_name("authority.pem"))
    (tmp_path / "far" / "keys").mkdir()
    shutil.copy(home.node_key, tmp_path / "far" / "keys" / "node")
    lines = [line.strip() for line in said.splitlines() if line.startswith("    ")]
    first = f'superlink = "hub:8000"\nbundles = ["{"ab" * 32}"]\n'
    settings.write_text(first + "\n".join(lines))
    target = load_node_terms(settings).custodian
    assert isinstance(target, TlsTarget)
    with started(home) as child:
        told(child, f"serving on 127.0.0.1:{port}")
        with connected(target) as remote:
            assert isinstance(remote.describe(approved), HelloAnswer)
        found = look(home, node_settings=settings, now=utc_now())
        assert "under mutual TLS" in found["sockets"].text
        assert "SuperLink hub:8000" in found["node"].text
    assert not home.custodian_socket.exists()
    kinds = [one.details.get("kind") for one in read(home.log_folder) if one.event is Event.KEY]
    assert kinds[-2:] == ["link authority made", "link certificate for the node"]
    settings.write_text(first)
    assert "expected [custodian] with" in look(home, node_settings=settings)["node"].text


def test_nothing_is_made_for_a_custodian_that_listens_at_a_socket(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "expected listen under [custodian]" in typed(capfd, home)[1]
    assert not home.link.exists()
    code, said = typed(capfd, home, "--out", str(tmp_path / "far"))
    assert code != 0
    assert "expected listen under [custodian]" in said
    listen(home, listen="127.0.0.1:7443")
    assert typed(capfd, home, "--out", str(tmp_path / "near"))[0] == 0  # and the authority
    assert home.link_authority.exists()
    listen(home)
    code, said = typed(capfd, home, "--out", str(tmp_path / "far"))
    assert (code, "port = 0" in said) == (2, False)
    assert not (tmp_path / "far").exists()

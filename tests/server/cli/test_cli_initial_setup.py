"""`coordinator init`, `renew` and `invitation` as a user calls them: through the root command."""

import re
import socket
from pathlib import Path

import pytest

from fieldfare.server.cli import coordinator as cli_founding
from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public, signing_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.members.publication import present_invitation
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.system.certificates import valid_until


def init(folder: Path, *options: str) -> int:
    arguments = ["coordinator", "init", "Example coordinator", "--home", str(folder)]
    return run([*arguments, "--address", "coordinator.example.org:8443", *options])


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery\n")
    path.chmod(0o600)
    return path


def test_init_makes_a_home_prints_the_fingerprint_and_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(tmp_path / "coordinator") == 0
    home = CoordinatorHome.open(tmp_path / "coordinator")
    out = capsys.readouterr().out
    assert f"coordinator  {fingerprint(bytes.fromhex(roster_public(home)))}\n" in out
    assert str(home.invitation) in out
    assert f"coordinator enrol FILE... --home {tmp_path / 'coordinator'}" in out
    invitation = present_invitation(home)
    assert invitation is not None
    assert invitation.roster_key == roster_public(home)


def test_a_second_coordinator_gets_another_port_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        taken = place.getsockname()[1]
        monkeypatch.setattr(cli_founding, "DEFAULT_LOCAL_PORT", taken)
        assert init(tmp_path / "coordinator") == 0
        chosen = load_settings(CoordinatorHome.open(tmp_path / "coordinator")).local_port
        assert taken < chosen <= taken + 100
        said = capsys.readouterr().out
        assert (
            f"its local_port is {chosen}: something else, another coordinator perhaps, has {taken}"
            in said
        )
        assert init(tmp_path / "given", "--local-port", str(taken)) == 0  # who names one, means it
    assert load_settings(CoordinatorHome.open(tmp_path / "given")).local_port == taken


def test_init_takes_every_option(tmp_path: Path) -> None:
    options = ["--bind", "10.0.0.1:9000", "--contact", "Ann", "--local-port", "9001"]
    assert (
        init(tmp_path / "coordinator", *options, "--dns", "other.example.org", "--dns", "10.0.0.1")
        == 0
    )
    settings = load_settings(CoordinatorHome.open(tmp_path / "coordinator"))
    assert (settings.bind, settings.contact, settings.local_port) == ("10.0.0.1:9000", "Ann", 9001)
    assert settings.names == ("other.example.org", "10.0.0.1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--address", "coordinator"], "host:port"),
        (["--bind", "eth_0:1"], "bind"),
        (["--dns", "*.example.org"], "names"),
        (["--local-port", "8443"], "local_port"),
        (["--contact", "two\nlines"], "contact"),
        (["--passphrase-file", "/nowhere"], "readable file"),
    ],
)
def test_a_mistake_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str | None
) -> None:
    status = init(tmp_path / "coordinator", *options)
    if said is None:  # a name that this host may or may not have
        assert status == 0
        return
    assert status == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert not (tmp_path / "coordinator").exists()


def test_init_overwrites_nothing(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signing_public(coordinator_home)
    assert init(coordinator_home.path) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert signing_public(coordinator_home) == before


def test_a_passphrase_is_needed_where_something_is_signed(
    tmp_path: Path, passphrase: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "coordinator"
    assert init(home, "--passphrase-file", str(passphrase)) == 0
    assert "under your passphrase" in capsys.readouterr().out
    load_signing_key(CoordinatorHome.open(home), b"correct horse battery")
    assert run(["coordinator", "invitation", "--home", str(home)]) == 2
    assert "passphrase" in capsys.readouterr().err
    options = ["--home", str(home), "--passphrase-file", str(passphrase)]
    assert run(["coordinator", "invitation", *options]) == 0
    renew = ["coordinator", "renew", "certificate", "--home", str(home)]
    assert run(renew) == 0  # the authority has none


def test_renew_makes_another_certificate_and_says_until_when(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    before = coordinator_home.server_certificate.read_bytes()
    authority = coordinator_home.authority.read_bytes()
    assert run(["coordinator", "renew", "certificate", "--home", str(coordinator_home.path)]) == 0
    after = coordinator_home.server_certificate.read_bytes()
    assert after != before
    assert f"valid until {valid_until(after):%Y-%m-%d}" in capsys.readouterr().out
    assert coordinator_home.authority.read_bytes() == authority


def test_a_home_that_others_can_reach_does_nothing(
    coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator_home.authority_key.chmod(0o644)
    for command in ("renew certificate", "invitation", "members", "roster"):
        words = ["coordinator", *command.split(), "--home", str(coordinator_home.path)]
        assert run(words) == 2, command
        assert "chmod 600" in capsys.readouterr().err


def test_an_invitation_is_made_anew_and_says_what_changed(
    coordinator_home: CoordinatorHome,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ["coordinator", "invitation", "--home", str(coordinator_home.path)]
    assert run(arguments) == 0
    first = coordinator_home.invitation.read_bytes()
    assert run([*arguments, "--out", str(tmp_path / "copy.json")]) == 0
    assert (
        (tmp_path / "copy.json").read_bytes() == first == coordinator_home.invitation.read_bytes()
    )
    assert "hanged" not in capsys.readouterr().out
    assert run([*arguments, "--out", str(tmp_path / "copy.json")]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    text = coordinator_home.settings.read_text()
    coordinator_home.settings.write_text(
        text.replace('name = "Example coordinator"', 'name = "Renamed"')
    )
    assert run(arguments) == 0
    assert re.search(r"invites to Renamed at .*\n.*\nIt changed", capsys.readouterr().out)
    text = coordinator_home.settings.read_text()
    coordinator_home.settings.write_text(text.replace("coordinator.example.org", "new.example.org"))
    assert run(arguments) == 0
    assert (
        "not good for new.example.org: fieldfare coordinator renew certificate"
        in capsys.readouterr().out
    )
    monkeypatch.setattr("fieldfare.server.home.initial_setup.build_bundle", lambda: b"upgraded")
    assert run(arguments) == 0
    assert "THE BUNDLE CHANGED" in capsys.readouterr().out

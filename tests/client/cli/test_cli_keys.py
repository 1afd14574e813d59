"""`institution init` and `institution keys ...` as a user calls them: through the root command."""

import re
from pathlib import Path

import pytest

from fieldfare.client.home.keys import (
    identity_fingerprint,
    load_identity,
    load_node_key,
    node_fingerprint,
    public_identity,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy, pinned_coordinator
from fieldfare.shared.cli.root import run
from fieldfare.shared.protocol.identity import (
    check_revocation,
    check_rotation,
    fingerprint,
    public_hex,
)

KEY = "a1" * 32


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, on one line."""
    return re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("correct horse battery\n")
    path.chmod(0o600)
    return path


def test_init_makes_a_home_and_prints_both_fingerprints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["institution", "init", "--home", str(tmp_path / "h"), "--id", "bank-a"]) == 0
    home = Home.open(tmp_path / "h")
    said = told(capsys)
    assert f"identity {identity_fingerprint(home)}" in said
    assert f"node {node_fingerprint(home)}" in said
    assert "no passphrase" in said
    load_identity(home, None)


def test_init_pins_the_coordinator_and_tells_its_fingerprint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--home", str(tmp_path / "h"), "--id", "bank-a", "--coordinator-key", KEY]
    assert run(["institution", "init", *arguments]) == 0
    assert f"coordinator {fingerprint(bytes.fromhex(KEY))}" in told(capsys)
    home = Home.open(tmp_path / "h")
    assert pinned_coordinator(home, load_policy(home)) == KEY


@pytest.mark.parametrize("how", ["option", "environment"])
def test_init_puts_the_identity_under_a_passphrase_from_a_file(
    tmp_path: Path,
    passphrase: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["institution", "init", "--home", str(tmp_path / "h"), "--id", "bank-a"]
    if how == "option":
        arguments += ["--passphrase-file", str(passphrase)]
    else:
        monkeypatch.setenv("FIELDFARE_PASSPHRASE_FILE", str(passphrase))
    assert run(arguments) == 0
    said = told(capsys)
    assert "under your passphrase" in said
    assert "correct horse" not in said
    load_identity(Home.open(tmp_path / "h"), b"correct horse battery")


def test_init_overwrites_nothing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    before = public_identity(home)
    assert run(["institution", "init", "--home", str(home.path), "--id", "bank-b"]) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert public_identity(home) == before


@pytest.mark.parametrize(
    "wrong", [["--id", "coordinator"], ["--id", "b", "--coordinator-key", "x"]]
)
def test_init_with_bad_input_makes_nothing(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["institution", "init", "--home", str(tmp_path / "h"), *wrong]) == 2
    assert capsys.readouterr().err.startswith("fieldfare: ")
    assert not (tmp_path / "h").exists()


def test_init_with_an_open_passphrase_file_makes_nothing(
    tmp_path: Path, passphrase: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    passphrase.chmod(0o644)
    arguments = ["--home", str(tmp_path / "h"), "--id", "b", "--passphrase-file", str(passphrase)]
    assert run(["institution", "init", *arguments]) == 2
    assert "chmod 600" in capsys.readouterr().err
    assert not (tmp_path / "h").exists()


def test_show_tells_the_fingerprints_without_a_passphrase(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["institution", "keys", "--home", str(home.path)]) == 0
    expected = f"identity {identity_fingerprint(home)} node {node_fingerprint(home)}"
    assert told(capsys).strip() == expected


def test_rotate_tells_both_fingerprints_and_what_to_send(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    old, before = public_identity(home), identity_fingerprint(home)
    assert run(["institution", "keys", "rotate", "--home", str(home.path)]) == 0
    said = told(capsys)
    statement = home.rotations / f"{old}.signed"
    assert f"old {before} new {identity_fingerprint(home)}" in said
    assert f"Send {statement} to the coordinator" in said
    assert check_rotation(statement.read_bytes(), "bank-a", old).new == public_identity(home)


def test_revoke_writes_a_private_file_and_overwrites_none(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "revocation"
    arguments = ["institution", "keys", "revoke", "--home", str(home.path), "--out", str(out)]
    assert run(arguments) == 0
    assert "no party can undo that" in told(capsys)
    assert out.stat().st_mode & 0o777 == 0o600
    key = public_hex(load_identity(home, None))
    assert check_revocation(out.read_bytes(), "bank-a", key).key == key
    assert run(arguments) == 2


@pytest.mark.parametrize("command", ["", "rotate", "revoke"])
def test_a_home_that_others_can_reach_is_not_used(
    home: Home, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    home.path.chmod(0o755)
    before = public_identity(home)
    more = ["--out", str(tmp_path / "out")] if command == "revoke" else []
    assert run(["institution", "keys", *command.split(), "--home", str(home.path), *more]) == 2
    assert "chmod 700" in capsys.readouterr().err
    assert public_identity(home) == before


def test_renewing_the_node_key_leaves_the_identity(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    before, identity = node_fingerprint(home), public_identity(home)
    assert run(["institution", "keys", "rotate", "node", "--home", str(home.path)]) == 0
    assert node_fingerprint(home) != before
    said = told(capsys)
    assert f"node {node_fingerprint(home)}" in said
    assert "institution join INVITATION" in said
    assert public_identity(home) == identity
    load_node_key(home)
    assert Home.open(home.path) == home

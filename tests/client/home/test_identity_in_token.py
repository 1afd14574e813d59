"""An institution whose identity is in a token does what every other does; its PIN is nowhere."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, all_bytes, clock, home_study
from tests.support.homes.runs import finished_run
from tests.support.system.tokens import PIN, Token

from fieldfare.client.home.keys import load_identity, public_identity, rotate_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.open import open_custody
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.system.token_keys import TokenKey


@pytest.fixture
def home(token: Token, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    made = Home(tmp_path / "bank")
    init = ["institution", "init", "--id", "bank-a", "--home", str(made.path)]
    assert run([*init, "--key", token.uri(), "--passphrase-file", str(token.pin_file)]) == 0
    assert "identity's key is in its token" in capsys.readouterr().out
    return made


def test_a_home_holds_the_place_of_the_key_and_no_pin(home: Home) -> None:
    assert not home.identity_key.exists()
    key = load_identity(home, PIN)
    assert isinstance(key, TokenKey)
    assert public_identity(home) == public_hex(key)
    assert PIN not in all_bytes(home).replace(public_hex(key).encode(), b"")
    with pytest.raises(KeysError, match="expected the PIN"):
        load_identity(home, None)


def test_a_pin_in_a_uri_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = "pkcs11:token=bank;object=key?module-path=/x.so&pin-value=4711"
    init = ["institution", "init", "--id", "bank-a", "--home", str(tmp_path / "bank")]
    assert run([*init, "--key", uri]) == 2
    said = capsys.readouterr().err
    assert "without a PIN" in said
    assert "4711" not in said
    assert not [*tmp_path.iterdir()]


def head(home: Home, pin: bytes, *, by_descriptor: bool) -> "subprocess.CompletedProcess[str]":
    """Sign the log's head in a process of its own, which has not logged in yet."""
    reading, writing = os.pipe()
    os.write(writing, pin + b"\n")
    os.close(writing)
    where = f"/dev/fd/{reading}" if by_descriptor else "/dev/stdin"
    command = [sys.executable, "-m", "fieldfare", "institution", "head"]
    try:
        return subprocess.run(
            [*command, "--home", str(home.path), "--passphrase-file", where],
            stdin=None if by_descriptor else reading,
            pass_fds=[reading],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(reading)


def test_a_pin_comes_by_a_descriptor_and_a_wrong_one_is_told(home: Home) -> None:
    Journal.open(home.log_folder, clock=clock).close()
    assert '"type":"fieldfare.journal-head.v1"' in head(home, PIN, by_descriptor=True).stdout
    assert head(home, PIN, by_descriptor=False).returncode == 0
    wrong = head(home, b"99999", by_descriptor=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the PIN is another one" in wrong.stderr
    assert "99999" not in wrong.stderr


def test_the_next_key_needs_a_place_of_its_own(home: Home, token: Token) -> None:
    before = public_identity(home)
    with pytest.raises(KeysError, match="expected a place for the new key too"):
        rotate_identity(home, "bank-a", PIN)
    done = rotate_identity(home, "bank-a", PIN, uri=token.uri(), pin=PIN)
    assert (done.old, done.new) == (before, public_identity(home))
    assert public_hex(load_identity(home, PIN)) == done.new


def test_a_rotation_into_a_token_says_how_the_custodian_starts(
    coordinator: Coordinator, token: Token, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that runs cannot open the new key: it has no PIN."""
    home = str(coordinator.homes[NAMES[0]].path)
    rotate = ["institution", "keys", "rotate", "--home", home]
    assert run(rotate) == 0
    assert "PIN" not in capsys.readouterr().out
    assert run([*rotate, "--key", token.uri(), "--pin-file", str(token.pin_file)]) == 0
    assert "stop it and start it with the token's PIN" in capsys.readouterr().out


@pytest.fixture
def moved(coordinator: Coordinator, token: Token) -> Coordinator:
    """A federation where one institution has moved its identity from a file into a token."""
    home = coordinator.homes[NAMES[0]]
    rotate_identity(home, NAMES[0], None, uri=token.uri(), pin=PIN)
    assert not home.identity_key.exists()
    coordinator.pin(coordinator.roster())
    coordinator.compare()
    return coordinator


def test_a_whole_run_is_signed_in_a_token(moved: Coordinator) -> None:
    with ExitStack() as stack:
        pins = (PIN, None, None)
        custodies = [
            stack.enter_context(open_custody(moved.institution(name), pin, clock))
            for name, pin in zip(NAMES, pins, strict=True)
        ]
        finished_run(moved, custodies, home_study())
        assert custodies[0].ledger.position().sequence > 3

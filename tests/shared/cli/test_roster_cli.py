from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fieldfare.shared.cli.root import run
from fieldfare.shared.cli.study import CoordinatorKeys, parse_members, roster_of
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.signed_files import open_roster

ROSTER_KEY = Ed25519PrivateKey.generate()
ONLINE, *KEYS = [public_hex(Ed25519PrivateKey.generate()) for _ in range(3)]


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "coordinator.pem"
    path.touch(mode=0o600)
    path.write_bytes(ROSTER_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def sign(pem: Path, *arguments: str) -> int:
    return run(["roster", "sign", "--key", str(pem), "--coordinator", ONLINE, *arguments])


def test_a_signed_roster_can_be_pinned(pem: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = ["--member", f"bank b={KEYS[1]}", "--member", f"a={KEYS[0].upper()}"]

    assert sign(pem, *members, "--version", "7", "--multiplicity", "2") == 0

    told = capsys.readouterr()
    roster = open_roster(told.out.strip().encode(), public_hex(ROSTER_KEY))
    assert [(member.id, member.key) for member in roster.members] == [
        ("a", KEYS[0]),
        ("bank b", KEYS[1]),
    ]
    assert (roster.version, roster.multiplicity, roster.coordinator) == (7, 2, ONLINE)
    assert roster.hash in told.err


@pytest.mark.parametrize(
    "members",
    [
        ["bank-a"],
        [f"={KEYS[0]}"],
        ["bank-a="],
        ["bank-a=12"],
        [f"a={KEYS[0]}", f"a={KEYS[1]}"],
        [f"a={KEYS[0]}", f"b={KEYS[0]}"],
        [f"coordinator={KEYS[0]}"],
        [f"coordinator-roster={KEYS[0]}"],
    ],
    ids=["no key", "no id", "empty key", "short key", "id twice", "key twice", "online", "roster"],
)
def test_what_is_no_roster_is_not_signed(
    members: list[str], pem: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sign(pem, *[word for member in members for word in ("--member", member)]) == 2

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fieldfare: ")


def test_a_key_that_others_may_read_signs_nothing(
    pem: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pem.chmod(0o644)

    assert sign(pem, "--member", f"a={KEYS[0]}") == 2
    assert capsys.readouterr().out == ""


def test_an_id_may_hold_an_equals_sign() -> None:
    assert parse_members([f"a=b={KEYS[0]}"]) == [("a=b", KEYS[0])]


@pytest.mark.parametrize(
    "keys",
    [(KEYS[0], ONLINE), (ONLINE, KEYS[0]), (ONLINE, ONLINE)],
    ids=["online", "roster", "one for both"],
)
def test_no_two_parties_have_one_key(keys: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="key of its own"):
        roster_of([("a", KEYS[0])], keys=CoordinatorKeys(*keys), version=1, multiplicity=1)

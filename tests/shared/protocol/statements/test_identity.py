"""Statements that change or take back an identity: both keys sign, and nobody else can."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.errors import KeysError, ProtocolError
from fieldfare.shared.protocol.identity import (
    KeyRevocation,
    KeyRotation,
    check_revocation,
    check_rotation,
    fingerprint,
    matches_fingerprint,
    parse_public_hex,
    public_hex,
    state_revocation,
    state_rotation,
)
from fieldfare.shared.protocol.messages import Approval, IdentitySigner, MessageBody, sign_envelope

OLD, NEW, THIEF = (Ed25519PrivateKey.from_private_bytes(bytes([b]) * 32) for b in b"onT")
BANK = "bank-a"


def signed(body: MessageBody, *keys: Ed25519PrivateKey, by: str = BANK) -> bytes:
    return b"\n".join(sign_envelope(body, by, IdentitySigner(key)) for key in keys)


def rotation(
    institution: str = BANK, old: Ed25519PrivateKey = OLD, new: Ed25519PrivateKey = NEW
) -> KeyRotation:
    return KeyRotation(institution=institution, old=public_hex(old), new=public_hex(new))


def test_a_rotation_says_from_which_key_to_which() -> None:
    statement = state_rotation(BANK, OLD, NEW)
    assert check_rotation(statement, BANK, public_hex(OLD)) == rotation()
    assert KeyRotation.TYPE == "fieldfare.key-rotation.v1"


def test_rotations_chain() -> None:
    first = check_rotation(state_rotation(BANK, OLD, NEW), BANK, public_hex(OLD))
    second = check_rotation(state_rotation(BANK, NEW, THIEF), BANK, first.new)
    assert second.new == public_hex(THIEF)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one signature, the old key's": lambda: signed(rotation(), OLD),
    "the old key twice": lambda: signed(rotation(), OLD, OLD),
    "the new key twice": lambda: signed(rotation(), NEW, NEW),
    "the wrong way round": lambda: signed(rotation(), NEW, OLD),
    "a third signature": lambda: signed(rotation(), OLD, NEW, NEW),
    "a line's end after it": lambda: state_rotation(BANK, OLD, NEW) + b"\n",
    "another's key claimed": lambda: signed(rotation(new=THIEF), OLD, NEW),
    "a thief without the old key": lambda: signed(rotation(new=THIEF), THIEF, THIEF),
    "two statements": lambda: signed(rotation(), OLD) + b"\n" + signed(rotation(old=THIEF), NEW),
    "another institution's": lambda: state_rotation("bank-b", OLD, NEW),
    "another institution in the body": lambda: signed(rotation("bank-b"), OLD, NEW),
    "another old key in the body": lambda: signed(rotation(old=THIEF), OLD, NEW),
    "itself": lambda: state_rotation(BANK, OLD, OLD),
    "a revocation": lambda: b"\n".join([state_revocation(BANK, OLD)] * 2),
    "a changed digit": lambda: state_rotation(BANK, OLD, NEW).replace(
        public_hex(NEW).encode(), public_hex(THIEF).encode()
    ),
}


@pytest.mark.parametrize("made", HOSTILE.values(), ids=list(HOSTILE))
def test_no_other_rotation_is_believed(made: Callable[[], bytes]) -> None:
    with pytest.raises(ProtocolError):
        check_rotation(made(), BANK, public_hex(OLD))


def test_a_rotation_is_used_once() -> None:
    """After it the roster has the new key, so the same statement changes nothing."""
    with pytest.raises(ProtocolError):
        check_rotation(state_rotation(BANK, OLD, NEW), BANK, public_hex(NEW))


def test_a_revocation_is_signed_by_its_key_alone() -> None:
    statement = state_revocation(BANK, OLD)
    found = check_revocation(statement, BANK, public_hex(OLD))
    assert found == KeyRevocation(institution=BANK, key=public_hex(OLD))
    assert KeyRevocation.TYPE == "fieldfare.key-revocation.v1"


NO_REVOCATION: dict[str, Callable[[], bytes]] = {
    "by another key": lambda: signed(KeyRevocation(institution=BANK, key=public_hex(OLD)), THIEF),
    "of another key": lambda: signed(KeyRevocation(institution=BANK, key=public_hex(NEW)), OLD),
    "by another institution": lambda: state_revocation("bank-b", OLD),
    "another in the body": lambda: signed(
        KeyRevocation(institution="bank-b", key=public_hex(OLD)), OLD
    ),
    "a rotation": lambda: state_rotation(BANK, OLD, NEW),
    "an approval": lambda: signed(
        Approval(
            study="1" * 64,
            roster="1" * 64,
            institution=BANK,
            number=1,
            epoch=1,
        ),
        OLD,
    ),
}


@pytest.mark.parametrize("made", NO_REVOCATION.values(), ids=list(NO_REVOCATION))
def test_no_other_revocation_is_believed(made: Callable[[], bytes]) -> None:
    with pytest.raises(ProtocolError):
        check_revocation(made(), BANK, public_hex(OLD))


def test_a_fingerprint_is_what_sha256sum_says_in_groups_of_four(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(OLD.public_key().public_bytes_raw())
    told = subprocess.run(
        ["sha256sum", tmp_path / "key"], capture_output=True, text=True, check=True
    ).stdout
    groups = fingerprint(OLD.public_key().public_bytes_raw()).split(" ")
    assert [len(group) for group in groups] == [4] * 16
    assert "".join(groups) == told.split()[0]


def test_a_whole_fingerprint_matches_however_it_is_spaced() -> None:
    public, other = OLD.public_key().public_bytes_raw(), NEW.public_key().public_bytes_raw()
    told = fingerprint(public)
    for said in (told, told.replace(" ", ""), told.upper().replace(" ", ":"), f" {told}\n"):
        assert matches_fingerprint(said, public)
        assert not matches_fingerprint(said, other)
    for said in ("", told[:-1], told[5:], told + "0", told.replace(told[0], "g")):
        assert not matches_fingerprint(said, public)


def test_a_public_keys_file_is_one_line_of_hex() -> None:
    for ending in (b"", b"\n", b"\r\n"):
        assert parse_public_hex(public_hex(OLD).encode() + ending, "file") == public_hex(OLD)
    for content in (b"", b"ab" * 31, b"AB" * 32, b"ab" * 33, b"\xff" * 64, b"ab" * 32 + b"\nab"):
        with pytest.raises(KeysError, match=r"^file: expected 64 hexadecimal"):
            parse_public_hex(content, "file")

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.system.key_files import read_passphrase, read_signing_key, signing_pem
from fieldfare.shared.system.private_files import create_private

PASSPHRASE = b"correct horse battery"
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_is_read_as_it_was_written(tmp_path: Path, passphrase: bytes | None) -> None:
    create_private(tmp_path / "key", signing_pem(KEY, passphrase))
    assert public_hex(read_signing_key(tmp_path / "key", passphrase)) == public_hex(KEY)
    wrong = None if passphrase else PASSPHRASE
    with pytest.raises(KeysError, match=r"passphrase|without any found"):
        read_signing_key(tmp_path / "key", wrong)


def test_each_writing_under_a_passphrase_has_a_salt_of_its_own() -> None:
    assert signing_pem(KEY, PASSPHRASE) != signing_pem(KEY, PASSPHRASE)


def test_another_passphrase_or_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    create_private(tmp_path / "key", signing_pem(KEY, PASSPHRASE))
    with pytest.raises(KeysError, match="expected this key's passphrase"):
        read_signing_key(tmp_path / "key", b"another passphrase")
    curve = ec.generate_private_key(ec.SECP384R1())
    pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    create_private(tmp_path / "curve", pem)
    with pytest.raises(KeysError, match="Ed25519"):
        read_signing_key(tmp_path / "curve", None)


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    create_private(tmp_path / "key", signing_pem(KEY, None))
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(KeysError, match="chmod 600"):
        read_signing_key(tmp_path / "key", None)


def test_a_passphrase_is_a_private_files_one_line(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    assert read_passphrase(None) is None
    for ending in (b"", b"\n", b"\r\n"):
        path.write_bytes(b" spaces count " + ending)
        path.chmod(0o600)
        assert read_passphrase(path) == b" spaces count "


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"elevenbytes", b"x" * 1025, b"two lines of\npassphrase\n"]
)
def test_what_is_no_passphrase_is_refused_and_never_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeysError) as refused:
        read_passphrase(path)
    assert "elevenbytes" not in str(refused.value)


def test_a_passphrase_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE)
    path.chmod(0o644)
    with pytest.raises(KeysError, match="chmod 600"):
        read_passphrase(path)

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fieldfare.shared.errors import KeysError
from fieldfare.shared.system.key_files import ROUNDS, plain_pem, protected_pem

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
PASSPHRASE = b"correct horse battery"
PEM = protected_pem(KEY, PASSPHRASE, salt=b"s" * 16, iv=b"i" * 16)

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl not installed")


def raw(pem: bytes, passphrase: bytes | None) -> bytes:
    key = load_pem_private_key(pem, passphrase)
    assert isinstance(key, Ed25519PrivateKey)
    return key.private_bytes_raw()


def test_the_library_reads_what_was_written() -> None:
    assert raw(PEM, PASSPHRASE) == raw(plain_pem(KEY), None) == b"k" * 32


def test_another_passphrase_does_not_open_it() -> None:
    for wrong in (b"correct horse batterz", b"x", None):
        with pytest.raises((ValueError, TypeError)):
            load_pem_private_key(PEM, wrong)


def test_salt_and_iv_change_everything_that_is_secret() -> None:
    other_salt = protected_pem(KEY, PASSPHRASE, salt=b"t" * 16, iv=b"i" * 16)
    assert other_salt.split()[-5:] != PEM.split()[-5:]
    assert b"k" * 32 not in PEM


@pytest.mark.parametrize(
    ("passphrase", "salt", "iv"),
    [(b"", 16, 16), (PASSPHRASE, 15, 16), (PASSPHRASE, 16, 17), (PASSPHRASE, 0, 16)],
)
def test_nothing_weaker_is_written(passphrase: bytes, salt: int, iv: int) -> None:
    with pytest.raises(KeysError):
        protected_pem(KEY, passphrase, salt=bytes(salt), iv=bytes(iv))


@needs_openssl
def test_openssl_opens_it_and_counts_its_rounds(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(PEM)
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    source = f"file:{tmp_path / 'passphrase'}"
    opened = subprocess.run(
        ["openssl", "pkey", "-in", tmp_path / "key.pem", "-passin", source],
        capture_output=True,
        check=True,
    ).stdout
    assert raw(opened, None) == b"k" * 32
    told = subprocess.run(
        ["openssl", "asn1parse", "-in", tmp_path / "key.pem"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ROUNDS >= 600_000
    assert f":{ROUNDS:06X}" in told
    assert all(word in told for word in ("PBES2", "PBKDF2", "hmacWithSHA256", "aes-256-cbc"))

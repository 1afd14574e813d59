"""Ed25519 signing keys on disk, with or without a passphrase: written, and loaded with care."""

import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fieldfare.shared.errors import KeysError
from fieldfare.shared.private_files import read_private
from fieldfare.shared.protected_key import IV_BYTES, SALT_BYTES, plain_pem, protected_pem

LEAST_PASSPHRASE: Final = 12  # bytes; PBKDF2 slows a guesser down, it does not stop one
MOST_PASSPHRASE: Final = 1024


def read_passphrase(path: Path | None) -> bytes | None:
    """Read a passphrase from a private file or a pipe: its first line, without the line's end.

    Raises:
        KeysError: not readable or open to others, several lines, or of a length that is no
            passphrase's.
    """
    if path is None:
        return None
    content = read_private(path).removesuffix(b"\n").removesuffix(b"\r")
    if not LEAST_PASSPHRASE <= len(content) <= MOST_PASSPHRASE or b"\n" in content:
        raise KeysError(
            f"{path}: expected one line of {LEAST_PASSPHRASE} to {MOST_PASSPHRASE} bytes as the "
            "passphrase, found another form"
        )
    return content


def signing_pem(key: Ed25519PrivateKey, passphrase: bytes | None) -> bytes:
    """Return a key as PKCS8 PEM, under the passphrase where one is given."""
    if passphrase is None:
        return plain_pem(key)
    salt, iv = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(IV_BYTES)
    return protected_pem(key, passphrase, salt=salt, iv=iv)


def read_signing_key(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Load an Ed25519 key.

    Raises:
        KeysError: missing, open to others, another kind of key, or a wrong, missing or needless
            passphrase.
    """
    content = read_private(path)
    try:
        key = load_pem_private_key(content, passphrase)
    except TypeError:  # the library's answer where exactly one of file and caller has one
        raise _needs_passphrase(path, given=passphrase is not None) from None
    except (ValueError, UnsupportedAlgorithm):
        expected = "this key's passphrase" if passphrase is not None else "a PKCS8 PEM key"
        raise KeysError(
            f"{path}: expected {expected}, found another or a damaged file: check the passphrase "
            "file, or restore the key from your backup"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeysError(f"{path}: expected an Ed25519 key, found another kind; restore the key")
    return key


def _needs_passphrase(path: Path, *, given: bool) -> KeysError:
    if given:
        return KeysError(
            f"{path}: expected a key under the passphrase given, found one without any: leave the "
            "passphrase out, or find out who took it off"
        )
    return KeysError(
        f"{path}: expected a passphrase, found none: name its file with --passphrase-file or "
        "FIELDFARE_PASSPHRASE_FILE"
    )

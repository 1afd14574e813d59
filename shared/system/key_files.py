"""Ed25519 signing keys on disk, with or without a passphrase: written, and loaded with care.

A private key under a passphrase: PKCS8 that other tools open, with a costly guess.

`cryptography` writes PBES2 with 2,048 rounds of PBKDF2 and offers no other number; a stolen
file would cost a guesser microseconds a try. So the frame is written here, and everything
in it (PBKDF2, AES, reading it back) is the library's.
"""

import base64
import secrets
import textwrap
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from fieldfare.shared.errors import KeysError
from fieldfare.shared.system.private_files import read_private

ROUNDS: Final = 600_000  # OWASP's password storage cheat sheet (2023) for PBKDF2-HMAC-SHA256
SALT_BYTES: Final = 16
IV_BYTES: Final = 16
KEY_BYTES: Final = 32

# Object identifiers, DER contents: RFC 8018 appendices A.2 and A.4, B.1.2; NIST AES 42.
_PBES2: Final = bytes.fromhex("2a864886f70d01050d")
_PBKDF2: Final = bytes.fromhex("2a864886f70d01050c")
_HMAC_SHA256: Final = bytes.fromhex("2a864886f70d0209")
_AES256_CBC: Final = bytes.fromhex("60864801650304012a")
_INTEGER, _OCTETS, _NULL, _OID, _SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30  # ITU-T X.690


def plain_pem(key: Ed25519PrivateKey) -> bytes:
    """Return a key as PKCS8 PEM without a passphrase (RFC 5958, RFC 8410)."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def protected_pem(key: Ed25519PrivateKey, passphrase: bytes, *, salt: bytes, iv: bytes) -> bytes:
    """Return a key as encrypted PKCS8 PEM: PBES2, PBKDF2-HMAC-SHA256, AES-256-CBC (RFC 8018).

    Args:
        key: what is protected.
        passphrase: any bytes, at least one.
        salt: 16 fresh random bytes.
        iv: 16 fresh random bytes.

    Raises:
        KeysError: an empty passphrase, or a salt or iv of another length.
    """
    if not passphrase or len(salt) != SALT_BYTES or len(iv) != IV_BYTES:
        raise KeysError("expected a passphrase, 16 bytes of salt and 16 of iv")
    derived = PBKDF2HMAC(hashes.SHA256(), KEY_BYTES, salt, ROUNDS).derive(passphrase)
    padder = padding.PKCS7(algorithms.AES256.block_size).padder()
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    encryptor = Cipher(algorithms.AES256(derived), modes.CBC(iv)).encryptor()
    secret = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    return _pem(_der(_SEQUENCE, _scheme(salt, iv), _der(_OCTETS, secret)))


def _scheme(salt: bytes, iv: bytes) -> bytes:
    """Return the AlgorithmIdentifier of PBES2 with its parameters (RFC 8018 appendix A.4)."""
    rounds = _der(_INTEGER, ROUNDS.to_bytes(3, "big"))  # 0x0927c0: the top bit is clear
    prf = _der(_SEQUENCE, _der(_OID, _HMAC_SHA256), _der(_NULL))
    parameters = _der(_SEQUENCE, _der(_OCTETS, salt), rounds, prf)
    derivation = _der(_SEQUENCE, _der(_OID, _PBKDF2), parameters)
    encryption = _der(_SEQUENCE, _der(_OID, _AES256_CBC), _der(_OCTETS, iv))
    return _der(_SEQUENCE, _der(_OID, _PBES2), _der(_SEQUENCE, derivation, encryption))


def _der(tag: int, *parts: bytes) -> bytes:
    """Frame content of fewer than 256 bytes (ITU-T X.690 section 8.1.3)."""
    content = b"".join(parts)
    length = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])  # noqa: PLR2004
    return bytes([tag]) + length + content


def _pem(der: bytes) -> bytes:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)  # RFC 7468 section 2
    label = "ENCRYPTED PRIVATE KEY"
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


# -- key files ------------------------------------------------------------------------------------

LEAST_PASSPHRASE: Final = 12  # bytes; PBKDF2 slows a guesser down, it does not stop one
MOST_PASSPHRASE: Final = 1024
LEAST_PIN: Final = 4


def read_passphrase(path: Path | None, least: int = LEAST_PASSPHRASE) -> bytes | None:
    """Read a passphrase from a private file or a pipe: its first line, without the line's end.

    Args:
        path: the file, a pipe or an open descriptor (/dev/fd/3); None where there is none.
        least: its fewest bytes; a token's PIN may be shorter, since the token counts tries.

    Raises:
        KeysError: not readable or open to others, several lines, or of a length that is no
            passphrase's.
    """
    if path is None:
        return None
    content = read_private(path).removesuffix(b"\n").removesuffix(b"\r")
    if not least <= len(content) <= MOST_PASSPHRASE or b"\n" in content:
        raise KeysError(
            f"{path}: expected one line of {least} to {MOST_PASSPHRASE} bytes as the "
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


def read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a node key, as strictly as Flower and a little more; a node may have no home.

    Raises:
        KeysError: missing, open to others, under a passphrase, or no NIST P-384 key.
    """
    content = read_private(path)
    try:
        key = load_ssh_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it has a passphrase
        raise KeysError(
            f"{path}: expected a key in OpenSSH format without a passphrase, found another or a "
            "damaged file; restore the key"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise KeysError(f"{path}: expected a NIST P-384 key, found another kind; restore the key")
    return key

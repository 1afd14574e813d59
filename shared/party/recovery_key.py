"""The recovery key: opens backups, is made offline, and its private half never lies in a home.

HPKE (RFC 9180) with the hybrid of ML-KEM-768 (FIPS 203) and X25519 (RFC 7748): a file that is kept
for years opens only to somebody who breaks both. All of it is the library's.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import KeysError
from fieldfare.shared.protocol.identity import fingerprint
from fieldfare.shared.system.private_files import read_private, read_public

FORMAT: Final = 1
PUBLIC_SUFFIX: Final = ".pub"
_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _hex_of(length: int) -> StringConstraints:
    return StringConstraints(pattern=f"^[0-9a-f]{{{2 * length}}}$")


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = FORMAT


class _PrivateFile(_KeyFile):
    type: Literal["fieldfare-recovery-private"] = "fieldfare-recovery-private"
    mlkem768: Annotated[str, _hex_of(64)]  # the seed of FIPS 203, Algorithm 16: d and z
    x25519: Annotated[str, _hex_of(32)]


class _PublicFile(_KeyFile):
    type: Literal["fieldfare-recovery-public"] = "fieldfare-recovery-public"
    mlkem768: Annotated[str, _hex_of(1184)]
    x25519: Annotated[str, _hex_of(32)]


@dataclass(frozen=True)
class RecoveryPublic:
    """The half that lies in a home: who has it writes backups and opens none."""

    content: bytes
    _key: MLKEM768X25519PublicKey

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a public half.

        Raises:
            KeysError: missing, or no recovery key's public half of this format.
        """
        return cls.of(read_public(path), str(path))

    @classmethod
    def of(cls, content: bytes, name: str) -> Self:
        """Parse a public half; `name` begins messages.

        Raises:
            KeysError: none of this format.
        """
        try:
            found = _PublicFile.model_validate_json(content)
            mlkem = MLKEM768PublicKey.from_public_bytes(bytes.fromhex(found.mlkem768))
            x25519 = X25519PublicKey.from_public_bytes(bytes.fromhex(found.x25519))
        except (ValidationError, ValueError):
            raise _no_key(name, "public") from None
        return cls(canonical_bytes(found) + b"\n", MLKEM768X25519PublicKey(mlkem, x25519))

    @property
    def spoken(self) -> str:
        """Its fingerprint, as it is read aloud."""
        return fingerprint(self.content)

    def encrypt(self, secret: bytes, info: bytes) -> bytes:
        """Encrypt a few bytes so that only the private half opens them, beside the same `info`."""
        return _SUITE.encrypt(secret, self._key, info=info)


@dataclass(frozen=True)
class RecoveryPrivate:
    """The half that opens backups."""

    content: bytes
    public: RecoveryPublic
    _key: MLKEM768X25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """Make a new key, from the operating system's entropy."""
        return cls._of(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a private half.

        Raises:
            KeysError: missing, open to others, or no recovery key of this format.
        """
        try:
            found = _PrivateFile.model_validate_json(read_private(path))
            mlkem = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(found.mlkem768))
            x25519 = X25519PrivateKey.from_private_bytes(bytes.fromhex(found.x25519))
        except (ValidationError, ValueError):
            raise _no_key(str(path), "private") from None
        return cls._of(mlkem, x25519)

    @classmethod
    def _of(cls, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> Self:
        private = _PrivateFile(
            mlkem768=mlkem.private_bytes_raw().hex(), x25519=x25519.private_bytes_raw().hex()
        )
        public = _PublicFile(
            mlkem768=mlkem.public_key().public_bytes_raw().hex(),
            x25519=x25519.public_key().public_bytes_raw().hex(),
        )
        return cls(
            canonical_bytes(private) + b"\n",
            RecoveryPublic.of(canonical_bytes(public), "the public half"),
            MLKEM768X25519PrivateKey(mlkem, x25519),
        )

    def decrypt(self, encrypted: bytes, info: bytes) -> bytes | None:
        """Return what was encrypted to this key beside `info`; None where something else was."""
        try:
            return _SUITE.decrypt(encrypted, self._key, info=info)
        except (InvalidTag, ValueError):
            return None


def _no_key(name: str, half: str) -> KeysError:
    return KeysError(
        f"{name}: expected the {half} half of a recovery key, format {FORMAT}, found something "
        "else: `fieldfare recovery key FILE` makes one; a later format needs the Fieldfare that "
        "wrote it"
    )

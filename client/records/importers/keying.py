"""Keyed hashes of identifiers of other people: an account elsewhere, a merchant, a reference.

HMAC-SHA256 under a key of the institution's own, which never leaves: the same account is the same
key in every import, and the key means nothing elsewhere.
"""

import hmac
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.private_files import create_private, read_private

KEY_BYTES: Final = 32
KEY_FILE: Final = Path("keys", "records.key")  # below the institution's folder


class KeyedHash:
    """HMAC-SHA256 in hex (RFC 2104), for each kind of name apart."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes.

        Raises:
            KeysError: of another length.
        """
        if len(key) != KEY_BYTES:
            raise KeysError(f"expected a records key of {KEY_BYTES} bytes, found {len(key)}")
        self._key = key

    def of(self, kind: str, name: str) -> str:
        """Return the key of one name; `kind` keeps an account and a reference apart."""
        return hmac.digest(self._key, f"{kind}\0{name}".encode(), "sha256").hex()

    def column(self, kind: str, names: Any) -> Any:
        """Return the keys of an Arrow string array; null where it is null."""
        coded = names.dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.combine_chunks()
        keys = pa.array([self.of(kind, name) for name in coded.dictionary.to_pylist()], pa.string())
        return keys.take(coded.indices)


def keyed_hash(path: Path) -> KeyedHash:
    """Return the keyed hash of the key in a private file, which is made where there is none.

    Raises:
        KeysError: the file is open to others, or holds no such key.
        UsageError: it cannot be made.
    """
    if not path.exists():
        try:
            with suppress(UsageError):  # made meanwhile
                create_private(path, secrets.token_bytes(KEY_BYTES))
        except OSError as error:
            raise UsageError(
                f"{path}: expected a place for the records key, found: {error.strerror}; say "
                "--key-file FILE"
            ) from None
    return KeyedHash(read_private(path))

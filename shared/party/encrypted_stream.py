"""A stream of bytes under a recovery key: in pieces; none can be changed, moved or cut off.

    18 bytes    "fieldfare backup" and the format, big-endian
    1168 bytes  HPKE (RFC 9180): the encapsulated key, and a fresh key of 32 bytes under it
    pieces      64 KiB each, the last one shorter: ChaCha20-Poly1305 (RFC 8439), 16 bytes longer

A piece's nonce is its number (11 bytes) and whether it is the last one (STREAM: Hoang,
Reyhanitabar, Rogaway and Vizar, "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015, section 7): in another place, or without the last one, none opens. Whoever
lacks the key sees that it is a backup, its format and its size.
"""

import secrets
from io import BufferedReader
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.party.recovery_key import RecoveryPrivate, RecoveryPublic

FORMAT: Final = 1
PIECE: Final = 64 * 1024
TAG: Final = 16
KEY_BYTES: Final = 32
ENCRYPTED_KEY: Final = 1120 + KEY_BYTES + TAG
_NAME: Final = b"fieldfare backup"
_NUMBER_BYTES: Final = 11


def is_backup(content: bytes) -> bool:
    """Tell whether a file begins as a backup of any format does."""
    return content.startswith(_NAME)


class EncryptedWriter:
    """Encrypts what is written into a file; complete only after `finish`."""

    def __init__(self, file: BinaryIO, key: RecoveryPublic) -> None:
        """Begin a stream in `file` that the private half of `key` opens.

        Raises:
            OSError: the disk refuses it.
        """
        begin = _begin(FORMAT)
        secret = secrets.token_bytes(KEY_BYTES)
        self._file, self._cipher = file, ChaCha20Poly1305(secret)
        self._left, self._number = bytearray(), 0
        file.write(begin + key.encrypt(secret, begin))

    def write(self, content: bytes) -> None:
        """Add content.

        Raises:
            OSError: the disk refuses it.
        """
        self._left += content
        while len(self._left) > PIECE:  # the last piece may be a full one
            self._put(last=False)

    def finish(self) -> None:
        """Write the last piece; without it the stream is refused.

        Raises:
            OSError: the disk refuses it.
        """
        self._put(last=True)

    def _put(self, *, last: bool) -> None:
        piece = bytes(self._left[:PIECE])
        del self._left[:PIECE]
        self._file.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, None))
        self._number += 1


class EncryptedReader:
    """Reads a stream again; every byte that it returns was written so."""

    def __init__(self, file: BufferedReader, name: str, key: RecoveryPrivate) -> None:
        """Open the stream in `file`, from its beginning; `name` begins messages.

        Raises:
            UsageError: no backup, or one of another format.
            KeysError: it is for another recovery key, or its begin was changed.
        """
        self._file, self._name = file, name
        self._cipher = ChaCha20Poly1305(self._opened_key(key))
        self._ready, self._number, self._ended = bytearray(), 0, False

    def read(self, size: int) -> bytes:
        """Return exactly `size` bytes.

        Raises:
            UsageError: it was changed, cut off, or ends before.
        """
        while len(self._ready) < size:
            if self._ended:
                raise self._damaged()
            self._next_piece()
        found = bytes(self._ready[:size])
        del self._ready[:size]
        return found

    def finish(self) -> None:
        """Check that nothing follows.

        Raises:
            UsageError: something does, or the end was cut off.
        """
        if not self._ended:
            self._next_piece()
        if self._ready or not self._ended:
            raise self._damaged()

    def _next_piece(self) -> None:
        piece = self._file.read(PIECE + TAG)
        last = not self._file.peek(1)
        try:
            self._ready += self._cipher.decrypt(_nonce(self._number, last=last), piece, None)
        except (InvalidTag, ValueError):
            raise self._damaged() from None
        self._number, self._ended = self._number + 1, last

    def _opened_key(self, key: RecoveryPrivate) -> bytes:
        begin = self._file.read(len(_begin(FORMAT)))
        if not begin.startswith(_NAME) or len(begin) != len(_begin(FORMAT)):
            raise UsageError(f"{self._name}: expected a backup of Fieldfare, found something else")
        if begin != _begin(FORMAT):
            found = int.from_bytes(begin[len(_NAME) :], "big")
            raise UsageError(
                f"{self._name}: expected a backup of format {FORMAT}, found format {found}: use "
                "the newer Fieldfare that wrote it"
            )
        secret = key.decrypt(self._file.read(ENCRYPTED_KEY), begin)
        if secret is None or len(secret) != KEY_BYTES:
            raise KeysError(
                f"{self._name}: expected a backup that this recovery key opens, found one for "
                f"another key, or a damaged start; this one is {key.public.spoken}"
            )
        return secret

    def _damaged(self) -> UsageError:
        return UsageError(
            f"{self._name}: expected a whole backup as it was written, found one that was changed "
            "or cut off: use another copy, or an earlier backup"
        )


def _begin(form: int) -> bytes:
    return _NAME + form.to_bytes(2, "big")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big") + bytes([last])

"""Signed notes, checkpoints of logs and witnesses' cosignatures, as the C2SP specifications say.

signed-note v1.0.0: a text, an empty line, signature lines. tlog-checkpoint v1.0.0: a note of an
origin, a size and a root. tlog-cosignature v1.1.0: a witness's Ed25519 signature with a time.

What is signed here holds no zero byte, and every other message that is signed holds one after its
type (docs/protocol.md, "Bytes"): none can be read as the other.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import Signer
from fieldfare.shared.transcript import merkle

SIGNED: Final = 0x01  # Ed25519 over the text (signed-note, "Signature types")
COSIGNED: Final = 0x04  # Ed25519 over a time and the text (tlog-cosignature)
KEY_BYTES: Final = 32
ID_BYTES: Final = 4
TIME_BYTES: Final = 8
LARGEST_NOTE: Final = 64 * 1024  # bytes
MOST_SIGNATURES: Final = 64
LATEST: Final = 2**63 - 1  # seconds; tlog-cosignature, "Format"

_DASH: Final = "\u2014 "
_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]{1,255}")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class NoteKey:
    """A key that notes are verified with: name, type and 32 bytes of Ed25519.

    Attributes:
        name: of the signer, often a URL without its scheme.
        kind: SIGNED or COSIGNED.
        public: RFC 8032, 32 bytes.
    """

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """SHA-256 of name, line feed, kind and public key: its first four bytes."""
        told = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(told).digest()[:ID_BYTES]

    @property
    def text(self) -> str:
        """The verifier key as one line (signed-note, "Verifier keys")."""
        public = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{public}"

    @classmethod
    def from_text(cls, text: str, kind: int) -> Self:
        """Parse a verifier key of one kind.

        Raises:
            ProtocolError: another kind, another text, or an id that is not the key's.
        """
        name, _, rest = text.partition("+")
        _, _, public = rest.partition("+")
        key = decoded(public)
        if len(key) == 1 + KEY_BYTES and key[0] == kind and _NAME.fullmatch(name):
            found = cls(name, kind, key[1:])
            if found.text == text:
                return found
        what = "a witness's (type 04)" if kind == COSIGNED else "a log's (type 01)"
        raise ProtocolError(
            f"expected {what} Ed25519 verifier key, name+id+base64, found another text"
        )


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: who says to have signed, under which key id, and the bytes."""

    name: str
    id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line, with its line feed."""
        return f"{_DASH}{self.name} {base64.b64encode(self.id + self.signature).decode()}\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Parse a line without its line feed.

        Raises:
            ProtocolError: no signature line, or another spelling of one.
        """
        name, _, content = line.removeprefix(_DASH).partition(" ")
        raw = decoded(content)
        found = cls(name, raw[:ID_BYTES], raw[ID_BYTES:])
        if len(raw) <= ID_BYTES or not _NAME.fullmatch(name) or found.line != f"{line}\n":
            raise ProtocolError("expected a note's signature line, found something else")
        return found


@dataclass(frozen=True)
class Note:
    """A text and its signature lines."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """Return the note."""
        return (self.text + "\n" + "".join(one.line for one in self.signatures)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parse a note.

        Raises:
            ProtocolError: too large, no note, or one that is spelt in another way.
        """
        if len(content) > LARGEST_NOTE:
            raise ProtocolError(f"expected a note of at most {LARGEST_NOTE} bytes, found more")
        try:
            text, between, lines = content.decode().rpartition("\n\n")
        except UnicodeDecodeError:
            raise ProtocolError("expected a note in UTF-8, found other bytes") from None
        if not between or not lines.endswith("\n"):
            raise ProtocolError("expected a text, an empty line and signatures, found no note")
        found = cls(text + "\n", signatures_in(lines))
        if found.to_bytes() != content:
            raise ProtocolError("expected a note in the one way to write it, found another")
        return found

    def is_signed_by(self, key: NoteKey) -> bool:
        """Tell whether a log's key signed the text.

        Raises:
            ProtocolError: a line names the key and its signature is not valid.
        """
        return any(self._verified(one, key, one.signature, b"") for one in self._of(key))

    def cosigned_at(self, key: NoteKey) -> int | None:
        """Return when a witness cosigned the text, seconds since 1970; None where it did not.

        Raises:
            ProtocolError: a line names the key and its signature is not valid.
        """
        times = []
        for one in self._of(key):
            at = int.from_bytes(one.signature[:TIME_BYTES], "big")
            head = f"cosignature/v1\ntime {at}\n".encode()
            self._verified(one, key, one.signature[TIME_BYTES:], head)
            if not 0 < at <= LATEST:
                raise ProtocolError(f"expected a cosignature of {key.name} with a time, found none")
            times.append(at)
        return max(times, default=None)

    def _of(self, key: NoteKey) -> list[NoteSignature]:
        return [one for one in self.signatures if (one.name, one.id) == (key.name, key.id)]

    def _verified(self, one: NoteSignature, key: NoteKey, signature: bytes, head: bytes) -> bool:
        try:
            public = Ed25519PublicKey.from_public_bytes(key.public)
            public.verify(signature, head + self.text.encode())
        except (InvalidSignature, ValueError):
            raise ProtocolError(
                f"expected a valid signature of {one.name} on the note, found another"
            ) from None
        return True


@dataclass(frozen=True)
class LogCheckpoint:
    """The text of a checkpoint: which log, how many leaves, their root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """Three lines: origin, size, base64 of the root."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, signer: Signer, public: bytes) -> bytes:
        """Return the note, signed with the log's key (type 01)."""
        key = NoteKey(self.origin, SIGNED, public)
        signature = NoteSignature(self.origin, key.id, signer.sign(self.text.encode()))
        return Note(self.text, (signature,)).to_bytes()

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parse a text without extension lines.

        Raises:
            ProtocolError: no checkpoint, or one that is spelt in another way.
        """
        origin, size, root, *rest = [*text.split("\n"), "", "", ""]
        if _NAME.fullmatch(origin) and _SIZE.fullmatch(size) and not any(rest):
            found = cls(origin, int(size), decoded(root))
            if len(found.root) == merkle.HASH_BYTES and found.text == text:
                return found
        raise ProtocolError("expected a checkpoint of origin, size and root, found another text")


def signatures_in(lines: str) -> tuple[NoteSignature, ...]:
    """Return signature lines, as a witness answers with them.

    Raises:
        ProtocolError: something else, or too many.
    """
    found = lines.split("\n")
    if found.pop() or not 0 < len(found) <= MOST_SIGNATURES:
        raise ProtocolError(f"expected 1 to {MOST_SIGNATURES} signature lines, found others")
    return tuple(map(NoteSignature.from_line, found))


def add_checkpoint_body(old: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Return the body of `POST .../add-checkpoint` (tlog-witness, "add-checkpoint").

    Args:
        old: size of the log that the witness cosigned last; 0 where it did none.
        proof: that the log of that size is the beginning of this one (RFC 6962, 2.1.2).
        note: the signed checkpoint.
    """
    lines = [f"old {old}", *(base64.b64encode(one).decode() for one in proof), "", ""]
    return "\n".join(lines).encode() + note


def decoded(text: str) -> bytes:
    """Return the bytes of base64 in its one spelling; nothing where it is another text."""
    try:
        content = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
    return content if base64.b64encode(content).decode() == text else b""


def cosigners_of(note: Note, witnesses: Iterable[NoteKey]) -> dict[str, int]:
    """Return when each of these witnesses cosigned a note, by name; those who did not are missing.

    Raises:
        ProtocolError: a line of one of them is not valid.
    """
    times = {key.name: note.cosigned_at(key) for key in witnesses}
    return {name: at for name, at in times.items() if at is not None}


def distinct_witnesses(texts: Iterable[str]) -> tuple[NoteKey, ...]:
    """Return the keys of witnesses that are to be counted, each a party of its own.

    Raises:
        ProtocolError: no witness's verifier key, or two of one name or one key.
    """
    keys = tuple(NoteKey.from_text(text, COSIGNED) for text in texts)
    if len({key.name for key in keys}) < len(keys) or len({key.public for key in keys}) < len(keys):
        raise ProtocolError("expected witnesses of different names and keys, found one twice")
    return keys

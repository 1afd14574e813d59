"""Identities that are said aloud, changed and taken back.

An institution's identity is an Ed25519 key (RFC 8032). People compare fingerprints of it.
It may hand over to a new key in a statement that both keys sign, or be taken back in one
that it signs alone. A statement changes nothing by itself: the coordinator checks it and issues a
roster with the new key, or without the old one, and every institution pins that.
"""

import hashlib
from typing import ClassVar, Final, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.errors import KeysError, ProtocolError
from fieldfare.shared.messages import Assurance, IdentitySigner, MessageBody, seal, unseal
from fieldfare.shared.roster import Hex32, InstitutionId, Member, Roster

_PUBLIC_DIGITS: Final = 64
GROUP: Final = 4  # digits read aloud in one breath
BETWEEN_SIGNATURES: Final = b"\n"  # canonical JSON holds none (RFC 8785 section 3.2.2.2)

Statement = TypeVar("Statement", bound=MessageBody)


class KeyRotation(MessageBody):
    """One key hands its institution's identity over to another; signed by both."""

    TYPE: ClassVar[str] = "fieldfare.key-rotation.v1"

    institution: InstitutionId
    old: Hex32
    new: Hex32


class KeyRevocation(MessageBody):
    """A key is never to be believed again; signed by that key alone."""

    TYPE: ClassVar[str] = "fieldfare.key-revocation.v1"

    institution: InstitutionId
    key: Hex32


def fingerprint(public: bytes) -> str:
    """Return the SHA-256 of a public key as 16 groups of 4 hexadecimal digits.

    Args:
        public: Ed25519: the 32 bytes of RFC 8032; OpenSSH keys: the key blob, so that the
            digest is the one that `ssh-keygen -l` prints (in base64).
    """
    digest = hashlib.sha256(public).hexdigest()
    return " ".join(digest[at : at + GROUP] for at in range(0, len(digest), GROUP))


def matches_fingerprint(said: str, public: bytes) -> bool:
    """Tell whether a whole fingerprint, however it is spaced, is this public key's."""
    compact = "".join(said.replace(":", " ").split()).lower()
    return compact == hashlib.sha256(public).hexdigest()


def parse_public_hex(content: bytes, name: str) -> str:
    """Return the public key that a file holds: 64 lower-case hexadecimal digits.

    Args:
        content: of the file, with or without a line's end.
        name: begins the message.

    Raises:
        KeysError: something else.
    """
    text = content.strip()
    if len(text) != _PUBLIC_DIGITS or text.strip(b"0123456789abcdef"):
        raise KeysError(f"{name}: expected {_PUBLIC_DIGITS} hexadecimal digits")
    return text.decode()


def public_hex(key: Ed25519PrivateKey) -> str:
    """Return a key's public half as it stands on a roster: 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()


def state_rotation(institution: str, old: Ed25519PrivateKey, new: Ed25519PrivateKey) -> bytes:
    """Return the statement that `new` replaces `old`: two envelopes, the old key's first."""
    body = KeyRotation(institution=institution, old=public_hex(old), new=public_hex(new))
    signed = [seal(body, institution, IdentitySigner(key)) for key in (old, new)]
    return BETWEEN_SIGNATURES.join(signed)


def check_rotation(content: bytes, institution: str, key: str) -> KeyRotation:
    """Parse a statement that replaces the key that an institution has on the roster.

    The new key's signature shows that its owner has it: without it, a member could name
    another's key as its own.

    Args:
        content: as `state_rotation` wrote it.
        institution: whose identity is to change.
        key: the public key that it has now, hex.

    Raises:
        ProtocolError: malformed, about another institution or another key, a key that replaces
            itself, or a signature of either key that is missing or does not verify.
    """
    by_old, found, by_new = content.partition(BETWEEN_SIGNATURES)
    if not found:
        raise ProtocolError("expected two signatures, of the old and of the new key, found one")
    body = _signed(by_old, KeyRotation, institution, key)
    if (body.institution, body.old) != (institution, key):
        raise ProtocolError(f"expected a rotation of {institution!r}'s present key, found another")
    if body.new == body.old:
        raise ProtocolError("expected a new key, found the old one")
    if _signed(by_new, KeyRotation, institution, body.new) != body:
        raise ProtocolError("expected the same statement under both signatures")
    return body


def state_revocation(institution: str, key: Ed25519PrivateKey) -> bytes:
    """Return the statement that takes a key back; its holder can send it at any time."""
    body = KeyRevocation(institution=institution, key=public_hex(key))
    return seal(body, institution, IdentitySigner(key))


def check_revocation(content: bytes, institution: str, key: str) -> KeyRevocation:
    """Parse a statement that takes back the key that an institution has or had on the roster.

    A thief of a key can sign a rotation too, so a revocation of a key outweighs every
    rotation of it, whichever came first.

    Raises:
        ProtocolError: malformed, about another institution or key, or not signed by that key.
    """
    body = _signed(content, KeyRevocation, institution, key)
    if (body.institution, body.key) != (institution, key):
        raise ProtocolError(f"expected a revocation of {institution!r}'s key, found another")
    return body


def _signed(content: bytes, kind: type[Statement], institution: str, key: str) -> Statement:
    """Parse an envelope that `institution` signed with `key`, which need not be on a roster."""
    one = Roster(version=1, coordinator="", members=(Member(id=institution, key=key),))
    return unseal(content, kind, one, Assurance.EXACT).body

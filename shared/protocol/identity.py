"""Identities that are said aloud, changed and taken back.

An institution's identity is an Ed25519 key (RFC 8032). People compare fingerprints of it.
It may hand over to a new key in a statement that both keys sign, or be taken back in one
that it signs alone. A statement changes nothing by itself: the coordinator checks it and issues a
roster with the new key, or without the old one, and every institution pins that.

How an institution and a coordinator come to know each other: an invitation, an enrolment.

Each is signed by the key that it names, so it proves that its writer has that key, and nothing
about the writer's identity. People compare the key's fingerprint out of band; only then is anything
pinned (docs/design.md, "The secure sum": identities are in a roster).
"""

import base64
import hashlib
from typing import Annotated, ClassVar, Final, Self, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from pydantic import AfterValidator, Field, model_validator

from fieldfare.shared.errors import KeysError, ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    MessageBody,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import (
    RESERVED,
    ROSTER_SIGNER,
    Hex32,
    InstitutionId,
    Member,
    Roster,
    RosterKey,
)
from fieldfare.shared.system.addresses import HostPort

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
    signed = [sign_envelope(body, institution, IdentitySigner(key)) for key in (old, new)]
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
    return sign_envelope(body, institution, IdentitySigner(key))


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


def open_revocation(content: bytes) -> KeyRevocation:
    """Parse a statement that takes a key back, signed by the key that it names.

    Raises:
        ProtocolError: malformed, not canonical, or not signed by that key.
    """
    body = open_envelope(content, KeyRevocation, _NOBODY, Protection.SIMULATED).body
    return check_revocation(content, body.institution, body.key)


def _signed(content: bytes, kind: type[Statement], institution: str, key: str) -> Statement:
    """Parse an envelope that `institution` signed with `key`, which need not be on a roster."""
    one = Roster(version=1, coordinator="", members=(Member(id=institution, key=key),))
    return open_envelope(content, kind, one, Protection.EXACT).body


# -- enrolment ------------------------------------------------------------------------------------

LONGEST_CONTACT: Final = 200
LARGEST_AUTHORITY: Final = 16 * 1024
LONGEST_NODE_KEY: Final = 400

_NOBODY: Final = Roster(version=1, coordinator="", members=())


def node_key_line(key: ec.EllipticCurvePublicKey) -> str:
    """Return a node's public key as one line in OpenSSH format (RFC 5656), without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def parse_node_key(line: str) -> ec.EllipticCurvePublicKey:
    """Read a node's public key; only the line that `node_key_line` writes is accepted.

    Raises:
        ValueError: no NIST P-384 key in OpenSSH format, or another spelling of one.
    """
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm, NotImplementedError):  # compressed points, the last
        raise ValueError("expected an OpenSSH public key in one line") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("expected a NIST P-384 key")  # noqa: TRY004 -- what pydantic reads
    if node_key_line(key) != line:
        raise ValueError("expected an OpenSSH public key's two words, without a comment")
    return key


def node_key_fingerprint(line: str) -> str:
    """Return a node key's fingerprint: the digest that `ssh-keygen -l` prints.

    Args:
        line: as `node_key_line` writes it.
    """
    return fingerprint(base64.b64decode(line.split()[1]))  # RFC 4253 section 6.6: the key blob


def _one_line(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("expected one line of printable characters without spaces around them")
    return text


def _institution(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f'expected an id other than "{name}"')
    return _one_line(name)


def _node_key(line: str) -> str:
    parse_node_key(line)
    return line


def _one_certificate(text: str) -> str:
    found = x509.load_pem_x509_certificates(text.encode())
    if len(found) != 1 or found[0].public_bytes(Encoding.PEM).decode() != text:
        raise ValueError("expected one certificate in PEM and nothing else")
    return text


CoordinatorName = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
Contact = Annotated[str, Field(max_length=LONGEST_CONTACT), AfterValidator(_one_line)]


class Enrolment(MessageBody):
    """An institution asks to be a member; signed by its identity.

    Attributes:
        institution: its id, as it is to stand on the roster.
        identity: its Ed25519 public key, hex.
        node: its node's public key, NIST P-384, OpenSSH format.
        contact: how to reach its people; may be empty.
        hub: the coordinator's name, as in the invitation.
        roster_key: the coordinator's roster key, public, hex: no other may use this.
    """

    TYPE: ClassVar[str] = "fieldfare.enrolment.v2"

    institution: Annotated[InstitutionId, AfterValidator(_institution)]
    identity: Hex32
    node: Annotated[str, Field(max_length=LONGEST_NODE_KEY), AfterValidator(_node_key)]
    contact: Contact
    hub: CoordinatorName
    roster_key: Hex32

    @model_validator(mode="after")
    def _two_sides(self) -> Self:
        if self.identity == self.roster_key:
            raise ValueError("identity: expected another key than the coordinator's")
        return self


class Invitation(MessageBody):
    """A coordinator says where it is and how to know it; signed by its roster key.

    Attributes:
        hub: its name.
        address: host:port of its SuperLink.
        authority: certificate, PEM, of the authority that signed the SuperLink's.
        bundle: SHA-256 of the bundle that its runs are started with.
        roster_key: its roster key, Ed25519, public, hex, which institutions pin; the online key
            stands in the roster.
    """

    TYPE: ClassVar[str] = "fieldfare.invitation.v2"

    hub: CoordinatorName
    address: HostPort
    authority: Annotated[str, Field(max_length=LARGEST_AUTHORITY), AfterValidator(_one_certificate)]
    bundle: Hex32
    roster_key: Hex32


def sign_enrolment(body: Enrolment, identity: Ed25519PrivateKey) -> bytes:
    """Sign as the institution.

    Raises:
        ProtocolError: the key is not the identity that the body names.
    """
    _own_key(identity, body.identity)
    return sign_envelope(body, body.institution, IdentitySigner(identity))


def open_enrolment(content: bytes) -> Enrolment:
    """Parse an enrolment that the key in it signed.

    Raises:
        ProtocolError: malformed, not canonical, or not signed by that key: whoever sent it
            need not have the key that it names.
    """
    # Read for the key it names; nothing of it counts before that key's signature verifies.
    claimed = open_envelope(content, Enrolment, _NOBODY, Protection.SIMULATED).body
    member = Member(id=claimed.institution, key=claimed.identity)
    signers = Roster(version=1, coordinator="", members=(member,))
    return open_envelope(content, Enrolment, signers, Protection.EXACT).body


def sign_invitation(body: Invitation, roster_key: Ed25519PrivateKey) -> bytes:
    """Sign as the holder of the roster key.

    Raises:
        ProtocolError: it is not the key that the body names.
    """
    _own_key(roster_key, body.roster_key)
    return sign_envelope(body, ROSTER_SIGNER, IdentitySigner(roster_key))


def open_invitation(content: bytes) -> Invitation:
    """Parse an invitation that the key in it signed.

    Raises:
        ProtocolError: malformed, not canonical, or not signed by that key.
    """
    claimed = open_envelope(content, Invitation, _NOBODY, Protection.SIMULATED).body  # as above
    return open_envelope(content, Invitation, RosterKey(claimed.roster_key), Protection.EXACT).body


def _own_key(key: Ed25519PrivateKey, named: str) -> None:
    if public_hex(key) != named:
        raise ProtocolError("expected the key that is named inside", RefusalCode.BAD_SIGNATURE)

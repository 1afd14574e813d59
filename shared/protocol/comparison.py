"""Vouching for keys: codes that people read aloud, and members' signed comparisons.

A roster proves that its coordinator wrote it. That a key is a member's is known to somebody who
heard that member say its code, and to somebody to whom enough members say that they did.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, field_validator

from fieldfare.shared.canonical import MAX_EXACT_INT, content_hash
from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import (
    IdentitySigner,
    MessageBody,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import Hex32, InstitutionId, Member, Roster

CODE_DIGITS: Final = 60  # 199 bits: whoever writes both rosters searches for two that look alike
GROUP: Final = 5  # digits read aloud in one breath
ROSTER_CODE: Final = b"fieldfare.roster-code.v1\x00"

_NOBODY: Final = Roster(version=1, coordinator="", members=())

Pair = tuple[str, str]  # a member's id and key
_About = Mapping[Pair, Collection[Pair]]  # who vouches for a key


class MemberKey(MessageBody):
    """A member's id and its identity's public key, hex, which two people compare."""

    TYPE: ClassVar[str] = "fieldfare.key-code.v1"

    institution: InstitutionId
    key: Hex32

    @property
    def pair(self) -> tuple[str, str]:
        """Id and key."""
        return self.institution, self.key


class Vouching(MessageBody):
    """A member says which keys its people compared with their owners; signed by its own key.

    Attributes:
        institution: who says it.
        key: its identity's public key, which signs this.
        number: of what it says by this key; a later one takes an earlier one's place.
        compared: the keys, sorted by id; own comparisons alone, never what others vouch for.
    """

    TYPE: ClassVar[str] = "fieldfare.vouching.v1"

    institution: InstitutionId
    key: Hex32
    number: int = Field(ge=1, le=MAX_EXACT_INT)
    compared: tuple[MemberKey, ...]

    @field_validator("compared")
    @classmethod
    def _sorted(cls, compared: tuple[MemberKey, ...]) -> tuple[MemberKey, ...]:
        pairs = [one.pair for one in compared]
        if pairs != sorted(set(pairs)):
            raise ValueError("compared: expected keys sorted by id, each once")
        return compared


def key_code(institution: str, key: str) -> str:
    """Return the code of a member's key: 60 digits in groups of 5.

    *Formal Guarantees.* 60 decimal digits of a SHA-256 (FIPS 180-4) under a type string of their
    own, over id and key. Two keys of one code take about 2^99 tries, as far as SHA-256 is a random
    function; a key of a given code 2^199. A code depends on the key, not on a roster.

    *Edge cases.*
        | input | answer |
        |---|---|
        | no hexadecimal key of 32 bytes, no id | a ValueError of pydantic |
    """
    return _digits(content_hash(MemberKey.TYPE, MemberKey(institution=institution, key=key)))


def roster_code(roster: Roster, reader: str) -> str:
    """Return the code of a whole roster as one member reads it in a meeting: 60 digits by 5.

    Each member reads another one: what stands on one's own screen is not what one has to hear.
    """
    content = ROSTER_CODE + bytes.fromhex(roster.hash) + reader.encode()
    return _digits(hashlib.sha256(content).hexdigest())


def is_code(said: str) -> bool:
    """Tell whether a text holds 60 digits, however they are spaced."""
    compact = _compact(said)
    return len(compact) == CODE_DIGITS and compact.isascii() and compact.isdigit()


def matches_code(said: str, code: str) -> bool:
    """Tell whether a whole code, however it is spaced, is this one."""
    return is_code(said) and _compact(said) == _compact(code)


def _compact(said: str) -> str:
    return "".join(said.replace("-", " ").split())


def _digits(digest: str) -> str:
    digits = f"{int(digest, 16) % 10**CODE_DIGITS:0{CODE_DIGITS}d}"
    return " ".join(digits[at : at + GROUP] for at in range(0, CODE_DIGITS, GROUP))


# -- what members say ------------------------------------------------------------------------------


def sign_vouching(
    institution: str,
    compared: Collection[tuple[str, str]],
    identity: Ed25519PrivateKey,
    number: int,
) -> bytes:
    """Say which keys were compared, as (id, key); `number` counts what is said by this key."""
    body = Vouching(
        institution=institution,
        key=public_hex(identity),
        number=number,
        compared=tuple(MemberKey(institution=who, key=key) for who, key in sorted(set(compared))),
    )
    return sign_envelope(body, institution, IdentitySigner(identity))


def open_vouching(content: bytes) -> Vouching:
    """Parse a member's vouching, signed by the key that it names; the key's owner is unknown.

    Raises:
        ProtocolError: malformed, not canonical, or not signed by that key.
    """
    claimed = open_envelope(content, Vouching, _NOBODY, Protection.SIMULATED)
    if claimed.signer != claimed.body.institution:
        raise ProtocolError("expected the member that says it", RefusalCode.BAD_SIGNATURE)
    member = Member(id=claimed.body.institution, key=claimed.body.key)
    signers = Roster(version=1, coordinator="", members=(member,))
    return open_envelope(content, Vouching, signers, Protection.EXACT).body


# -- what follows ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownKeys:
    """An institution's knowledge of the keys that others sign with.

    Attributes:
        compared: (id, key) that its own people compared with the member itself.
        handed: (id, new key): old key, which signed that the new one replaces it.
        vouchings: what members say that they compared; signatures verified.
        lost: (id, key) that its owner lost, or that people here forgot: not known by any way.
    """

    compared: frozenset[tuple[str, str]] = frozenset()
    handed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    vouchings: tuple[Vouching, ...] = ()
    lost: frozenset[tuple[str, str]] = frozenset()

    def verified(self, roster: Roster, own: str, tolerance: int) -> frozenset[str]:
        """Return the members of a roster whose keys are known to be theirs, the own one too.

        *Formal Guarantees.* Where at most `tolerance` members lie, each key that is returned is
        its member's, as far as own people heard the right codes and Ed25519 (RFC 8032) holds: it
        was compared here; or a key that was itself verified signed that it hands over; or
        `tolerance` + 1 members with verified keys signed that their people compared it, of whom
        one does not lie. Nothing that the coordinator signs adds to it, and nothing that a lost key
        signs, which a thief may have.

        *Edge cases.*
            | input | answer |
            |---|---|
            | nothing known | the own id alone |
            | a member that vouches twice, under an old and a new key | counts once |
            | a voucher that is not on the roster, or vouches for itself | does not count |
            | one with another key there, also one that the signing key handed over to | the same |
            | a key that a lost one signed for | not known by that |
        """
        members = {(member.id, member.key) for member in roster.members}
        sure = {pair for pair in members if pair[0] == own} | (self.compared - self.lost)
        about = self._about(members)
        while True:
            asked = set(self._asked(roster)) - sure - self.lost
            fresh = {pair for pair in asked if self._follows(pair, sure, about, tolerance)}
            if not fresh:
                return frozenset(one.id for one in roster.members if (one.id, one.key) in sure)
            sure |= fresh

    def vouchers(self, institution: str, key: str) -> frozenset[str]:
        """Return who says that it compared a key, whether or not its own one is verified."""
        pair = MemberKey(institution=institution, key=key)
        said = {v.institution for v in self.vouchings if pair in v.compared}
        return frozenset(said - {institution})

    def _asked(self, roster: Roster) -> Iterator[Pair]:
        yield from ((member.id, member.key) for member in roster.members)
        yield from self.handed
        yield from ((name, old) for (name, _), old in self.handed.items())
        yield from ((vouching.institution, vouching.key) for vouching in self.vouchings)

    def _follows(self, pair: Pair, sure: Collection[Pair], about: _About, tolerance: int) -> bool:
        if (pair[0], self.handed.get(pair, "")) in sure:
            return True
        believed = {voucher[0] for voucher in about.get(pair, ()) if voucher in sure}
        return len(believed) > tolerance

    def _about(self, present: Collection[Pair]) -> _About:
        """Return who vouches for a key, of the members under their present keys."""
        found: dict[Pair, set[Pair]] = {}
        for said in self.vouchings:
            voucher = (said.institution, said.key)
            for one in said.compared:
                if voucher in present and said.institution != one.institution:
                    found.setdefault(one.pair, set()).add(voucher)
        return found


@dataclass(frozen=True)
class Company:
    """An institution's knowledge of the others' keys, and the limits that it sets.

    Attributes:
        known: compared keys, and what members say; by default nobody's key is known.
        minimum_tolerance: colluders that a sum must withstand beside unverified keys.
        epsilon_if_masks_fail: most that may remain if every mask failed; None: 4 times epsilon.
    """

    known: KnownKeys = field(default_factory=KnownKeys)
    minimum_tolerance: int = 1
    epsilon_if_masks_fail: float | None = None

    def unverified(
        self, roster: Roster, participants: Collection[str], own: str, tolerance: int
    ) -> tuple[str, ...]:
        """Return the participants whose keys this institution has not verified, sorted."""
        verified = self.known.verified(roster, own, tolerance)
        return tuple(sorted(set(participants) - verified))

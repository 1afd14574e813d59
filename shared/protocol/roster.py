"""The roster: who may take part, under which keys; signed by the roster key, pinned by all.

A coordinator has two keys (docs/adr/0022-rosters-have-a-key-of-their-own.md). The roster key says
who takes part, and which online key the coordinator signs runs with. Neither is ever taken for the
other: each signs under a name and under type strings of its own, and no roster knows a signer with
the roster key's name.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from fieldfare.shared.canonical import MAX_EXACT_INT, canonical_bytes, content_hash
from fieldfare.shared.errors import ProtocolError, RefusalCode

ROSTER_TYPE: Final = "fieldfare.roster.v1"
COORDINATOR: Final = "coordinator"  # who signs studies and all of a run: the online key
ROSTER_SIGNER: Final = "coordinator-roster"  # who signs rosters and invitations: the roster key
RESERVED: Final = frozenset({COORDINATOR, ROSTER_SIGNER})

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InstitutionId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Member(BaseModel):
    """One institution: its id and its Ed25519 public key (RFC 8032), hex; empty in simulations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: InstitutionId
    key: Hex32 | Literal[""]


class Roster(BaseModel):
    """Members sorted by id, the coordinator's keys and the platform-wide constant M.

    `coordinator` is the online key, `roster_key` the one that signs rosters, this one too; a
    simulation's roster has none. `previous` is the hash of the roster that this one follows. A
    first roster follows none. The canonical form has no empty one of the last two fields.
    """

    # A slot and no field: a copy takes the fields over and leaves it empty.
    __slots__ = ("_kept_keys",)

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: int = Field(ge=1, le=MAX_EXACT_INT)
    multiplicity: int = Field(default=1, ge=1, le=64)  # M: institutions that may know one person
    coordinator: Hex32 | Literal[""]
    members: tuple[Member, ...]
    roster_key: Hex32 | Literal[""] = ""
    previous: Hex32 | Literal[""] = ""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return {k: v for k, v in content.items() if v or k not in {"previous", "roster_key"}}

    @model_validator(mode="after")
    def _sorted_and_distinct(self) -> Self:
        ids = [member.id for member in self.members]
        if ids != sorted(set(ids)):
            raise ValueError("members: expected them sorted by id, each once")
        for name in RESERVED.intersection(ids):
            raise ValueError(f'members: expected an id other than "{name}"')
        own = (self.coordinator, self.roster_key)
        keys = [key for key in (*(m.key for m in self.members), *own) if key]
        if len(set(keys)) != len(keys):  # docs/protocol.md, "Keys": duplicate keys are refused
            raise ValueError("members: expected a key of its own for each")
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical bytes under the roster's type string, hex."""
        return content_hash(ROSTER_TYPE, self)

    def canonical(self) -> bytes:
        """RFC 8785 bytes with defaults filled in."""
        return canonical_bytes(self)

    @property
    def ids(self) -> tuple[str, ...]:
        """Member ids, sorted."""
        return tuple(member.id for member in self.members)

    def key_of(self, signer: str) -> str:
        """Return a signer's Ed25519 public key, hex.

        Raises:
            ProtocolError: not on the roster, or a roster without keys (simulation).
        """
        key = self.coordinator if signer == COORDINATOR else self._member_keys().get(signer)
        if not key:
            raise ProtocolError(
                "expected a signer with a key on the roster: pin the right roster",
                RefusalCode.BAD_SIGNATURE,
            )
        return key

    def _member_keys(self) -> dict[str, str]:
        """Return all members' keys by id; kept, as every message of a step is looked up here."""
        kept: dict[str, str] | None = getattr(self, "_kept_keys", None)
        if kept is None:
            kept = {member.id: member.key for member in self.members}
            object.__setattr__(self, "_kept_keys", kept)
        return kept

    def verify(self, signer: str, signature: bytes, content: bytes) -> None:
        """Check an Ed25519 signature (RFC 8032) against the roster's key of `signer`.

        Raises:
            ProtocolError: unknown signer or a signature that does not verify.
        """
        verify_by(self.key_of(signer), signature, content)


@dataclass(frozen=True)
class RosterKey:
    """The key that signs rosters and invitations, hex; pinned, and no roster's to name."""

    key: str

    def verify(self, signer: str, signature: bytes, content: bytes) -> None:
        """Check an Ed25519 signature (RFC 8032) by this key, under its own name alone.

        Raises:
            ProtocolError: another signer, or a signature that does not verify.
        """
        if signer != ROSTER_SIGNER:
            raise ProtocolError(
                "expected the signature of the coordinator's roster key, found another signer's",
                RefusalCode.BAD_SIGNATURE,
            )
        verify_by(self.key, signature, content)


def verify_by(key: str, signature: bytes, content: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032) by a public key, hex.

    Raises:
        ProtocolError: a signature that does not verify.
    """
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, content)
    except InvalidSignature:
        raise ProtocolError(
            "expected a valid signature: the message was changed", RefusalCode.BAD_SIGNATURE
        ) from None


def contradicts(one: Roster, other: Roster) -> bool:
    """Tell whether two rosters of one coordinator are two stories: both cannot be of one chain."""
    follow = one.previous and one.previous == other.previous
    return one != other and (one.version == other.version or bool(follow))


def is_institution_id(text: str) -> bool:
    """Tell whether `text` may name an institution (1 to 64 printable characters)."""
    return re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", text) is not None and text not in RESERVED

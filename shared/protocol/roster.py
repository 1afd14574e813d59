"""The roster: who may take part, under which keys; signed by the coordinator, pinned by all."""

import re
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
COORDINATOR: Final = "coordinator"

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
InstitutionId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Member(BaseModel):
    """One institution: its id and its Ed25519 public key (RFC 8032), hex; empty in simulations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: InstitutionId
    key: Hex32 | Literal[""]


class Roster(BaseModel):
    """Members sorted by id, the coordinator's key and the platform-wide constant M.

    `previous` is the hash of the roster that this one follows. A first roster follows none, and
    its canonical form has no such field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    version: int = Field(ge=1, le=MAX_EXACT_INT)
    multiplicity: int = Field(default=1, ge=1, le=64)  # M: institutions that may know one person
    coordinator: Hex32 | Literal[""]
    members: tuple[Member, ...]
    previous: Hex32 | Literal[""] = ""

    @model_serializer(mode="wrap")
    def _first_follows_none(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        return content if self.previous else {k: v for k, v in content.items() if k != "previous"}

    @model_validator(mode="after")
    def _sorted_and_distinct(self) -> Self:
        ids = [member.id for member in self.members]
        if ids != sorted(set(ids)):
            raise ValueError("members: expected them sorted by id, each once")
        if COORDINATOR in ids:
            raise ValueError(f'members: expected an id other than "{COORDINATOR}"')
        keys = [key for key in (*(m.key for m in self.members), self.coordinator) if key]
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

    def key_of(self, signer: str) -> Ed25519PublicKey:
        """Return a signer's public key.

        Raises:
            ProtocolError: not on the roster, or a roster without keys (simulation).
        """
        keys = {COORDINATOR: self.coordinator, **{m.id: m.key for m in self.members}}
        key = keys.get(signer, "")
        if not key:
            raise ProtocolError(
                "expected a signer with a key on the roster: pin the right roster",
                RefusalCode.BAD_SIGNATURE,
            )
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))

    def verify(self, signer: str, signature: bytes, content: bytes) -> None:
        """Check an Ed25519 signature (RFC 8032) against the roster's key of `signer`.

        Raises:
            ProtocolError: unknown signer or a signature that does not verify.
        """
        try:
            self.key_of(signer).verify(signature, content)
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
    return re.fullmatch(r"[^\x00-\x1f\x7f]{1,64}", text) is not None and text != COORDINATOR

"""Every message that is signed, and the envelope that carries it.

A signature covers the type string, a zero byte and the canonical bytes of the body
as *parsed*, so the parsed message is the signed one (docs/protocol.md, "Bytes"). Vectors
and parameters travel beside the envelope as raw bytes; bodies hold their hashes.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from fieldfare.shared.canonical import (
    bytes_hash,
    canonical_bytes,
    content_bytes,
    content_hash,
    json_text,
    under_type,
)
from fieldfare.shared.errors import ProtocolError, RefusalCode, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.roster import Hex32, InstitutionId, Roster, verify_by
from fieldfare.shared.ring import MAX_GAMMA_BITS

PROTOCOL_VERSION: Final = 2
MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
# Messages that were read and verified, and are known again: replies and commitments of two steps of
# some hundred participants, and requests, which name all of these.
KEPT_SHORT: Final = 1024
SHORT_BYTES: Final = 1 << 11  # of one of them
KEPT_LONG: Final = 64
LONG_BYTES: Final = 1 << 16
MOST_VALUES: Final = 1 << 15  # of JSON in a message: 1,024 participants come to 9,300
MAX_REASON: Final = 500  # characters of a rejection's reason
MAX_REMEMBERED: Final = 4 * 1024 * 1024  # characters of what an offer says of a study
REJECTED: Final = "rejected it"
WITHDRAWN: Final = "withdrew its approval"

STATEMENTS_TYPE: Final = b"fieldfare.statements.v1"
OFFERS_TYPE: Final = b"fieldfare.offers.v1"

RunId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Base64 = Annotated[str, Field(max_length=4096, pattern=r"^[A-Za-z0-9+/]*={0,2}$")]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Opening = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]  # nothing where vectors are open


def check_reason(reason: str) -> None:
    """Refuse what the log would refuse, before anything is changed.

    Raises:
        UsageError: it cannot stand in the log.
    """
    if len(reason) > MAX_REASON or not reason.isprintable():  # as in the log
        raise UsageError(
            "--reason: expected at most 500 printable characters on one line, found something else"
        )


class MessageBody(BaseModel):
    """Base of everything that is signed: frozen, strict, with a type string and a format.

    `VALUES` is how many lists, objects, commas and texts its envelope has at most.
    """

    # A slot and no field: copies, changed ones too, take the fields over and leave it empty.
    __slots__ = ("_kept_hash",)

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    TYPE: ClassVar[str]
    VALUES: ClassVar[int] = MOST_VALUES
    format: Literal[1] = 1

    @property
    def hash(self) -> str:
        """SHA-256 under the message's type string, hex; kept, as nothing in it can change."""
        kept: str | None = getattr(self, "_kept_hash", None)
        if kept is None:
            kept = content_hash(self.TYPE, self)
            object.__setattr__(self, "_kept_hash", kept)
        return kept


class Approval(MessageBody):
    """An institution's numbered yes to a study; it holds no key."""

    TYPE = "fieldfare.approval.v2"

    study: Hex32
    roster: Hex32
    institution: InstitutionId
    number: Count
    epoch: Count


class RunAnswer(MessageBody):
    """An institution's answer to `hello`: fresh keys for one opening of one run.

    Attributes:
        approval: hash of its approval of the study.
        nonce: 32 bytes that `hello` brought to this node alone: no other node can relay the answer.
        boot: 32 bytes that are fresh with every start of its custodian.
        x25519: RFC 7748, 32 bytes; empty in simulations.
        mlkem768: FIPS 203, 1184 bytes; empty in simulations.
    """

    TYPE = "fieldfare.run-answer.v1"

    approval: Hex32
    study: Hex32
    roster: Hex32
    run: RunId
    institution: InstitutionId
    nonce: Hex32
    boot: Hex32
    x25519: Base64
    mlkem768: Base64


class Rejection(MessageBody):
    """An institution's rejection of a study: a person's decision there, in that person's words.

    Nothing in it comes from records: a person typed the reason to be read by the coordinator.
    """

    TYPE = "fieldfare.rejection.v1"

    study: Hex32
    roster: Hex32
    institution: InstitutionId
    decision: Literal["rejected", "withdrawn"]
    reason: str = Field(max_length=MAX_REASON)

    @field_validator("reason")
    @classmethod
    def _on_one_line(cls, reason: str) -> str:
        if not reason.isprintable():
            raise ValueError("expected printable characters on one line")
        return reason

    @property
    def answer(self) -> str:
        """The decision, in words."""
        return REJECTED if self.decision == "rejected" else WITHDRAWN

    @property
    def text(self) -> str:
        """The decision, with the reason that a person typed."""
        return f"{self.answer}: {self.reason}" if self.reason else self.answer


class Participant(MessageBody):
    """A participant of an opening or a request, bound to its answer to `hello` and its keys."""

    TYPE = "fieldfare.participant.v2"

    institution: InstitutionId
    answer: Hex32


def _check_participants(participants: tuple[Participant, ...]) -> None:
    ids = [participant.institution for participant in participants]
    if ids != sorted(set(ids)):  # docs/protocol.md, "R, the request": strictly sorted and unique
        raise ValueError("participants: expected them sorted by id, each once")


class RunOpening(MessageBody):
    """The coordinator opens a run, or opens it anew: its participants and their answers.

    Attributes:
        number: how many openings the run had before.
    """

    TYPE = "fieldfare.run-opening.v2"

    study: Hex32
    roster: Hex32
    run: RunId
    number: Count
    participants: tuple[Participant, ...]

    @model_validator(mode="after")
    def _strict_participants(self) -> Self:
        _check_participants(self.participants)
        return self


class KeyOffer(MessageBody):
    """One ML-KEM ciphertext for each participant with a higher id, and what the sender remembers.

    Attributes:
        time: the sender's present, whole seconds since 1970.
        remembered: requests of this study that it opened, and others' replies (`remembered.py`);
            the canonical form of an offer without any has no such field.
    """

    TYPE = "fieldfare.key-offer.v2"

    opening: Hex32
    institution: InstitutionId
    ciphertexts: dict[InstitutionId, Base64]
    time: Count
    remembered: str = Field(
        default="", max_length=MAX_REMEMBERED, pattern=r"^[A-Za-z0-9+/]*={0,2}$"
    )

    @property
    def hash(self) -> str:
        """SHA-256 under the message's type string, hex; never kept, as a dict can be changed."""
        return content_hash(self.TYPE, self)

    @model_serializer(mode="wrap")
    def _nothing_is_left_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        if not self.remembered:
            del content["remembered"]
        return content


class ReleaseKind(Enum):
    """Everything that may leave an institution; a closed list."""

    REHEARSAL = "rehearsal"  # masks over zeros: no records, no debit
    MOMENTS = "moments"  # how features go together, before training
    TRAINING = "training"
    GUARD = "guard"  # whether what was trained is better than its public start
    EVALUATION = "evaluation"
    FAIRNESS = "fairness"  # alerts by group of the hold-out's units
    QUERY = "query"  # the answers to a group of questions


class Request(MessageBody):
    """R: everything a release depends on (docs/protocol.md, "R, the request").

    Attributes:
        geometry: hash of the coordinates of a training step; the canonical form of a request
            without any has no such field.
    """

    TYPE = "fieldfare.request.v2"

    protocol: Count
    study: Hex32
    roster: Hex32
    run: RunId
    opening: Hex32
    step: Count
    attempt: Count
    kind: ReleaseKind = Field(strict=False)
    participants: tuple[Participant, ...]
    n: Count
    t: Count
    multiplicity: Count
    clipping_norm: float
    sigma: float
    gamma_bits: int = Field(ge=0, le=MAX_GAMMA_BITS)
    word_bits: Literal[32, 64]
    entries: Count
    dtype: Literal["<u4", "<u8"]
    parameters: Hex32
    geometry: Opening = ""

    @model_serializer(mode="wrap")
    def _nothing_is_left_out(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        if not self.geometry:
            del content["geometry"]
        return content

    @model_validator(mode="after")
    def _strict_participants(self) -> Self:
        _check_participants(self.participants)
        if self.n != len(self.participants):
            raise ValueError("n: expected the number of participants")
        return self


class Commitment(MessageBody):
    """The first of two messages: a vector that nobody can read before its seed is known."""

    TYPE = "fieldfare.commitment.v1"

    request: Hex32
    institution: InstitutionId
    answer: Hex32
    vector: Hex32
    seed: Hex32  # sha256 of the 32 bytes


class Reply(MessageBody):
    """An institution's signed statement with its released vector: the cost, and the seed.

    Its ledger's total is what no unit has lost more than; the sum of debits counts each in full,
    whichever units it read.
    """

    TYPE = "fieldfare.reply.v3"

    request: Hex32
    institution: InstitutionId
    answer: Hex32
    vector: Hex32
    statements: Opening = ""  # hash of the commitments of all participants
    seed: Opening = ""  # that opens the vector
    debit: Count  # 1e-12 mu^2
    ledger_sequence: Count
    ledger_head: Hex32
    cumulative: Count  # 1e-12 mu^2: of each study what reads all, and the larger of its sides
    debited: Count  # 1e-12 mu^2
    epoch: Count

    @model_validator(mode="after")
    def _opens_or_not(self) -> Self:
        if bool(self.statements) != bool(self.seed):
            raise ValueError("seed: expected one where commitments are named, and only there")
        return self


class RehearsalKeys(MessageBody):
    """The private keys behind an answer, published once a rehearsal's masks did not cancel.

    The run that they were made for is over: nobody has released anything in it, and whoever
    published them answers nothing of it any more.

    Attributes:
        request: hash of the rehearsal's R.
        offers: hash of the key offers that the sender was shown: ciphertexts are another's word.
        x25519: RFC 7748, the private 32 bytes.
        mlkem768: FIPS 203, the seed (d, z) of 64 bytes.
    """

    TYPE = "fieldfare.rehearsal-keys.v1"

    study: Hex32
    run: RunId
    opening: Hex32
    request: Hex32
    institution: InstitutionId
    answer: Hex32
    offers: Hex32
    x25519: Base64
    mlkem768: Base64


def offers_hash(offers: Iterable[KeyOffer]) -> str:
    """Return the hash of an opening's key offers, in the order of their institutions."""
    ordered = sorted(offers, key=lambda offer: offer.institution)
    return bytes_hash(OFFERS_TYPE + b"\x00" + b"".join(bytes.fromhex(o.hash) for o in ordered))


def statements_to_bytes(commitments: Sequence[bytes]) -> bytes:
    """Return L: the list of the signed commitments of R's participants, in R's order.

    Each is canonical (RFC 8785), and so is the list.
    """
    return b"[" + b",".join(commitments) + b"]"


def statements_hash(commitments: Sequence[bytes]) -> str:
    """Return the hash of L, which every reply to R names."""
    return bytes_hash(STATEMENTS_TYPE + b"\x00" + statements_to_bytes(commitments))


B = TypeVar("B", bound=MessageBody)


class Verifier(Protocol):
    """Whoever knows which keys may sign: a roster, or the pinned roster key alone."""

    def verify(self, signer: str, signature: bytes, content: bytes) -> None:
        """Check a signature; a ProtocolError where it is not that signer's."""
        ...


class Signer(Protocol):
    """Signs typed bytes; a closed choice of two, see `IdentitySigner` and `NoSigner`."""

    def sign(self, content: bytes) -> bytes:
        """Return the signature."""
        ...


@dataclass(frozen=True)
class IdentitySigner:
    """Ed25519 (RFC 8032) with an institution's or the coordinator's identity key."""

    key: Ed25519PrivateKey

    def sign(self, content: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self.key.sign(content)


@dataclass(frozen=True)
class NoSigner:
    """Simulations: nothing is signed, and results say so."""

    def sign(self, content: bytes) -> bytes:  # noqa: ARG002 -- the interface's argument
        """Return no signature."""
        return b""


def sign_envelope(body: MessageBody, signer_id: str, signer: Signer) -> bytes:
    """Return the envelope's canonical bytes: type, body, signer, signature."""
    content = canonical_bytes(body)
    signature = signer.sign(under_type(body.TYPE, content))
    return _envelope_bytes(body.TYPE, content, signer_id, signature)


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type: str = Field(max_length=64)
    body: dict[str, object]
    signer: str = Field(max_length=64)
    signature: Base64


def _envelope_bytes(kind: str, body: bytes, signer_id: str, signature: bytes) -> bytes:
    """Return an envelope around the canonical bytes of a body: RFC 8785 sorts its four names."""
    rest = {"signature": base64.b64encode(signature).decode(), "signer": signer_id, "type": kind}
    return b'{"body":' + body + b"," + content_bytes(rest)[1:]


@dataclass(frozen=True)
class VerifiedMessage(Generic[B]):
    """A parsed message, its signer, and the bytes it came in."""

    body: B
    signer: str
    content: bytes


def open_envelope(
    content: bytes, body_type: type[B], roster: Verifier, protection: Protection
) -> VerifiedMessage[B]:
    """Parse an envelope and check its signature against the roster, or the roster key.

    Only the bytes that `sign_envelope` writes are accepted: no second spelling of a message
    (another encoding, duplicate keys, spaces, `true` for 1) can be read as the first.

    Raises:
        ProtocolError: too large, not an envelope of this type, a field out of place, not
            canonical, a signer unknown to the roster or a signature that does not verify.
    """
    read = _read_once(content, body_type)
    if protection is Protection.EXACT:
        if isinstance(roster, Roster):
            read.verify_once(roster.key_of(read.opened.signer))
        else:
            roster.verify(read.opened.signer, read.signature, read.signed)
    return read.opened


def read_unverified(content: bytes, body_type: type[B]) -> B:
    """Parse an envelope whose signature was checked when it came, by a key that may be gone.

    Raises:
        ProtocolError: as `open_envelope`, but for the signer and the signature.
    """
    return _read_once(content, body_type).opened.body


@dataclass(frozen=True)
class _ParsedMessage(Generic[B]):
    """A message as it was parsed, what its signature has to cover, and by which keys it does."""

    opened: VerifiedMessage[B]
    signature: bytes
    signed: bytes
    verified: set[str] = field(default_factory=set)

    def verify_once(self, key: str) -> None:
        """Check the signature, once for each key; a refusal is not kept."""
        if key not in self.verified:
            verify_by(key, self.signature, self.signed)
            self.verified.add(key)


def _read(content: bytes, body_type: type[B]) -> _ParsedMessage[B]:
    try:
        envelope = _Envelope.model_validate(json.loads(json_text(content, body_type.VALUES)))
        if envelope.type != body_type.TYPE:
            raise ProtocolError(f"expected a message of type {body_type.TYPE}")
        body = body_type.model_validate_json(json.dumps(envelope.body))
        signature = base64.b64decode(envelope.signature, validate=True)
        canonical = canonical_bytes(body)
        if _envelope_bytes(body.TYPE, canonical, envelope.signer, signature) != content:
            raise ProtocolError(f"expected the canonical bytes of a {body_type.TYPE}")
    except (ValidationError, ValueError, RecursionError, binascii.Error):
        # Nothing of the message is repeated: it may be hostile, and it may be long.
        raise ProtocolError(f"expected a well-formed {body_type.TYPE}") from None
    opened = VerifiedMessage(body, envelope.signer, content)
    return _ParsedMessage(opened, signature, under_type(body.TYPE, canonical))


def _read_once(content: bytes, body_type: type[B]) -> _ParsedMessage[B]:
    if len(content) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"expected at most {MAX_MESSAGE_BYTES} bytes, found {len(content)}")
    if len(content) <= SHORT_BYTES:
        return _short_before(content, body_type)
    return (_long_before if len(content) <= LONG_BYTES else _read)(content, body_type)


# A step's replies are looked at by each part that has to believe them. What is found follows from
# the arguments alone, so the same bytes need no second look, nor the same bytes under the same key.
_short_before = lru_cache(maxsize=KEPT_SHORT)(_read)
_long_before = lru_cache(maxsize=KEPT_LONG)(_read)


@dataclass(frozen=True)
class Refusal:
    """An answer in place of a sum: a fixed code and nothing else, unsigned.

    Unsigned because two institutions must give identical bytes (docs/design.md, "Refusals").

    Attributes:
        rejection: a signed Rejection, where a person rejected the study.
    """

    code: RefusalCode
    rejection: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the wire form."""
        return b"fieldfare.refusal.v1\x00" + self.code.value.encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Refusal":
        """Parse the wire form.

        Raises:
            ProtocolError: no refusal, or an unknown code.
        """
        head, _, code = content.partition(b"\x00")
        try:
            if head != b"fieldfare.refusal.v1":
                raise ProtocolError("expected a refusal")
            return cls(RefusalCode(code.decode("ascii")))
        except ValueError:
            raise ProtocolError("expected a refusal with a known code") from None


def parameters_to_bytes(parameters: NDArray[np.float64]) -> bytes:
    """Return float64 (entries,) as little-endian bytes."""
    return parameters.astype("<f8").tobytes()


def parameters_from_bytes(content: bytes, entries: int, limit: float) -> NDArray[np.float64]:
    """Parse parameters: finite, and no magnitude above `limit`.

    Raises:
        ProtocolError: wrong length, not finite, or too large.
    """
    if len(content) != entries * 8:
        raise ProtocolError(f"expected {entries * 8} bytes of parameters, found {len(content)}")
    parameters = np.frombuffer(content, dtype="<f8").astype(np.float64)
    # Also false for NaN, so this one comparison refuses everything that is not finite.
    if not bool((np.abs(parameters) <= limit).all()):
        raise ProtocolError(f"expected finite parameters of magnitude at most {limit:g}")
    return parameters


def parameters_hash(content: bytes) -> str:
    """Return the hash of parameters that a request binds."""
    return bytes_hash(content)


def decode_key(text: str, length: int) -> bytes:
    """Decode a base64 key or ciphertext of a fixed length.

    Raises:
        ProtocolError: not base64, not its canonical spelling (RFC 4648, section 3.5), or
            another length.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:  # also for text that is not ASCII
        raise ProtocolError("expected base64") from None
    if encode_key(content) != text:
        raise ProtocolError("expected canonical base64: unused bits are zero")
    if len(content) != length:
        raise ProtocolError(f"expected {length} bytes, found {len(content)}")
    return content


def encode_key(content: bytes) -> str:
    """Encode a key or ciphertext as base64."""
    return base64.b64encode(content).decode()


@dataclass(frozen=True)
class LastSum:
    """One sum, in a form that every party can add up again.

    Attributes:
        request: signed R; empty where there is no last sum.
        replies: signed replies of R's participants, in R's order.
        vectors: the masked vectors whose hashes the replies sign, in the same order.
        statements: L, the signed commitments in the same order.
    """

    request: bytes = b""
    replies: tuple[bytes, ...] = ()
    vectors: tuple[bytes, ...] = ()
    statements: tuple[bytes, ...] = ()


NO_LAST_SUM: Final = LastSum()

"""A run's transcript: leaves in a fixed order, and the signed head over them.

Leaves are the signed messages themselves, and unsigned records of what the coordinator
computed from them; all are leaves of an RFC 6962 log (`merkle`) whose head the coordinator
signs and institutions co-sign (docs/design.md, "Recomputation"). Order of a run's leaves:

    ROSTER STUDY APPROVAL... HELLO... OPENING OFFER...
    rehearsal:  (REQUEST COMMITMENT... REPLY...)... SUM
    moments:    (REQUEST COMMITMENT... REPLY...)... SUM MOMENTS
    each step:  (REQUEST COMMITMENT... REPLY...)... SUM PARAMETERS     one REQUEST for each attempt
    guard:      (REQUEST COMMITMENT... REPLY...)... SUM GUARD
    evaluation: (REQUEST COMMITMENT... REPLY...)... SUM METRICS
    groups:     (REQUEST COMMITMENT... REPLY...)... SUM FAIRNESS
    questions:  (REQUEST COMMITMENT... REPLY...)... SUM ANSWERS
    MODEL END

COMMITMENTs come before REPLYs, which open them; an attempt without one of
everybody has no REPLY. A study without training has neither steps, evaluation nor MODEL; one
without a geometry has no MOMENTS, one without a public start no GUARD, one without groups no
FAIRNESS, one without questions no ANSWERS. A run of later questions, which the study's allowance
covers, has after the rehearsal nothing but these:

    each group: QUESTIONS (REQUEST COMMITMENT... REPLY...)... SUM ANSWERS
    END

A rehearsal whose masks do not cancel ends the run: its SUM is not zero, and nothing follows but the
KEYS of its participants, which they publish to find who lied, and ENDs:

    (REQUEST COMMITMENT... REPLY...)... SUM KEYS... END

Before any REQUEST the run may be opened anew, with fresh keys: HELLO... OPENING OFFER... An opening
that not all agreed on has no OFFERs, and another one follows.

APPROVALs, HELLOs, OFFERs, COMMITMENTs and REPLYs to one REQUEST are sorted by institution. A run
that stopped or failed has an END where it stood, even before the ROSTER; when it is resumed, it
goes on after that END. After the MODEL nothing but ENDs can come.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Final, Literal, Self

import rfc8785
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from fieldfare.shared.canonical import canonical_bytes, json_text
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import (
    MAX_MESSAGE_BYTES,
    MOST_VALUES,
    Count,
    MessageBody,
    RunId,
)
from fieldfare.shared.protocol.roster import Hex32, InstitutionId
from fieldfare.shared.study.questions import MAX_GROUP_BYTES, QuestionGroup
from fieldfare.shared.transcript import merkle

LEAF_FORMAT: Final = 1
MAX_LEAF_BYTES: Final = 2 * MAX_MESSAGE_BYTES  # base64 of the largest message, and its frame
MAX_METRICS: Final = 1024 * 1024
MAX_REASON: Final = 4000
MAX_WORDS: Final = 1024 * 1024  # base64 of 2^16 words of 64 bits, and to spare
MAX_MOMENTS: Final = 6 * 1024 * 1024  # base64 of 2^19 words of 64 bits, and to spare


class LeafKind(Enum):
    """Everything that a transcript may hold; a closed list."""

    ROSTER = "roster"
    STUDY = "study"
    APPROVAL = "approval"
    HELLO = "hello"  # the signed answer to it
    OPENING = "opening"
    OFFER = "offer"
    REQUEST = "request"
    COMMITMENT = "commitment"
    REPLY = "reply"
    SUM = "sum"
    KEYS = "keys"  # private ones of a rehearsal that failed
    MOMENTS = "moments"
    PARAMETERS = "parameters"
    GUARD = "guard"
    METRICS = "metrics"
    FAIRNESS = "fairness"
    QUESTIONS = "questions"
    ANSWERS = "answers"
    MODEL = "model"
    END = "end"


@dataclass(frozen=True)
class Leaf:
    """One leaf: a signed message, or a record's canonical bytes."""

    kind: LeafKind
    content: bytes

    def to_bytes(self) -> bytes:
        """Return the leaf's canonical bytes, which are hashed, stored and exported."""
        return rfc8785.dumps(
            {
                "content": base64.b64encode(self.content).decode(),
                "format": LEAF_FORMAT,
                "kind": self.kind.value,
            }
        )

    @property
    def hash(self) -> bytes:
        """The leaf's hash in the log, 32 bytes."""
        return merkle.leaf_hash(self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> "Leaf":
        """Parse a leaf: only the bytes that `to_bytes` writes are one.

        Raises:
            ProtocolError: too large, no leaf, an unknown kind or format, or not canonical.
        """
        if len(content) > MAX_LEAF_BYTES:
            raise ProtocolError(f"expected a leaf of at most {MAX_LEAF_BYTES} bytes")
        try:
            fields = json.loads(json_text(content, MOST_VALUES))
            inner = base64.b64decode(fields["content"], validate=True)
            leaf = cls(LeafKind(fields["kind"]), inner)
        except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
            raise ProtocolError("expected a transcript's leaf of a known kind") from None
        if leaf.to_bytes() != content:
            raise ProtocolError("expected the canonical bytes of a leaf")
        return leaf


class UnsignedLeaf(BaseModel):
    """Base of the coordinator's own leaves: unsigned, because the head over them is signed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)

    KIND: ClassVar[LeafKind]
    format: Literal[1] = 1

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 bytes."""
        return canonical_bytes(self)

    def leaf(self) -> Leaf:
        """Return the leaf that holds this record."""
        return Leaf(self.KIND, self.to_bytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parse a record: only the bytes that `to_bytes` writes are one.

        Raises:
            ProtocolError: no such record, or not canonical.
        """
        name = cls.KIND.value
        if len(content) > MAX_MESSAGE_BYTES:
            raise ProtocolError(f"expected at most {MAX_MESSAGE_BYTES} bytes")
        try:
            record = cls.model_validate_json(json_text(content, MOST_VALUES))
            canonical = record.to_bytes()
        except (ProtocolError, ValidationError, ValueError, RecursionError):
            raise ProtocolError(f"expected a well-formed record of kind {name}") from None
        if canonical != content:
            raise ProtocolError(f"expected the canonical bytes of a record of kind {name}")
        return record


class SumRecord(UnsignedLeaf):
    """The vectors of one attempt, added up.

    Attributes:
        request: hash of the body of the request that was answered by all.
        participants: who is in the sum, sorted.
        words: SHA-256 of the sum's ring words, little-endian in the request's dtype.
    """

    KIND: ClassVar = LeafKind.SUM

    request: Hex32
    participants: tuple[InstitutionId, ...]
    words: Hex32

    @model_validator(mode="after")
    def _sorted_and_distinct(self) -> Self:
        if list(self.participants) != sorted(set(self.participants)):
            raise ValueError("participants: expected them sorted by id, each once")
        return self


class ParametersRecord(UnsignedLeaf):
    """The parameters after a step: `step` counts the steps taken, from 1."""

    KIND: ClassVar = LeafKind.PARAMETERS

    step: Count
    parameters: Hex32  # sha256 of parameters_to_bytes(state.parameters)


class MetricsRecord(UnsignedLeaf):
    """The federation's own metrics: canonical JSON, or nothing where noise hid them."""

    KIND: ClassVar = LeafKind.METRICS

    metrics: str = Field(max_length=MAX_METRICS)

    @field_validator("metrics")
    @classmethod
    def _canonical(cls, metrics: str) -> str:
        if metrics and not _is_canonical_object(metrics):
            raise ValueError("metrics: expected the canonical JSON of an object, or nothing")
        return metrics


def _is_canonical_object(text: str) -> bool:
    """Say whether this is the RFC 8785 form of a JSON object."""
    try:
        value = json.loads(text)
        return isinstance(value, dict) and rfc8785.dumps(value) == text.encode()
    except (ValueError, RecursionError):  # also of numbers and texts that have no such form
        return False


class _AskingRecord(UnsignedLeaf):
    """A record that holds a group of questions.

    Attributes:
        questions: the canonical JSON of the group whose hash the request binds.
    """

    questions: str = Field(max_length=MAX_GROUP_BYTES)

    @field_validator("questions")
    @classmethod
    def _a_group(cls, questions: str) -> str:
        QuestionGroup.from_bytes(questions.encode())
        return questions

    @property
    def group(self) -> QuestionGroup:
        """The questions."""
        return QuestionGroup.from_bytes(self.questions.encode())


class QuestionsRecord(_AskingRecord):
    """Later questions, before anybody is asked: the use of the study's allowance."""

    KIND: ClassVar = LeafKind.QUESTIONS

    @classmethod
    def of(cls, questions: QuestionGroup) -> "QuestionsRecord":
        """Return the record of a group."""
        return cls(questions=questions.to_bytes().decode())


class _WordsRecord(UnsignedLeaf):
    """A record that holds a sum's words.

    Attributes:
        words: base64 of the sum's ring words, little-endian; the SUM before holds their hash.
    """

    words: str = Field(max_length=MAX_WORDS, pattern=r"^[A-Za-z0-9+/]*={0,2}$")

    @field_validator("words")
    @classmethod
    def _canonical_words(cls, words: str) -> str:
        if base64.b64encode(base64.b64decode(words, validate=True)).decode() != words:
            raise ValueError("words: expected canonical base64")
        return words

    @property
    def content(self) -> bytes:
        """The sum's words."""
        return base64.b64decode(self.words, validate=True)


class MomentsRecord(_WordsRecord):
    """The sum of moments: coordinates follow from it, also when all vectors were deleted."""

    KIND: ClassVar = LeafKind.MOMENTS

    words: str = Field(max_length=MAX_MOMENTS, pattern=r"^[A-Za-z0-9+/]*={0,2}$")

    @classmethod
    def of(cls, words: bytes) -> "MomentsRecord":
        """Return the record of the words of a sum."""
        return cls(words=base64.b64encode(words).decode())


class GuardRecord(_WordsRecord):
    """The difference of log losses between a public start and what was trained from it.

    Attributes:
        taken: which of the two goes on; it follows from the sum.
    """

    KIND: ClassVar = LeafKind.GUARD

    taken: Literal["trained", "start"]

    @classmethod
    def of(cls, words: bytes, *, trained: bool) -> "GuardRecord":
        """Return the record of a choice and the words of the sum that it follows from."""
        taken: Literal["trained", "start"] = "trained" if trained else "start"
        return cls(taken=taken, words=base64.b64encode(words).decode())


class FairnessRecord(_WordsRecord):
    """The counts by group of one model; reading rates off them is post-processing.

    Attributes:
        threshold: log-odds from which a unit was an alert; it follows from the evaluation's sum,
            and the request binds it after the model.
    """

    KIND: ClassVar = LeafKind.FAIRNESS

    threshold: float

    @classmethod
    def of(cls, threshold: float, words: bytes) -> "FairnessRecord":
        """Return the record of a threshold and the words of the sum."""
        return cls(threshold=threshold, words=base64.b64encode(words).decode())


class AnswersRecord(_WordsRecord, _AskingRecord):
    """The questions, and the sum that answers them; reading it off is post-processing."""

    KIND: ClassVar = LeafKind.ANSWERS

    @classmethod
    def of(cls, questions: QuestionGroup, words: bytes) -> "AnswersRecord":
        """Return the record of a group and the words of the sum that answers it."""
        text = base64.b64encode(words).decode()
        return cls(questions=questions.to_bytes().decode(), words=text)


class ModelRecord(UnsignedLeaf):
    """The finished model: the averaged iterates after `steps` steps."""

    KIND: ClassVar = LeafKind.MODEL

    model: Hex32  # sha256 of parameters_to_bytes(state.model)
    steps: Count


class EndRecord(UnsignedLeaf):
    """How a run, or a part of one that was resumed later, ended."""

    KIND: ClassVar = LeafKind.END

    state: Literal["finished", "stopped", "failed"]
    reason: str = Field(max_length=MAX_REASON)


class TreeHead(MessageBody):
    """The log of a run at one size: signed by the coordinator, co-signed by institutions."""

    TYPE: ClassVar[str] = "fieldfare.tree-head.v1"

    study: Hex32
    run: RunId
    size: Count
    root: Hex32


def tree_head(study: str, run: str, hashes: Sequence[bytes]) -> TreeHead:
    """Return the head over the hashes of a run's leaves, in order."""
    return TreeHead(study=study, run=run, size=len(hashes), root=merkle.root(hashes).hex())

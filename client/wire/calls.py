"""The nine calls that a custodian answers: the only table of what each asks with and gets.

Answers are what stands here or a refusal. Two calls release, in two messages. Nothing here reads
records, changes policy or approves; what arrives (an offered study, a finished model) is kept for a
person to look at.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fieldfare.client.wire.frames import LONGEST_LIST, LONGEST_TEXT, Field, FieldKind, Shape
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.flower_record import REFUSAL, REJECTION, Call
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES

# What answers a call: its question's frame in, its answer's out.
CustodianPort = Callable[[Call, bytes], bytes]

_KIB: Final = 1024
# No frame is larger, whatever it says; gRPC refuses it before it is read to the end.
LARGEST_FRAME: Final = MAX_MESSAGE_BYTES + 64 * _KIB  # names, lengths and tags around the content


def _fields(
    *content: str,
    texts: Collection[str] = (),
    lists: Collection[str] = (),
    optional: Collection[str] = (),
) -> Shape:
    kinds = dict.fromkeys(texts, FieldKind.TEXT) | dict.fromkeys(content, FieldKind.BYTES)
    kinds |= dict.fromkeys(lists, FieldKind.LIST)
    return tuple(Field(name, kind, name in optional) for name, kind in kinds.items())


# A fixed code, and beside that of a `hello` alone a person's signed rejection, where there is one.
REFUSED: Final[Shape] = _fields(REFUSAL)
REJECTED: Final[Shape] = _fields(REFUSAL, REJECTION, optional=(REJECTION,))


@dataclass(frozen=True, kw_only=True)
class CallShape:
    """What one call looks like.

    Attributes:
        question: its fields, as on Flower's wire.
        answer: likewise, where it is no refusal.
        refused: where it is one.
        largest: frame that asks, in bytes. An answer has 2.5 KiB, an offer 1.5 KiB for each
            participant after its own, so offers of 100 participants fit.
        seconds: that a node waits for the answer.
    """

    question: Shape
    answer: Shape
    refused: Shape = REFUSED
    largest: int = LARGEST_FRAME
    seconds: float = 60.0


_RUN: Final = ("study", "run")
_LAST: Final = ("last_replies", "last_vectors", "last_statements")

# docs/protocol.md, "A run" and "Between node and custodian", says what each field holds.
CALLS: Final[Mapping[Call, CallShape]] = MappingProxyType(
    {
        Call.HELLO: CallShape(
            question=_fields(
                "last_reply",
                "offer",
                texts=(*_RUN, "nonce"),
                optional=("offer", "run", "nonce"),
            ),
            answer=_fields("approval", "answer", "question", optional=("answer", "question")),
            refused=REJECTED,
            largest=8 * _KIB * _KIB,  # a study has at most 4 MiB
        ),
        Call.RECALL: CallShape(
            question=_fields(lists=("questions", "memories"), optional=("memories",)),
            answer=_fields(lists=("memories",)),
        ),
        Call.OPEN: CallShape(
            question=_fields("opening", lists=("answers", "approvals")),
            answer=_fields("offer"),
            largest=4 * _KIB * _KIB,
        ),
        Call.AGREE: CallShape(
            question=_fields(texts=_RUN, lists=("offers",)), answer=_fields("agreed")
        ),
        Call.RELEASE: CallShape(
            question=_fields(
                "request",
                "parameters",
                "last_request",
                lists=_LAST,
                optional=("last_request", *_LAST),
            ),
            answer=_fields("commitment", "vector"),
            seconds=600.0,  # as long as the sum over all records takes
        ),
        Call.REVEAL: CallShape(
            question=_fields("request", lists=("statements",)),
            answer=_fields("reply"),
            largest=4 * _KIB * _KIB,  # a commitment has 0.7 KiB
        ),
        Call.PUBLISH: CallShape(
            question=_fields("request", lists=("replies", "vectors", "statements")),
            answer=_fields("keys"),
            largest=4 * _KIB * _KIB,  # vectors of a rehearsal have at most 2 MiB together
        ),
        Call.COSIGN: CallShape(
            question=_fields(
                "head",
                "log",
                "hashes",
                texts=_RUN,
                lists=("vectors",),
                optional=("log", "hashes", "vectors"),
            ),
            answer=_fields("cosigned"),
        ),
        Call.DELIVER: CallShape(
            question=_fields("delivery", "model", "card"), answer=_fields("received")
        ),
    }
)


def _version() -> str:
    """Return what two programs have in common that know the same calls, fields and refusals."""
    known = [
        (call.value, [(field.name, field.kind.name, field.optional) for field in shape])
        for call, sides in CALLS.items()
        for shape in (sides.question, sides.answer, sides.refused)
    ]
    codes = [code.value for code in RefusalCode]  # who knows fewer reads a new one as `malformed`
    return bytes_hash(json.dumps([known, codes, LONGEST_LIST, LONGEST_TEXT]).encode())[:16]


# Of another table or other refusals is another service: UNIMPLEMENTED, never a refusal.
SERVICE: Final = f"fieldfare.custodian.{_version()}"


def path_of(call: Call) -> str:
    """Return the path under which gRPC knows a call."""
    return f"/{SERVICE}/{call.value}"

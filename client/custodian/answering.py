"""One call to the custodian: a frame of bytes in, a frame of bytes out.

Frames are read and nothing else; every check of content and every refusal is the custodian's. A
frame that cannot be read is refused as `malformed`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.wire import custodian_pb2 as pb
from fieldfare.client.wire.frames import checked_list, checked_name
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import LastSum, Refusal
from fieldfare.shared.transcript.heads import ShownLog


def _describe(custodian: Custodian, frame: bytes) -> pb.DescribeAnswer:
    asked = pb.DescribeRequest.FromString(frame)
    study, run, nonce = (checked_name(name) for name in (asked.study, asked.run, asked.nonce))
    answer = custodian.describe(study, asked.last_reply, asked.offer, run, nonce)
    if isinstance(answer, Refusal):
        return pb.DescribeAnswer(refusal=answer.to_bytes(), rejection=answer.rejection)
    return pb.DescribeAnswer(
        approval=answer.approval, run_answer=answer.answer, question=answer.question
    )


def _recall(custodian: Custodian, frame: bytes) -> pb.RecallAnswer:
    asked = pb.RecallRequest.FromString(frame)
    answer = custodian.recall(checked_list(asked.questions), checked_list(asked.memories))
    if isinstance(answer, Refusal):
        return pb.RecallAnswer(refusal=answer.to_bytes())
    return pb.RecallAnswer(remembered=pb.Memories(memories=answer))


def _open_run(custodian: Custodian, frame: bytes) -> pb.OpenRunAnswer:
    asked = pb.OpenRunRequest.FromString(frame)
    answers, approvals = checked_list(asked.answers), checked_list(asked.approvals)
    answer = custodian.open_run(asked.opening, answers, approvals)
    if isinstance(answer, Refusal):
        return pb.OpenRunAnswer(refusal=answer.to_bytes())
    return pb.OpenRunAnswer(offer=answer)


def _agree(custodian: Custodian, frame: bytes) -> pb.AgreeAnswer:
    asked = pb.AgreeRequest.FromString(frame)
    study, run = checked_name(asked.study), checked_name(asked.run)
    answer = custodian.agree(study, run, checked_list(asked.offers))
    if isinstance(answer, Refusal):
        return pb.AgreeAnswer(refusal=answer.to_bytes())
    return pb.AgreeAnswer(agreed=answer)


def _release(custodian: Custodian, frame: bytes) -> pb.ReleaseAnswer:
    asked = pb.ReleaseRequest.FromString(frame)
    last = LastSum(
        asked.last_request,
        tuple(checked_list(asked.last_replies)),
        tuple(checked_list(asked.last_vectors)),
        tuple(checked_list(asked.last_statements)),
    )
    answer = custodian.release(asked.request, asked.parameters, last)
    if isinstance(answer, Refusal):
        return pb.ReleaseAnswer(refusal=answer.to_bytes())
    committed = pb.CommitmentAndVector(commitment=answer.commitment, vector=answer.vector)
    return pb.ReleaseAnswer(committed=committed)


def _reveal(custodian: Custodian, frame: bytes) -> pb.RevealAnswer:
    asked = pb.RevealRequest.FromString(frame)
    answer = custodian.reveal(asked.request, checked_list(asked.statements))
    if isinstance(answer, Refusal):
        return pb.RevealAnswer(refusal=answer.to_bytes())
    return pb.RevealAnswer(reply=answer)


def _publish(custodian: Custodian, frame: bytes) -> pb.PublishAnswer:
    asked = pb.PublishRequest.FromString(frame)
    lists = (asked.replies, asked.vectors, asked.statements)
    rehearsal = LastSum(asked.request, *(tuple(checked_list(items)) for items in lists))
    answer = custodian.publish(rehearsal)
    if isinstance(answer, Refusal):
        return pb.PublishAnswer(refusal=answer.to_bytes())
    return pb.PublishAnswer(keys=answer)


def _cosign(custodian: Custodian, frame: bytes) -> pb.CosignAnswer:
    asked = pb.CosignRequest.FromString(frame)
    study, run = checked_name(asked.study), checked_name(asked.run)
    vectors = tuple(checked_list(asked.vectors))
    shown = ShownLog(asked.head, asked.log, asked.hashes, vectors)
    answer = custodian.cosign(study, run, shown)
    if isinstance(answer, Refusal):
        return pb.CosignAnswer(refusal=answer.to_bytes())
    return pb.CosignAnswer(cosigned=answer)


def _deliver(custodian: Custodian, frame: bytes) -> pb.DeliverAnswer:
    asked = pb.DeliverRequest.FromString(frame)
    answer = custodian.deliver(asked.delivery, asked.model, asked.card)
    if isinstance(answer, Refusal):
        return pb.DeliverAnswer(refusal=answer.to_bytes())
    return pb.DeliverAnswer(received=answer)


class _Answer(Protocol):
    """An answer's frame; all of them have a field for the refusal."""

    def __init__(self, *, refusal: bytes) -> None: ...

    def SerializeToString(self) -> bytes: ...  # noqa: N802 -- protobuf's name


@dataclass(frozen=True)
class _Call:
    ask: Callable[[Custodian, bytes], _Answer]
    answer: type[_Answer]


CALLS: Final[Mapping[str, _Call]] = MappingProxyType(
    {
        "Describe": _Call(_describe, pb.DescribeAnswer),
        "Recall": _Call(_recall, pb.RecallAnswer),
        "OpenRun": _Call(_open_run, pb.OpenRunAnswer),
        "Agree": _Call(_agree, pb.AgreeAnswer),
        "Release": _Call(_release, pb.ReleaseAnswer),
        "Reveal": _Call(_reveal, pb.RevealAnswer),
        "Publish": _Call(_publish, pb.PublishAnswer),
        "Cosign": _Call(_cosign, pb.CosignAnswer),
        "Deliver": _Call(_deliver, pb.DeliverAnswer),
    }
)


def answer(custodian: Custodian, call: str, frame: bytes) -> bytes:
    """Answer one frame with one frame: content, or a refusal's fixed bytes."""
    try:
        return CALLS[call].ask(custodian, frame).SerializeToString()
    except (DecodeError, ProtocolError) as error:
        refusal = custodian.refuse_frame(call, f"malformed frame ({type(error).__name__})")
        return CALLS[call].answer(refusal=refusal.to_bytes()).SerializeToString()

"""One call to the custodian: a frame of bytes in, a frame of bytes out.

Frames are read and nothing else; every check of content and every refusal is the custodian's. A
frame that cannot be read is refused as `malformed`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.client.wire.calls import CALLS
from fieldfare.client.wire.frames import Field, FieldKind, Shape, decode, encode
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.flower_record import REFUSAL, REJECTION, Call, Content
from fieldfare.shared.protocol.messages import LastSum, Refusal
from fieldfare.shared.transcript.heads import ShownLog

Argument = str | bytes | tuple[bytes, ...]
Answer = bytes | tuple[bytes, ...] | CommitmentReply | HelloAnswer


def _release(custodian: Custodian, given: Mapping[str, Any]) -> CommitmentReply | Refusal:
    parts = ("request", "replies", "vectors", "statements")
    last = LastSum(*(given[f"last_{part}"] for part in parts))
    return custodian.release(given["request"], given["parameters"], last)


def _cosign(custodian: Custodian, given: Mapping[str, Any]) -> bytes | Refusal:
    shown = ShownLog(given["head"], given["log"], given["hashes"], given["vectors"])
    return custodian.cosign(given["study"], given["run"], shown)


# Arguments have the names of a question's fields.
_ASK: Final[Mapping[Call, Callable[[Custodian, Mapping[str, Any]], Answer | Refusal]]] = {
    Call.HELLO: lambda custodian, given: custodian.describe(**given),
    Call.RECALL: lambda custodian, given: custodian.recall(**given),
    Call.OPEN: lambda custodian, given: custodian.open_run(**given),
    Call.AGREE: lambda custodian, given: custodian.agree(**given),
    Call.RELEASE: _release,
    Call.REVEAL: lambda custodian, given: custodian.reveal(**given),
    Call.PUBLISH: lambda custodian, given: custodian.publish(LastSum(**given)),
    Call.COSIGN: _cosign,
    Call.DELIVER: lambda custodian, given: custodian.deliver(**given),
}


def answer(custodian: Custodian, call: Call, frame: bytes) -> bytes:
    """Answer one frame with one frame: content, or a refusal's fixed bytes."""
    shape = CALLS[call]
    try:
        content = decode(frame, shape.question)
    except ProtocolError as error:
        return _encode_refusal(call, custodian.refuse_frame(call.value, str(error)))
    arguments = {field.name: _argument(field, content) for field in shape.question}
    reply = _ASK[call](custodian, arguments)
    if isinstance(reply, Refusal):
        return _encode_refusal(call, reply)
    return encode(shape.answer, _content(shape.answer, reply))


def _encode_refusal(call: Call, refusal: Refusal) -> bytes:
    return encode(CALLS[call].refused, {REFUSAL: refusal.to_bytes(), REJECTION: refusal.rejection})


def _argument(field: Field, content: Content) -> Argument:
    value = content.get(field.name, field.empty)
    if isinstance(value, list):
        return tuple(value)
    return value.decode("ascii") if field.kind is FieldKind.TEXT else value


def _content(shape: Shape, reply: Answer) -> Mapping[str, bytes | Sequence[bytes]]:
    """Name the parts of a custodian's reply as the table does."""
    if isinstance(reply, CommitmentReply | HelloAnswer):
        return vars(reply)
    return {shape[0].name: reply if isinstance(reply, bytes) else list(reply)}

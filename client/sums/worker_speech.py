"""What a custodian and its workers say to each other: frames over two pipes, never code.

A worker is told once what it works on; then each question names a part and one of a closed choice
of sums, and each reply is the sum, or the refusal that the sum came to. The frames are those of
`client/wire`: pipes have no encoding of their own. A worker that sends anything else is broken, and
as good as gone.
"""

from multiprocessing.connection import Connection
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from fieldfare.client.sums.partitions import AskedSum, Whole
from fieldfare.client.wire.frames import Field, decode, encode
from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.protocol.flower_record import bytes_of
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES, ReleaseKind

Refusal = PolicyRefusal | ProtocolError

_ORDER: Final = (Field("order"),)  # canonical JSON
_QUESTION: Final = (Field("part"), Field("kind"), Field("content"), Field("geometry"))
_SUM: Final = (Field("sum"),)
_REFUSED: Final = (Field("policy"), Field("code"), Field("words"))
_LARGEST_REPLY: Final = 2 * MAX_MESSAGE_BYTES + 4096  # 8 bytes where a message's word has 4


class WorkOrder(BaseModel):
    """What a worker works on.

    Attributes:
        study: canonical text of the public plan.
        split: as of `RunSums`.
        files: descriptors of parts, open in the worker, by the part's number.
        memory: bytes that it may keep prepared between two sums.
        packages: that a study's module may be imported from, as the policy lists them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study: str
    split: str
    files: dict[int, int]
    memory: int
    packages: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """Return what a worker is sent."""
        return encode(_ORDER, {"order": canonical_bytes(self)})

    @classmethod
    def from_bytes(cls, frame: bytes) -> "WorkOrder":
        """Parse what `to_bytes` wrote."""
        return cls.model_validate_json(bytes_of(decode(frame, _ORDER), "order"))


def ask(to: Connection, part: int, asked: AskedSum) -> None:
    """Ask for one part's sum."""
    which = {"part": str(part).encode(), "kind": asked.kind.value.encode()}
    to.send_bytes(encode(_QUESTION, which | {"content": asked.content, "geometry": asked.geometry}))


def hear(of: Connection) -> tuple[int, AskedSum]:
    """Return the next part to sum, and what.

    Raises:
        EOFError: the custodian is gone.
    """
    asked = decode(of.recv_bytes(), _QUESTION)
    part, kind, *given = (bytes_of(asked, field.name) for field in _QUESTION)
    return int(part), AskedSum(ReleaseKind(kind.decode()), *given)


def reply(to: Connection, found: Whole | Refusal) -> None:
    """Answer with a sum, or with a refusal."""
    if isinstance(found, PolicyRefusal | ProtocolError):
        policy = b"policy" if isinstance(found, PolicyRefusal) else b""
        code, words = found.code.value.encode(), str(found).encode()
        to.send_bytes(encode(_REFUSED, {"policy": policy, "code": code, "words": words}))
    else:
        to.send_bytes(encode(_SUM, {"sum": np.ascontiguousarray(found, "<i8").tobytes()}))


def answer(of: Connection) -> Whole:
    """Return the sum that was replied.

    Raises:
        PolicyRefusal, ProtocolError: as the worker raised it.
        EOFError: the worker is gone, or what it sent is no reply.
        OSError: likewise, or it is too long for one.
    """
    frame = of.recv_bytes(_LARGEST_REPLY)
    try:
        found = _read_reply(frame)
    except (ProtocolError, ValueError):  # a refusal is returned: these are of the frame itself
        raise EOFError("expected a sum or a refusal of a worker, found another frame") from None
    if isinstance(found, PolicyRefusal | ProtocolError):
        raise found
    return found


def _read_reply(frame: bytes) -> Whole | Refusal:
    content = decode(frame, _SUM, _REFUSED)
    if "sum" in content:
        return np.frombuffer(bytes_of(content, "sum"), "<i8").astype(np.int64)
    code = RefusalCode(bytes_of(content, "code").decode())
    words = bytes_of(content, "words").decode()
    return PolicyRefusal(code, words) if content["policy"] else ProtocolError(words, code)

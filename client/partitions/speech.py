"""What a custodian and its workers say to each other: bytes over two pipes, never code.

A worker is told once what it works on; then each question names a part and one of a closed choice
of sums, and each reply is the sum, or the refusal that the sum came to.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from fieldfare.client.partitions.partitions import AskedSum, Whole
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.protocol.messages import ReleaseKind

Refusal = PolicyRefusal | ProtocolError

_SUM: Final = b"sum"
_REFUSED: Final = {"policy": PolicyRefusal, "protocol": ProtocolError}


@dataclass(frozen=True)
class WorkOrder:
    """What a worker works on.

    Attributes:
        study: canonical text of the public plan.
        split: as of `RunSums`.
        files: descriptors of parts, open in the worker, by the part's number.
        memory: bytes that it may keep prepared between two sums.
        packages: that a study's module may be imported from, as the policy lists them.
    """

    study: str
    split: str
    files: dict[int, int]
    memory: int
    packages: Sequence[str] = field(default=())

    def to_bytes(self) -> bytes:
        """Return what a worker is sent."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "WorkOrder":
        """Parse what `to_bytes` wrote."""
        said = json.loads(content)
        files = {int(part): descriptor for part, descriptor in said.pop("files").items()}
        return cls(files=files, **said)


def ask(to: Connection, part: int, asked: AskedSum) -> None:
    """Ask for one part's sum."""
    to.send_bytes(json.dumps({"part": part, "kind": asked.kind.value}).encode())
    to.send_bytes(asked.content)
    to.send_bytes(asked.geometry)


def hear(of: Connection) -> tuple[int, AskedSum]:
    """Return the next part to sum, and what.

    Raises:
        EOFError: the custodian is gone.
    """
    said = json.loads(of.recv_bytes())
    kind = ReleaseKind(said["kind"])
    return said["part"], AskedSum(kind, of.recv_bytes(), of.recv_bytes())


def reply(to: Connection, found: Whole | Refusal) -> None:
    """Answer with a sum, or with a refusal."""
    if isinstance(found, PolicyRefusal | ProtocolError):
        name = "policy" if isinstance(found, PolicyRefusal) else "protocol"
        to.send_bytes(name.encode())
        to.send_bytes(json.dumps([found.code.value, str(found)]).encode())
        return
    to.send_bytes(_SUM)
    to.send_bytes(np.ascontiguousarray(found, "<i8").tobytes())


def answer(of: Connection) -> Whole:
    """Return the sum that was replied.

    Raises:
        PolicyRefusal, ProtocolError: as the worker raised it.
        EOFError: the worker is gone.
    """
    what, content = of.recv_bytes(), of.recv_bytes()
    if what == _SUM:
        return np.frombuffer(content, "<i8").astype(np.int64)
    code, words = json.loads(content)
    if _REFUSED[what.decode()] is PolicyRefusal:
        raise PolicyRefusal(RefusalCode(code), words)
    raise ProtocolError(words, RefusalCode(code))

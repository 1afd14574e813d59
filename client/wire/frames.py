"""The contract of the custodian's socket: names of calls, limits of bytes, an answer's form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import quote

from fieldfare.client.wire import custodian_pb2
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES

_KIB: Final = 1024
_FRAMING: Final = 64 * _KIB  # lengths and tags around the largest content

# No frame is larger, whatever it says; gRPC refuses it before it is read to the end.
LARGEST_FRAME: Final = MAX_MESSAGE_BYTES + _FRAMING
# The largest frame that asks something, in bytes, by call. An answer has 2.5 KiB, an offer
# 1.5 KiB for each participant after its own, so offers of 100 participants fit.
LARGEST_QUESTION: Final[Mapping[str, int]] = MappingProxyType(
    {
        "Describe": 8 * _KIB * _KIB,  # a study has at most 4 MiB
        "Recall": LARGEST_FRAME,
        "OpenRun": 4 * _KIB * _KIB,
        "Agree": LARGEST_FRAME,
        "Release": LARGEST_FRAME,
        "Reveal": 4 * _KIB * _KIB,  # a commitment has 0.7 KiB
        "Publish": 4 * _KIB * _KIB,  # vectors of a rehearsal have at most 2 MiB together
        "Cosign": LARGEST_FRAME,
        "Deliver": LARGEST_FRAME,
    }
)
LONGEST_LIST: Final = 1024  # of approvals or offers: nothing that is empty fills memory
LONGEST_NAME: Final = 128  # of a study or run, as in shared/protocol/flower_record.py

SERVICE: Final = custodian_pb2.DESCRIPTOR.services_by_name["Custodian"].full_name


@dataclass(frozen=True)
class Committed:
    """A first message that leaves: the signed commitment, and the vector that its seed opens."""

    commitment: bytes
    vector: bytes


@dataclass(frozen=True)
class Described:
    """An answer to `hello`: the signed approval, and where a run is named the signed RunAnswer.

    Beside that, the signed question of a custodian that has to hear what all members remember.
    """

    approval: bytes
    answer: bytes = b""
    question: bytes = b""


def unix_address(path: Path) -> str:
    """Return a socket's path as gRPC reads it: a URI, so that no character is special."""
    return f"unix:{quote(str(path))}"


def path_of(call: str) -> str:
    """Return the path under which gRPC knows a call."""
    return f"/{SERVICE}/{call}"


def checked_name(name: str) -> str:
    """Return the id of a study or run.

    Raises:
        ProtocolError: too long, or not ASCII.
    """
    if len(name) > LONGEST_NAME or not name.isascii():
        raise ProtocolError(f"expected an id of at most {LONGEST_NAME} ASCII characters")
    return name


def checked_list(items: Sequence[bytes]) -> list[bytes]:
    """Return the parts of a list of signed messages.

    Raises:
        ProtocolError: too many.
    """
    if len(items) > LONGEST_LIST:
        raise ProtocolError(f"expected at most {LONGEST_LIST} messages, found {len(items)}")
    return list(items)

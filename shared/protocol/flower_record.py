"""The content of a Flower message: one record of named byte strings each way.

Names only; nothing here is signed or trusted. Parsing and checking happen where the
bytes are used.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import Refusal

RECORD: Final = "fieldfare"
REFUSAL: Final = "refusal"
REJECTION: Final = "rejection"  # beside a refusal, where a person said no to the study

Content = dict[str, bytes | list[bytes]]


class Call(Enum):
    """The calls that a coordinator may make; the action part of Flower's `query` message type."""

    HELLO = "hello"
    RECALL = "recall"
    OPEN = "open"
    AGREE = "agree"
    RELEASE = "release"
    REVEAL = "reveal"
    PUBLISH = "publish"
    COSIGN = "cosign"
    DELIVER = "deliver"

    @property
    def message_type(self) -> str:
        """Flower's message type."""
        return f"query.{self.value}"


def bytes_of(content: Mapping[str, Any], name: str) -> bytes:
    """Return one byte string.

    Raises:
        ProtocolError: absent or of another type.
    """
    value = content.get(name)
    if not isinstance(value, bytes):
        raise ProtocolError(f"expected bytes named {name!r}")
    return value


def bytes_in(content: Mapping[str, Any], name: str) -> bytes:
    """Return bytes, empty where there are none.

    Raises:
        ProtocolError: of another type.
    """
    return bytes_of(content, name) if name in content else b""


def list_in(content: Mapping[str, Any], name: str) -> list[bytes]:
    """Return a list of byte strings, empty where there is none.

    Raises:
        ProtocolError: of another type.
    """
    value = content.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, bytes) for item in value):
        raise ProtocolError(f"expected a list of bytes named {name!r}")
    return value


def refusal_in(content: Mapping[str, Any]) -> Refusal | None:
    """Return the refusal that a reply carries, if it is one.

    Raises:
        ProtocolError: a refusal that cannot be read.
    """
    return Refusal.from_bytes(bytes_of(content, REFUSAL)) if REFUSAL in content else None

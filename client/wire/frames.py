"""A frame of bytes, and the named contents that it carries between an institution's own processes.

One content has one frame: all fields of its shape, in the shape's order, each once, in protobuf's
shortest spelling. What may be missing is there and empty. So a frame that was cut, that says more
or says something twice cannot be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from google.protobuf.message import DecodeError

from fieldfare.client.wire import frame_pb2
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.flower_record import Content

LONGEST_LIST: Final = 1024  # of approvals or offers: nothing that is empty fills memory
LONGEST_TEXT: Final = 128  # of the id of a study or run, in ASCII


class FieldKind(Enum):
    """What a field holds."""

    TEXT = "a short ASCII text"
    BYTES = "bytes"
    LIST = "a list of bytes"


@dataclass(frozen=True)
class Field:
    """One field of a question or an answer.

    Attributes:
        name: in frames and in Flower's records.
        kind: what it holds.
        optional: whether a content may lack it, which is the same as an empty one.
    """

    name: str
    kind: FieldKind = FieldKind.BYTES
    optional: bool = False

    @property
    def empty(self) -> bytes | list[bytes]:
        """What the field holds where a content lacks it."""
        return [] if self.kind is FieldKind.LIST else b""


Shape = tuple[Field, ...]


def encode(shape: Shape, content: Mapping[str, Any]) -> bytes:
    """Return the frame of a content; what the shape does not name is left out.

    Raises:
        ProtocolError: a field that is missing or of another kind, too long a text or list.
    """
    frame = frame_pb2.Frame()
    for field in shape:
        value = _checked(field, content.get(field.name, field.empty if field.optional else None))
        frame.fields.add(name=field.name, items=value if isinstance(value, list) else [value])
    return frame.SerializeToString()


def decode(frame: bytes, *shapes: Shape) -> Content:
    """Return the content of a frame of one of these shapes, without what is optional and empty.

    Raises:
        ProtocolError: not the one frame of a content of such a shape.
    """
    message = _parse(frame)
    most = max(map(len, shapes)) + 1  # of names: more than are known say nothing more
    names = [field.name for field in message.fields[:most]]
    for shape in shapes:
        if names == [field.name for field in shape]:
            _check_spelling(message, frame)
            items = [field.items[: LONGEST_LIST + 1] for field in message.fields]
            values = zip(shape, map(_value, shape, items), strict=True)
            return {field.name: value for field, value in values if value or not field.optional}
    wanted = " or ".join(", ".join(field.name for field in shape) for shape in shapes)
    raise ProtocolError(f"expected a frame of {wanted}, found another")


def unix_address(path: Path) -> str:
    """Return a socket's path as gRPC reads it: a URI, so that no character is special."""
    return f"unix:{quote(str(path))}"


def _parse(content: bytes) -> frame_pb2.Frame:
    try:
        return frame_pb2.Frame.FromString(content)
    except DecodeError:
        raise ProtocolError("expected a frame, found something else") from None


def _check_spelling(frame: frame_pb2.Frame, content: bytes) -> None:
    """Check that protobuf writes what it read: no field of another number, no longer spelling."""
    frame.DiscardUnknownFields()
    if frame.SerializeToString() != content:
        raise ProtocolError("expected a frame in its one spelling, found another")


def _value(field: Field, items: list[bytes]) -> bytes | list[bytes]:
    is_one = field.kind is not FieldKind.LIST and len(items) == 1
    return _checked(field, items[0] if is_one else items)


def _checked(field: Field, value: object) -> bytes | list[bytes]:
    """Return what a field holds, if it is of its kind and no longer than that may be."""
    if field.kind is FieldKind.LIST:
        if isinstance(value, list) and len(value) <= LONGEST_LIST and all(map(_is_bytes, value)):
            return value
    elif isinstance(value, bytes) and (field.kind is FieldKind.BYTES or _is_short_text(value)):
        return value
    raise ProtocolError(f"expected {field.kind.value} named {field.name!r}")


def _is_bytes(value: object) -> bool:
    return isinstance(value, bytes)


def _is_short_text(value: bytes) -> bool:
    return len(value) <= LONGEST_TEXT and value.isascii()

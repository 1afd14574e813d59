"""A frame of bytes, and the named contents that it carries between an institution's own processes.

One content has one frame: all fields of its shape, in the shape's order, each once, in protobuf's
shortest spelling. What may be missing is there and empty. So a frame that was cut, that says more
or says something twice cannot be read. Its fields and items are counted before protobuf makes an
object of each: 16 MiB of empty ones came to 450 MB.
"""

from collections.abc import Iterator, Mapping
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
_FIELD_TAGS: Final = b"\x0a"  # frame.proto, Frame.fields: number 1, of bytes
_PART_TAGS: Final = b"\x0a\x12"  # Field.name and Field.items: numbers 1 and 2, of bytes
_LENGTH_BITS: Final = 28  # of a part: above any frame
_GOES_ON: Final = 0x80  # of a byte of a length: another one follows


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
    most = max(map(len, shapes))
    for field_bytes in _split(memoryview(frame), _FIELD_TAGS, most + 1):
        for _ in _split(field_bytes, _PART_TAGS, LONGEST_LIST + 2):  # a name, and an item too many
            pass
    message = _parse(frame)
    names = [field.name for field in message.fields]
    for shape in shapes:
        if names == [field.name for field in shape]:
            _check_spelling(message, frame)
            items = [field.items[:] for field in message.fields]
            values = zip(shape, map(_value, shape, items), strict=True)
            return {field.name: value for field, value in values if value or not field.optional}
    wanted = " or ".join(", ".join(field.name for field in shape) for shape in shapes)
    raise ProtocolError(f"expected a frame of {wanted}, found another")


def unix_address(path: Path) -> str:
    """Return a socket's path as gRPC reads it: a URI, so that no character is special."""
    return f"unix:{quote(str(path))}"


def _split(content: memoryview, tags: bytes, most: int) -> Iterator[memoryview]:
    """Yield the parts of a protobuf message that has nothing but bytes under these tags.

    Raises:
        ProtocolError: something else, or more than `most` parts.
    """
    place = 0
    while place < len(content):
        most -= 1
        tag, (size, place) = content[place], _length_at(content, place + 1)
        if most < 0 or tag not in tags or size > len(content) - place:
            raise ProtocolError("expected a frame of few fields and items, found another")
        yield content[place : place + size]
        place += size


def _length_at(content: memoryview, place: int) -> tuple[int, int]:
    """Return the base-128 number that begins at a place, and the place after it."""
    size = 0
    for shift, byte in zip(range(0, _LENGTH_BITS, 7), content[place:], strict=False):
        size |= (byte & 0x7F) << shift
        if byte < _GOES_ON:
            return size, place + shift // 7 + 1
    raise ProtocolError("expected a frame, found something else")


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

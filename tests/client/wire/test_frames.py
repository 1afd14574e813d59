"""A frame carries one content and has one spelling: whatever else comes cannot be read."""

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.wire import frame_pb2 as pb
from fieldfare.client.wire.frames import (
    LONGEST_LIST,
    LONGEST_TEXT,
    Field,
    FieldKind,
    decode,
    encode,
    unix_address,
)
from fieldfare.shared.errors import ProtocolError, RefusalCode

NAME: Final = Field("name", FieldKind.TEXT)
CONTENT: Final = Field("content")
PARTS: Final = Field("parts", FieldKind.LIST)
MORE: Final = (
    Field("nick", FieldKind.TEXT, optional=True),
    Field("beside", optional=True),
    Field("others", FieldKind.LIST, optional=True),
)
SHAPE: Final = (NAME, CONTENT, PARTS, *MORE)
OTHER: Final = (CONTENT,)
WHOLE: Final[dict[str, Any]] = {
    "name": b"a" * LONGEST_TEXT,
    "content": bytes(range(256)),
    "parts": [b"x", b"", b"y"],
    "nick": b"n",
    "beside": b"\x00",
    "others": [b""],
}
LEAST: Final[dict[str, Any]] = {"name": b"", "content": b"", "parts": []}


def framed(*fields: tuple[str, list[bytes]]) -> bytes:
    """A frame of any fields, whatever a shape says."""
    found = pb.Frame(fields=[pb.Field(name=name, items=items) for name, items in fields])
    return found.SerializeToString()


def of(content: dict[str, Any]) -> list[tuple[str, list[bytes]]]:
    """The fields that stand in the frame of a content."""
    read = pb.Frame.FromString(encode(SHAPE, content))
    return [(one.name, list(one.items)) for one in read.fields]


texts = st.text(st.characters(max_codepoint=127), max_size=LONGEST_TEXT).map(str.encode)
lists = st.lists(st.binary(max_size=20), max_size=4)
contents = st.fixed_dictionaries(
    {"name": texts, "content": st.binary(max_size=200), "parts": lists},
    optional={
        "nick": texts.filter(bool),
        "beside": st.binary(min_size=1, max_size=20),
        "others": lists.filter(bool),
    },
)


@given(content=contents)
def test_what_is_framed_comes_back(content: dict[str, Any]) -> None:
    assert decode(encode(SHAPE, content), SHAPE) == content


@pytest.mark.parametrize("content", [WHOLE, LEAST])
def test_a_frame_that_was_cut_anywhere_cannot_be_read(content: dict[str, Any]) -> None:
    """Also between two fields, and where all that is cut off may be missing."""
    frame = encode(SHAPE, content)
    for size in range(len(frame)):
        with pytest.raises(ProtocolError):
            decode(frame[:size], SHAPE)


@given(content=contents, data=st.data())
def test_a_frame_with_a_fault_is_refused_or_says_something_else(
    content: dict[str, Any], data: st.DataObject
) -> None:
    """No two frames say the same."""
    frame = encode(SHAPE, content)
    at = data.draw(st.integers(0, len(frame) - 1))
    cut = data.draw(st.integers(0, 4))
    put = data.draw(st.binary(max_size=4).filter(lambda put: put != frame[at : at + cut]))
    faulty = frame[:at] + put + frame[at + cut :]
    try:
        read = decode(faulty, SHAPE)
    except ProtocolError:
        return
    assert read != content
    assert encode(SHAPE, read) == faulty


FIELDS: Final = of(WHOLE)
BROKEN: Final[dict[str, bytes]] = {
    "nothing": b"",
    "no protobuf": b"\xff",
    "zero bytes": bytes(100),
    "a field that is missing": framed(*FIELDS[1:]),
    "a field that may be missing and is not there": framed(*FIELDS[:-1]),
    "a field twice": framed(FIELDS[0], *FIELDS),
    "a field more": framed(*FIELDS, ("more", [b""])),
    "a field of another name": framed(("names", [b""]), *FIELDS[1:]),
    "fields in another order": framed(FIELDS[1], FIELDS[0], *FIELDS[2:]),
    "a field of protobuf's more": framed(*FIELDS) + b"\x12\x00",
    "the same inside a field": b"\x0a\x09\x0a\x04name\x18\x01\x12\x00" + framed(*FIELDS[1:]),
    "a length in two bytes": b"\x0a\x88\x00\x0a\x04name\x12\x00" + framed(*FIELDS[1:]),
    "a name twice": b"\x0a\x0e\x0a\x04nick\x0a\x04name\x12\x00" + framed(*FIELDS[1:]),
    "a name after its items": b"\x0a\x08\x12\x00\x0a\x04name" + framed(*FIELDS[1:]),
    "a name that is no UTF-8": b"\x0a\x08\x0a\x04nam\xff\x12\x00" + framed(*FIELDS[1:]),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_frame_of_the_shape_is_malformed(broken: str) -> None:
    with pytest.raises(ProtocolError, match=r"^expected ") as found:
        decode(BROKEN[broken], SHAPE)
    assert found.value.code is RefusalCode.MALFORMED


def test_the_rows_above_differ_from_a_frame_by_nothing_else() -> None:
    plain = b"\x0a\x08\x0a\x04name\x12\x00" + framed(*FIELDS[1:])
    assert decode(plain, SHAPE) == WHOLE | {"name": b""}
    assert decode(framed(*FIELDS), SHAPE) == WHOLE


LONG: Final = [b""] * (LONGEST_LIST + 1)
WRONG: Final[dict[str, list[Any]]] = {
    "name": [b"x" * (LONGEST_TEXT + 1), "é".encode(), b"\xff", "text", None, [b"x"], 1],
    "content": ["text", 1, None, [b"x"], bytearray(b"x")],
    "parts": [LONG, b"x", None, [1], [b"x", "y"], (b"x",)],
    "nick": [b"x" * (LONGEST_TEXT + 1), "é".encode(), None],
    "others": [LONG, b""],
}


FRAMED: Final[dict[str, list[list[bytes]]]] = {
    "name": [[b"x" * (LONGEST_TEXT + 1)], ["é".encode()], [b"\xff"], [b"a", b"b"], []],
    "content": [[b"a", b"b"], []],
    "parts": [LONG],
    "nick": [[b"x" * (LONGEST_TEXT + 1)], ["é".encode()], []],
    "others": [LONG],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_field_cannot_hold_is_malformed_either_way(name: str) -> None:
    for value in WRONG[name]:
        with pytest.raises(ProtocolError, match=f"named '{name}'$") as found:
            encode(SHAPE, WHOLE | {name: value})
        assert found.value.code is RefusalCode.MALFORMED
    for items in FRAMED[name]:
        fields = [(one, items if one == name else given) for one, given in FIELDS]
        with pytest.raises(ProtocolError, match=f"named '{name}'$"):
            decode(framed(*fields), SHAPE)


def test_the_longest_list_and_text_pass() -> None:
    content = LEAST | {"name": b"x" * LONGEST_TEXT, "parts": [b"a"] * LONGEST_LIST}
    assert decode(encode(SHAPE, content), SHAPE) == content


@pytest.mark.parametrize("name", LEAST)
def test_what_has_to_be_there_is_not_left_out(name: str) -> None:
    with pytest.raises(ProtocolError, match=f"named '{name}'"):
        encode(SHAPE, {one: value for one, value in WHOLE.items() if one != name})


def test_what_a_shape_does_not_name_is_left_out() -> None:
    """A coordinator of a newer version may say more than this one knows."""
    assert encode(SHAPE, WHOLE | {"newer": b"x"}) == encode(SHAPE, WHOLE)


def test_what_may_be_missing_is_the_same_as_empty() -> None:
    empty = LEAST | {"nick": b"", "beside": b"", "others": []}
    assert encode(SHAPE, LEAST) == encode(SHAPE, empty)
    assert decode(encode(SHAPE, empty), SHAPE) == LEAST


def test_a_frame_is_of_one_of_several_shapes() -> None:
    frames = {encode(SHAPE, LEAST): LEAST, encode(OTHER, {"content": b"x"}): {"content": b"x"}}
    for frame, content in frames.items():
        assert decode(frame, OTHER, SHAPE) == content
    with pytest.raises(ProtocolError, match=r"a frame of content or name, .*, found another"):
        decode(framed(("parts", [])), OTHER, SHAPE)


def test_an_error_holds_nothing_of_a_frame() -> None:
    marked = b"customer-4711"
    for fields in ([("name", [marked, marked])], [(marked.decode(), [b""])]):
        with pytest.raises(ProtocolError) as found:
            decode(framed(*fields), (NAME,))
        assert "4711" not in str(found.value)
    with pytest.raises(ProtocolError) as cut:
        decode(framed(("name", [marked]))[:-1], (NAME,))
    assert "4711" not in str(cut.value) + repr(cut.value.__cause__)


def test_no_character_of_a_path_is_special() -> None:
    assert unix_address(Path("/run/a b%41?#/s")) == "unix:/run/a%20b%2541%3F%23/s"

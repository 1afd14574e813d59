from typing import Any

import pytest

from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.protocol.flower_record import Call, bytes_in, bytes_of, list_in, refusal_in
from fieldfare.shared.protocol.messages import Refusal


def test_calls_are_flower_query_actions() -> None:
    assert [call.message_type for call in Call] == [f"query.{call.value}" for call in Call]
    assert all(call.value.isidentifier() for call in Call)


def test_named_bytes_are_returned() -> None:
    content = {"a": b"x", "b": [b"y", b"z"], "d": []}
    assert bytes_of(content, "a") == bytes_in(content, "a") == b"x"
    assert list_in(content, "b") == [b"y", b"z"]
    assert list_in(content, "d") == list_in(content, "c") == []
    assert bytes_in(content, "c") == b""


@pytest.mark.parametrize("value", [None, "text", 1, [b"x"], 1.5, bytearray(b"x")])
def test_anything_but_bytes_is_refused(value: Any) -> None:
    for read in (bytes_of, bytes_in):
        with pytest.raises(ProtocolError, match="'a'"):
            read({"a": value}, "a")
    with pytest.raises(ProtocolError):
        bytes_of({}, "a")


@pytest.mark.parametrize("value", [None, b"text", "text", [b"x", "y"], [b"x", None], (b"x",), [[]]])
def test_anything_but_a_list_of_bytes_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError, match="list of bytes named 'a'"):
        list_in({"a": value}, "a")


def test_a_refusal_is_told_from_an_answer() -> None:
    assert refusal_in({"reply": b"x"}) is None
    refusal = Refusal(RefusalCode.STEP_CLOSED)
    assert refusal_in({"refusal": refusal.to_bytes()}) == refusal
    for value in (b"", b"no", "text", None, [b"x"]):
        with pytest.raises(ProtocolError):
            refusal_in({"refusal": value})

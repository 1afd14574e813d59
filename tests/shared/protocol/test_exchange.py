from typing import Any

import pytest

from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.protocol.flower_record import Call, bytes_of, list_of, refusal_in, text_of
from fieldfare.shared.protocol.messages import Refusal


def test_calls_are_flower_query_actions() -> None:
    assert [call.message_type for call in Call] == [f"query.{call.value}" for call in Call]
    assert all(call.value.isidentifier() for call in Call)


def test_named_bytes_are_returned() -> None:
    content = {"a": b"x", "b": [b"y", b"z"], "c": b"run-1", "d": []}
    assert bytes_of(content, "a") == b"x"
    assert list_of(content, "b") == [b"y", b"z"]
    assert list_of(content, "d") == []
    assert text_of(content, "c") == "run-1"


@pytest.mark.parametrize("value", [None, "text", 1, [b"x"], 1.5, bytearray(b"x")])
def test_anything_but_bytes_is_refused(value: Any) -> None:
    for read in (bytes_of, text_of):
        with pytest.raises(ProtocolError, match="'a'"):
            read({"a": value}, "a")
    with pytest.raises(ProtocolError):
        bytes_of({}, "a")


@pytest.mark.parametrize("value", [None, b"text", "text", [b"x", "y"], [b"x", None], (b"x",), [[]]])
def test_anything_but_a_list_of_bytes_is_refused(value: Any) -> None:
    with pytest.raises(ProtocolError, match="list of bytes named 'a'"):
        list_of({"a": value}, "a")


@pytest.mark.parametrize("value", [b"x" * 129, "ä".encode(), b"\xff", b"x" * 10**7])
def test_long_text_and_other_alphabets_are_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError, match="short ASCII"):
        text_of({"a": value}, "a")


def test_a_refusal_is_told_from_an_answer() -> None:
    assert refusal_in({"reply": b"x"}) is None
    refusal = Refusal(RefusalCode.STEP_CLOSED)
    assert refusal_in({"refusal": refusal.to_bytes()}) == refusal
    for value in (b"", b"no", "text", None, [b"x"]):
        with pytest.raises(ProtocolError):
            refusal_in({"refusal": value})

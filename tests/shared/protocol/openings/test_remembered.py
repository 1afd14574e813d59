"""What an offer lists: as it went in, small for many requests, and refused where it is too much."""

import base64
import json
import secrets
import zlib

import pytest

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import MAX_REMEMBERED
from fieldfare.shared.protocol.remembered import (
    LONGEST,
    MOST_REPLIES,
    MOST_REQUESTS,
    Remembered,
)


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def lists(requests: object = (), replies: object = (), **more: object) -> bytes:
    return json.dumps({"requests": requests, "replies": replies, **more}).encode()


@pytest.mark.parametrize(
    "remembered",
    [
        Remembered(),
        Remembered((b"R",), ()),
        Remembered((), (b"reply",)),
        Remembered(tuple(b"%d" % n for n in range(500)), ("é".encode(), b'{"a":1}')),
    ],
    ids=["nothing", "a request", "a reply", "many"],
)
def test_what_is_listed_comes_out(remembered: Remembered) -> None:
    assert Remembered.from_text(remembered.to_text()) == remembered


def test_nothing_is_no_text() -> None:
    assert Remembered().to_text() == ""


def test_requests_of_one_run_take_some_hundred_bytes_each() -> None:
    """Twenty institutions, 110 requests: participants are the same in all of them."""
    named = [{"answer": secrets.token_hex(32), "institution": f"bank-{n}"} for n in range(20)]
    requests = tuple(
        json.dumps(
            {
                "participants": named,
                "parameters": secrets.token_hex(32),
                "step": step,
                "signature": base64.b64encode(secrets.token_bytes(64)).decode(),
            }
        ).encode()
        for step in range(110)
    )
    assert len(Remembered(requests).to_text()) < 110 * 300


@pytest.mark.parametrize(
    "text",
    [
        "AAAA",
        packed(b""),
        packed(b"[]"),
        packed(b"{}"),
        packed(lists(more=1)),
        packed(lists(requests=[1])),
        packed(lists(requests=[["R"]])),
        packed(lists(requests="R")),
        packed(lists(requests=["R", "R"])),
        packed(lists(replies=["R", "R"])),
        packed(lists(requests=["\ud800"])),
        packed(lists(requests=[str(n) for n in range(MOST_REQUESTS + 1)])),
        packed(lists(replies=[str(n) for n in range(MOST_REPLIES + 1)])),
        packed(lists(requests=["R" * (LONGEST + 1)])),
        packed(b" " * 2**24),
        packed(lists())[:-8],
        base64.b64encode(zlib.compress(lists()) + b"more").decode(),
        "A" * (MAX_REMEMBERED + 4),
        packed(b"[" * 100_000),
    ],
)
def test_anything_else_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Remembered.from_text(text)
    assert len(str(caught.value)) < 100

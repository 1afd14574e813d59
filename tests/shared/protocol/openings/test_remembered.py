"""What an offer lists: as it went in, small for many requests, and refused where it is too much."""

import base64
import json
import secrets
import zlib

import pytest

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import MAX_MESSAGE_BYTES, MAX_REMEMBERED
from fieldfare.shared.protocol.remembered import (
    LONGEST,
    MOST_REPLIES,
    MOST_REQUESTS,
    RememberedMessages,
    room_for,
)


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


def lists(requests: object = (), replies: object = (), **more: object) -> bytes:
    return json.dumps({"requests": requests, "replies": replies, **more}).encode()


@pytest.mark.parametrize(
    "remembered",
    [
        RememberedMessages(),
        RememberedMessages((b"R",), ()),
        RememberedMessages((), (b"reply",)),
        RememberedMessages(tuple(b"%d" % n for n in range(500)), ("é".encode(), b'{"a":1}')),
    ],
    ids=["nothing", "a request", "a reply", "many"],
)
def test_what_is_listed_comes_out(remembered: RememberedMessages) -> None:
    assert RememberedMessages.from_text(remembered.to_text()) == remembered


def test_nothing_is_no_text() -> None:
    assert RememberedMessages().to_text() == ""


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
    assert len(RememberedMessages(requests).to_text()) < 110 * 300


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
        RememberedMessages.from_text(text)
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("most", [MOST_REQUESTS + 1, 700], ids=["too many", "too large inflated"])
def test_what_a_long_study_lists_is_cut_to_what_peers_take(most: int) -> None:
    """A study may have 10,000 steps; a list that peers refuse would end it for good."""
    filler = '"' * (8000 if most == 700 else 1)  # JSON writes it twice as long
    requests = tuple(f"{n}{filler}".encode() for n in range(most))
    kept = RememberedMessages(requests, (b"reply",)).within(MAX_REMEMBERED)
    assert RememberedMessages.from_text(kept.to_text()) == kept
    assert kept.replies == (b"reply",)
    assert 400 < len(kept.requests) < most
    assert kept.requests == requests[: len(kept.requests)]


@pytest.mark.parametrize("participants", [2, 20, 100, 135, 400])
def test_what_all_list_travels_in_one_message(participants: int) -> None:
    room = room_for(participants)
    messages = tuple(secrets.token_hex(400).encode() for _ in range(200))
    kept = RememberedMessages(messages, messages).within(room)
    taken = len(kept.to_text())
    assert taken <= room
    if participants <= 135:
        assert kept.requests
        ciphertexts = participants * (participants - 1) // 2 * 1500
        assert participants * room + ciphertexts < MAX_MESSAGE_BYTES


def test_replies_go_before_requests_do() -> None:
    messages = tuple(secrets.token_hex(400).encode() for _ in range(20))
    kept = RememberedMessages(messages, messages).within(
        len(RememberedMessages(messages).to_text())
    )
    assert kept == RememberedMessages(messages)

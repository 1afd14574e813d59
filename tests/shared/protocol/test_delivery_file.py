"""Delivery files: one spelling, one signature, and the very files that were signed."""

import json
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import delivered

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.delivery import (
    LARGEST_CARD,
    LARGEST_DELIVERY_FILE,
    LARGEST_ENVELOPE,
    LARGEST_MODEL,
    DeliveryFile,
)
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster

KEY, MEMBER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
ROSTER = Roster(
    version=1,
    coordinator=public_hex(KEY),
    members=(Member(id="bank-a", key=public_hex(MEMBER)),),
)
MADE = delivered(home_study(), IdentitySigner(KEY))
FILE = DeliveryFile(MADE.envelope, MADE.model, MADE.card)
CONTENT = FILE.to_bytes()


def test_a_file_comes_back_and_opens() -> None:
    assert DeliveryFile.from_bytes(CONTENT) == FILE
    assert FILE.open(ROSTER) == MADE.delivery
    assert set(json.loads(CONTENT)) == {"card", "delivery", "format", "model", "type"}


def test_the_largest_parts_fit_and_no_more() -> None:
    parts = (LARGEST_ENVELOPE, LARGEST_MODEL, LARGEST_CARD)
    largest = DeliveryFile(*map(bytes, parts))
    content = largest.to_bytes()
    assert DeliveryFile.from_bytes(content) == largest
    assert len(content) <= LARGEST_DELIVERY_FILE


def changed(**changes: Any) -> bytes:
    return rfc8785.dumps(json.loads(CONTENT) | changes)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff\xfe",
        b"[" * 200_000,
        CONTENT + b"\n",
        CONTENT.replace(b'"format":1', b'"format": 1'),
        CONTENT.replace(b'"format":1', b'"format":1,"format":1'),
        changed(format=2),
        changed(type="fieldfare.delivery.v1"),
        changed(more=""),
        changed(card="A"),
        changed(card="AB=="),
        changed(card="====", model="AA\n="),
        b" " * (LARGEST_DELIVERY_FILE + 1),
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="delivery file"):
        DeliveryFile.from_bytes(content)


@given(st.integers(0, len(CONTENT) - 1), st.integers(1, 255))
def test_one_changed_byte_never_opens(at: int, change: int) -> None:
    content = bytes([*CONTENT[:at], CONTENT[at] ^ change, *CONTENT[at + 1 :]])
    with pytest.raises(ProtocolError):
        DeliveryFile.from_bytes(content).open(ROSTER)


def test_files_of_another_delivery_are_refused() -> None:
    other = delivered(home_study(), IdentitySigner(KEY), seed=1)
    for mixed in (replace(FILE, model=other.model), replace(FILE, card=other.card)):
        with pytest.raises(ProtocolError, match="that the delivery binds"):
            mixed.open(ROSTER)


def test_only_the_coordinator_delivers() -> None:
    by_member = sign_envelope(MADE.delivery, "bank-a", IdentitySigner(MEMBER))
    stranger = sign_envelope(
        MADE.delivery, COORDINATOR, IdentitySigner(Ed25519PrivateKey.generate())
    )
    for envelope in (by_member, stranger):
        with pytest.raises(ProtocolError, match="signature"):
            replace(FILE, envelope=envelope).open(ROSTER)

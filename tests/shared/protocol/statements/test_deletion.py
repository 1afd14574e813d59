"""Statements of deletion: each is its party's, and none can be left out of the middle."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.deletion import (
    MOST_HASHES,
    DeletionStatement,
    read_deletions,
    sign_deletion,
)
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner, sign_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster

KEY = Ed25519PrivateKey.generate()
LATER = Ed25519PrivateKey.generate()


def statement(number: int, before: str, **changes: Any) -> DeletionStatement:
    fields: dict[str, Any] = {
        "party": COORDINATOR,
        "number": number,
        "before": before,
        "kind": "masked vectors",
        "subject": f"run-{number}",
        "study": "a" * 64,
        "rule": "retention_days = 30",
        "time": 1_780_000_000 + number,
        "hashes": ("b" * 64,),
    }
    return DeletionStatement(**(fields | changes))


def lines(count: int = 3, party: str = COORDINATOR) -> list[bytes]:
    made: list[bytes] = []
    before = ""
    for number in range(count):
        one = statement(number, before, party=party)
        made.append(sign_deletion(one, IdentitySigner(KEY)))
        before = one.hash
    return made


def read(*content: bytes, keys: tuple[str, ...] = (public_hex(KEY),)) -> int:
    return len(read_deletions(b"\n".join(content), (), keys))


def test_statements_are_read_under_a_roster_and_under_a_key() -> None:
    coordinator = Roster(version=1, coordinator=public_hex(KEY), members=())
    assert len(read_deletions(b"\n".join(lines()), (coordinator,))) == 3
    bank = Roster(version=1, coordinator="", members=(Member(id="bank-a", key=public_hex(KEY)),))
    assert len(read_deletions(b"\n".join(lines(party="bank-a")), (bank,))) == 3
    assert read(*lines()) == 3


def test_one_that_is_left_out_swapped_or_repeated_shows() -> None:
    first, second, third = lines()
    for wrong in ((first, third), (second, third), (first, third, second), (first, first)):
        with pytest.raises(ProtocolError, match="one is missing"):
            read(*wrong)
    with pytest.raises(ProtocolError, match="found none"):
        read(b"")


def test_every_changed_byte_is_refused() -> None:
    (line,) = lines(1)
    for at in range(0, len(line), 7):
        changed = bytearray(line)
        changed[at] ^= 1
        with pytest.raises(ProtocolError):
            read(bytes(changed))


def test_another_key_and_another_name_are_refused() -> None:
    with pytest.raises(ProtocolError, match="signed with a key that you name"):
        read(*lines(), keys=(public_hex(LATER), "no key"))
    signed_as_another = sign_envelope(statement(0, ""), "bank-a", IdentitySigner(KEY))
    with pytest.raises(ProtocolError, match="signed with a key that you name"):
        read(signed_as_another)


def test_the_longest_statement_is_read_again() -> None:
    hashes = tuple(f"{number:064x}" for number in range(MOST_HASHES))
    long = statement(0, "", hashes=hashes, subject="s" * 500, rule="r" * 500)
    assert read(sign_deletion(long, IdentitySigner(KEY))) == 1


def test_a_history_goes_on_under_a_later_key() -> None:
    first = statement(0, "")
    second = statement(1, first.hash)
    both = (
        sign_deletion(first, IdentitySigner(KEY)),
        sign_deletion(second, IdentitySigner(LATER)),
    )
    assert read(*both, keys=(public_hex(KEY), public_hex(LATER))) == 2
    with pytest.raises(ProtocolError, match="line 2"):
        read(*both)


@pytest.mark.parametrize(
    "changes",
    [{"rule": "two\nlines"}, {"subject": ""}, {"kind": "people"}, {"hashes": ("c" * 64, "b" * 64)}],
)
def test_what_a_statement_may_not_say(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        statement(0, "", **changes)

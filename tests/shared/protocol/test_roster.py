import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fieldfare.shared.errors import ProtocolError, RefusalCode
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster, is_institution_id


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def public(number: int) -> str:
    return key(number).public_key().public_bytes_raw().hex()


def roster(*ids: str, **changes: Any) -> Roster:
    members = [{"id": name, "key": public(i)} for i, name in enumerate(ids or "abc", start=1)]
    return Roster.model_validate(
        {"version": 1, "coordinator": public(0), "members": members, **changes}
    )


def test_a_copy_of_a_roster_finds_its_own_keys() -> None:
    first = roster("a", "b")
    assert first.key_of("a") == public(1)
    members = tuple(one.model_copy(update={"key": public(9)}) for one in first.members)
    assert first.model_copy(update={"members": members}).key_of("a") == public(9)


def test_members_are_found_by_id() -> None:
    full = roster()
    assert full.ids == ("a", "b", "c")
    assert full.key_of("b") == public(2)
    assert full.key_of(COORDINATOR) == public(0)


@pytest.mark.parametrize("ids", [("b", "a"), ("a", "a"), ("a", "b", "a"), ("B", "a", "C")])
def test_unsorted_and_repeated_members_are_refused(ids: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="sorted by id, each once"):
        roster(*ids)


def test_ids_are_sorted_by_code_point() -> None:
    assert roster("B", "a", "ä", "\U0001f600").ids == ("B", "a", "ä", "\U0001f600")


def test_no_member_is_called_as_the_coordinator() -> None:
    with pytest.raises(ValidationError, match="other than"):
        roster("a", COORDINATOR)


def test_keys_that_two_hold_are_refused() -> None:
    copied = [{"id": "a", "key": public(1)}, {"id": "b", "key": public(1)}]
    with pytest.raises(ValidationError, match="a key of its own"):
        roster(members=copied)
    with pytest.raises(ValidationError, match="a key of its own"):
        roster(coordinator=public(2))
    simulated = [{"id": "a", "key": ""}, {"id": "b", "key": ""}]
    assert roster(members=simulated, coordinator="").ids == ("a", "b")


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 2**53},
        {"multiplicity": 0},
        {"multiplicity": 65},
        {"format": 2},
        {"coordinator": "00"},
        {"coordinator": "A" * 64},
        {"coordinator": "0" * 63 + "\n"},
        {"unknown": 1},
        {"members": [{"id": "", "key": ""}]},
        {"members": [{"id": "x" * 65, "key": ""}]},
        {"members": [{"id": "a\nb", "key": ""}]},
        {"members": [{"id": "a\n", "key": ""}]},
        {"members": [{"id": "\ud800", "key": ""}]},
        {"members": [{"id": "a", "key": "", "role": "admin"}]},
    ],
)
def test_other_mistakes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        roster(**changes)


def test_the_hash_covers_every_term_and_survives_json() -> None:
    base = roster()
    variants = [
        base,
        roster(version=2),
        roster(multiplicity=2),
        roster(coordinator=public(9)),
        roster("a", "b"),
        roster("a", "b", "d"),
        roster(
            members=[*({"id": i, "key": public(n)} for i, n in zip("abc", (1, 2, 9), strict=True))]
        ),
    ]
    assert len({variant.hash for variant in variants}) == len(variants)
    assert Roster.model_validate(json.loads(base.canonical())).hash == base.hash
    assert roster(version=2**53 - 1).hash


def test_signatures_are_checked_against_the_signers_own_key() -> None:
    full, content = roster(), b"fieldfare.test\x00{}"
    full.verify("a", key(1).sign(content), content)
    full.verify(COORDINATOR, key(0).sign(content), content)
    for signer, signature, signed in [
        ("b", key(1).sign(content), content),  # another member's
        ("a", key(1).sign(content), content + b" "),
        ("a", key(1).sign(content)[:-1], content),
        ("a", key(1).sign(content) + b"\x00", content),
        ("a", b"", content),
        ("a", bytes(64), content),
        ("d", key(1).sign(content), content),
        ("", key(1).sign(content), content),
    ]:
        with pytest.raises(ProtocolError) as caught:
            full.verify(signer, signature, signed)
        assert caught.value.code is RefusalCode.BAD_SIGNATURE


def test_a_roster_without_keys_verifies_nothing() -> None:
    simulated = Roster(version=1, coordinator="", members=(Member(id="a", key=""),))
    for signer in ("a", COORDINATOR):
        with pytest.raises(ProtocolError, match="pin the right roster"):
            simulated.verify(signer, b"", b"")


@pytest.mark.parametrize("encoded", ["00" * 32, "ff" * 32, "ec" + "ff" * 30 + "7f"])
def test_bytes_that_are_no_point_verify_nothing(encoded: str) -> None:
    full = roster(members=[{"id": "a", "key": encoded}])
    with pytest.raises(ProtocolError):
        full.verify("a", key(1).sign(b"x"), b"x")


def test_ids_that_may_name_an_institution() -> None:
    for name in ("a", "Bank of Ä", "x" * 64, "Coordinator"):
        assert is_institution_id(name)
        assert roster(name).ids == (name,)
    for name in ("", "x" * 65, "a\n", "a\x7f", COORDINATOR):
        assert not is_institution_id(name)

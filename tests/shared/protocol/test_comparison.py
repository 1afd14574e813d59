"""Codes that people read aloud, and what follows from what members say."""

from dataclasses import replace
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.comparison import (
    KnownKeys,
    is_code,
    key_code,
    matches_code,
    open_vouching,
    roster_code,
    sign_vouching,
)
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.roster import Member, Roster

NAMES: Final = ("a", "b", "c", "d", "e")
KEYS: Final = {name: Ed25519PrivateKey.from_private_bytes(name.encode() * 32) for name in NAMES}
PAIRS: Final = {name: (name, public_hex(key)) for name, key in KEYS.items()}
ROSTER: Final = Roster(
    version=1,
    coordinator="ff" * 32,
    members=tuple(Member(id=name, key=key) for name, key in PAIRS.values()),
)


def vouches(who: str, *about: str) -> bytes:
    return sign_vouching(who, [PAIRS[name] for name in about], KEYS[who], 1)


def known(
    compared: str, *vouchings: bytes, handed: dict[tuple[str, str], str] | None = None
) -> KnownKeys:
    said = tuple(open_vouching(one) for one in vouchings)
    return KnownKeys(frozenset(PAIRS[name] for name in compared), handed or {}, said)


def test_a_code_is_60_digits_of_id_and_key() -> None:
    code = key_code("a", "ab" * 32)
    assert len(code.split()) == 12
    assert {len(group) for group in code.split()} == {5}
    assert is_code(code)
    assert (
        len({code, key_code("b", "ab" * 32), key_code("a", "ac" * 32), roster_code(ROSTER, "a")})
        == 4
    )
    assert 10**60 > 2**160


@given(st.text(alphabet="0123456789 -\n", max_size=90))
def test_only_the_whole_code_matches(said: str) -> None:
    code = key_code("a", "ab" * 32)
    compact = "".join(c for c in said if c.isdigit())
    assert matches_code(said, code) == (compact == code.replace(" ", ""))


@pytest.mark.parametrize("said", ["", "1" * 59, "1" * 61, "1" * 59 + "x", "\u0661" * 60, "1" * 120])
def test_what_is_no_code_never_matches(said: str) -> None:
    assert not is_code(said)
    assert not matches_code(said, said)


def test_a_roster_code_changes_with_its_reader_and_everything_in_the_roster() -> None:
    changed = [
        ROSTER.model_copy(update={"version": 2}),
        ROSTER.model_copy(update={"multiplicity": 2}),
        ROSTER.model_copy(update={"coordinator": "fe" * 32}),
        ROSTER.model_copy(update={"members": ROSTER.members[1:]}),
    ]
    codes = {roster_code(one, reader) for one in [ROSTER, *changed] for reader in ("a", "b")}
    assert len(codes) == 10


# ---- what follows --------------------------------------------------------------------------------

FOLLOWS: Final[dict[str, tuple[KnownKeys, int, str]]] = {
    "nothing known": (known(""), 1, "a"),
    "own comparisons": (known("bc"), 1, "abc"),
    "one voucher is not enough at t = 1": (known("bc", vouches("b", "d")), 1, "abc"),
    "two are": (known("bc", vouches("b", "d"), vouches("c", "d")), 1, "abcd"),
    "two are not at t = 2": (known("bc", vouches("b", "d"), vouches("c", "d")), 2, "abc"),
    "nobody vouches for itself": (known("b", vouches("b", "d"), vouches("d", "d")), 1, "ab"),
    "who is not known vouches for nobody": (
        known("b", vouches("b", "e"), vouches("c", "e"), vouches("d", "e")),
        *(1, "ab"),
    ),
    "who became known by vouching vouches": (
        known(
            "bc",
            *(vouches("b", "d"), vouches("c", "d", "e"), vouches("d", "e")),
        ),
        *(1, "abcde"),
    ),
    "one that says it twice counts once": (
        known("bc", vouches("b", "d"), vouches("b", "d", "e")),
        *(1, "abc"),
    ),
}


@pytest.mark.parametrize("case", FOLLOWS)
def test_whose_keys_are_known(case: str) -> None:
    keys, tolerance, expected = FOLLOWS[case]
    assert "".join(sorted(keys.verified(ROSTER, "a", tolerance))) == expected


def with_key(name: str, key: str) -> Roster:
    members = tuple(Member(id=m.id, key=key if m.id == name else m.key) for m in ROSTER.members)
    return ROSTER.model_copy(update={"members": members})


def test_a_key_that_a_known_one_signed_for_is_known_and_another_is_not() -> None:
    new = "12" * 32
    assert known("b").verified(with_key("b", new), "a", 1) == {"a"}
    handed = {("b", new): PAIRS["b"][1]}
    assert known("b", handed=handed).verified(with_key("b", new), "a", 1) == {"a", "b"}
    assert known("", handed=handed).verified(with_key("b", new), "a", 1) == {"a"}


def test_an_old_key_vouches_no_more_even_where_it_handed_over() -> None:
    new, said = "12" * 32, [vouches("b", "d"), vouches("c", "d")]
    assert "d" in known("bc", *said).verified(ROSTER, "a", 1)
    for handed in ({}, {("b", new): PAIRS["b"][1]}):
        found = known("bc", *said, handed=handed).verified(with_key("b", new), "a", 1)
        assert "d" not in found
        assert ("b" in found) is bool(handed)


def test_a_lost_key_is_not_known_and_makes_nothing_known() -> None:
    """A thief signs that it hands over, and vouches, with a key that was compared once."""
    new, old = "12" * 32, PAIRS["b"]
    keys = known("bc", vouches("b", "d"), vouches("c", "d"), handed={("b", new): old[1]})
    lost = replace(keys, lost=frozenset({old}))
    assert keys.verified(ROSTER, "a", 1) == {"a", "b", "c", "d"}
    assert lost.verified(ROSTER, "a", 1) == {"a", "c"}
    assert keys.verified(with_key("b", new), "a", 1) == {"a", "b", "c"}
    assert lost.verified(with_key("b", new), "a", 1) == {"a", "c"}


def test_a_member_that_left_vouches_no_more() -> None:
    said = [vouches("b", "d"), vouches("c", "d")]
    left = ROSTER.model_copy(update={"members": tuple(m for m in ROSTER.members if m.id != "b")})
    assert known("bc", *said).verified(left, "a", 1) == {"a", "c"}


def test_a_vouching_that_its_key_did_not_sign_is_none() -> None:
    content = vouches("b", "d")
    assert open_vouching(content).institution == "b"
    for changed in (
        content.replace(PAIRS["d"][1].encode(), PAIRS["e"][1].encode()),
        content.replace(PAIRS["b"][1].encode(), PAIRS["c"][1].encode()),
        content.replace(b'"signer":"b"', b'"signer":"c"'),
        b"{}",
    ):
        with pytest.raises(ProtocolError):
            open_vouching(changed)

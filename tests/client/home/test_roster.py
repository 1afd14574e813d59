import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import Coordinator

from fieldfare.client.home.roster import (
    MemberChange,
    check_member,
    check_newer,
    member_lines,
    offered_roster,
    pin_roster,
    pinned_roster,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import fingerprint, public_hex
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import offer_roster


def with_members(roster: Roster, **keys: str) -> Roster:
    """The roster with members' keys changed, added, or (empty) left out."""
    members = {member.id: member.key for member in roster.members}
    members |= {name.replace("_", "-"): key for name, key in keys.items()}
    return Roster(
        version=roster.version + 1,
        multiplicity=roster.multiplicity,
        coordinator=roster.coordinator,
        members=tuple(Member(id=name, key=key) for name, key in sorted(members.items()) if key),
    )


def test_what_is_pinned_is_read_back_and_checked_again(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    assert pinned_roster(home, coordinator.public) == coordinator.roster()
    assert home.roster.stat().st_mode & 0o777 == 0o600
    home.roster.write_bytes(home.roster.read_bytes().replace(b'"version\\":1', b'"version\\":2'))
    with pytest.raises(UsageError, match=r"roster\.signed: .*signature"):
        pinned_roster(home, coordinator.public)


def test_without_a_pinned_roster_the_remedy_is_said(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    home.roster.unlink()
    with pytest.raises(UsageError, match="roster accept"):
        pinned_roster(home, coordinator.public)


def test_a_roster_that_another_key_signed_is_refused_with_the_pinned_fingerprint(
    coordinator: Coordinator,
) -> None:
    other = Ed25519PrivateKey.generate()
    for key in (coordinator.public, public_hex(other)):
        roster = coordinator.roster().model_copy(update={"coordinator": key})
        signed = offer_roster(roster, IdentitySigner(other))
        with pytest.raises(
            UsageError, match=f"^sent: .*{fingerprint(bytes.fromhex(coordinator.public))}"
        ):
            offered_roster(signed, "sent", coordinator.public)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 5000])
def test_no_roster_is_refused_in_one_line(coordinator: Coordinator, content: bytes) -> None:
    with pytest.raises(UsageError, match=r"^sent: ") as refused:
        offered_roster(content, "sent", coordinator.public)
    assert "\n" not in str(refused.value)


def test_a_study_is_no_roster(coordinator: Coordinator) -> None:
    from tests.support.homes.institutions import home_study

    with pytest.raises(UsageError):
        offered_roster(coordinator.signed(home_study()), "sent", coordinator.public)


def test_a_simulations_roster_is_refused(coordinator: Coordinator) -> None:
    members = (*coordinator.roster().members, Member(id="bank-z", key=""))
    roster = coordinator.roster().model_copy(update={"members": members})
    with pytest.raises(UsageError, match="key for every member"):
        offered_roster(coordinator.signed_roster(roster), "sent", coordinator.public)


def test_this_institution_must_be_on_it_with_its_own_key(coordinator: Coordinator) -> None:
    own = coordinator.roster().members[0].key
    check_member(coordinator.roster(), "sent", "bank-a", own)
    with pytest.raises(UsageError, match="one without it"):
        check_member(with_members(coordinator.roster(), bank_a=""), "sent", "bank-a", own)
    with pytest.raises(UsageError, match="own key"):
        check_member(with_members(coordinator.roster(), bank_a="ab" * 32), "sent", "bank-a", own)


def test_versions_only_go_up(coordinator: Coordinator) -> None:
    second = coordinator.roster(version=2)
    check_newer(second, "sent", None)
    check_newer(second, "sent", coordinator.roster(version=1))
    check_newer(second, "sent", second)
    with pytest.raises(UsageError, match="version 2 or later"):
        check_newer(coordinator.roster(version=1), "sent", second)
    with pytest.raises(UsageError, match="another version than 2"):
        check_newer(coordinator.roster(version=2, multiplicity=3), "sent", second)


def test_every_change_of_a_member_is_named(coordinator: Coordinator) -> None:
    new = with_members(coordinator.roster(), bank_b="ab" * 32, bank_c="", bank_d="cd" * 32)
    changes = {line.id: line.change for line in member_lines(new, coordinator.roster())}
    assert changes == {
        "bank-a": MemberChange.SAME,
        "bank-b": MemberChange.NEW_KEY,
        "bank-c": MemberChange.GONE,
        "bank-d": MemberChange.NEW,
    }
    first = member_lines(coordinator.roster(), None)
    assert {line.change for line in first} == {MemberChange.SAME}
    keys = [fingerprint(bytes.fromhex(member.key)) for member in coordinator.roster().members]
    assert [line.fingerprint for line in first] == keys


def test_pinning_replaces_whole(coordinator: Coordinator) -> None:
    home, second = coordinator.homes["bank-a"], coordinator.roster(version=2)
    pin_roster(home, coordinator.signed_roster(second))
    assert pinned_roster(home, coordinator.public) == second

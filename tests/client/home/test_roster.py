import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.institutions import Coordinator

from fieldfare.client.home.keys import load_identity
from fieldfare.client.home.roster import (
    MemberChange,
    OfferedRoster,
    check_follows,
    check_member,
    check_replaced,
    first_multiplicity,
    member_lines,
    offered_roster,
    pin_roster,
    pinned_roster,
    replaced_keys,
    two_stories,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import (
    fingerprint,
    public_hex,
    state_revocation,
    state_rotation,
)
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.roster import Member, Roster, contradicts
from fieldfare.shared.protocol.signed_files import offer_roster


def with_members(roster: Roster, **keys: str) -> Roster:
    """The roster with members' keys changed, added, or (empty) left out."""
    members = {member.id: member.key for member in roster.members}
    members |= {name.replace("_", "-"): key for name, key in keys.items()}
    return Roster(
        version=roster.version + 1,
        multiplicity=roster.multiplicity,
        coordinator=roster.coordinator,
        roster_key=roster.roster_key,
        previous=roster.hash,
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
        roster = coordinator.roster().model_copy(update={"roster_key": key})
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


def offered(coordinator: Coordinator, roster: Roster, *papers: bytes) -> OfferedRoster:
    content = b"\n".join([coordinator.signed_roster(roster), *papers])
    return offered_roster(content, "sent", coordinator.public)


def test_only_the_successor_of_the_pinned_one_is_taken(coordinator: Coordinator) -> None:
    first = coordinator.roster()
    second = with_members(first)
    third = with_members(second, bank_c="")
    for newer, pinned in ((first, None), (third, None), (second, first), (second, second)):
        check_follows(offered(coordinator, newer), pinned)
    with pytest.raises(UsageError, match="version 3 or later"):
        check_follows(offered(coordinator, first), second)
    for skipped in (third, second.model_copy(update={"previous": ""})):
        with pytest.raises(UsageError, match="every version in between"):
            check_follows(offered(coordinator, skipped), first)


def test_two_successors_of_one_are_two_stories(coordinator: Coordinator) -> None:
    home, first = coordinator.homes["bank-a"], coordinator.roster()
    second, other = with_members(first), with_members(first, bank_c="")
    third = with_members(second)
    for roster in (first, second, third):
        assert two_stories(home, offered(coordinator, roster), coordinator.public) == ()
        pin_roster(home, coordinator.signed_roster(roster), roster)
    late = with_members(first, bank_b="ab" * 32).model_copy(update={"version": 9})
    for lie in (other, late, coordinator.roster(multiplicity=2)):  # the last: of one version
        files = two_stories(home, offered(coordinator, lie), coordinator.public)
        found = [offered_roster(f.read_bytes(), f.name, coordinator.public).roster for f in files]
        assert lie in found
        assert contradicts(*found)
        assert not any(contradicts(one, one) for one in found)
        assert files[1].parent == home.roster_proofs
    assert pinned_roster(home, coordinator.public) == third


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_refused_says_nothing_of_the_first_m(
    coordinator: Coordinator, *, kept: bool
) -> None:
    """The coordinator picks a roster whose file is the first by its name; it is filed apart."""
    home = coordinator.homes["bank-a"]

    def tries(multiplicity: int) -> list[Roster]:
        roster = coordinator.roster(multiplicity=multiplicity)
        more = (Member(id=f"x-{at}", key=f"{at:064x}") for at in range(1, 21))
        return [roster.model_copy(update={"members": (*roster.members, one)}) for one in more]

    first = max(tries(2), key=lambda one: one.hash)
    lie = min(tries(8), key=lambda one: one.hash)
    assert lie.hash < first.hash
    pin_roster(home, coordinator.signed_roster(first), first if kept else None)
    assert len(two_stories(home, offered(coordinator, lie), coordinator.public)) == 2
    assert first_multiplicity(home, coordinator.public) == 2


def test_a_successor_of_an_older_version_is_none(coordinator: Coordinator) -> None:
    """Its file would come before the others'."""
    pinned = with_members(with_members(coordinator.roster()))
    back = with_members(pinned).model_copy(update={"version": 1, "multiplicity": 8})
    with pytest.raises(UsageError, match="version 4 or later"):
        check_follows(offered(coordinator, back), pinned)


def test_a_replaced_key_needs_the_old_ones_signature(coordinator: Coordinator) -> None:
    home, first = coordinator.homes["bank-b"], coordinator.roster()
    old, new = load_identity(home, None), Ed25519PrivateKey.generate()
    roster = with_members(first, bank_b=public_hex(new))
    bare = offered(coordinator, roster)
    assert replaced_keys(bare, first) == ("bank-b",)
    with pytest.raises(UsageError, match="--replaced bank-b"):
        check_replaced(bare, first, ())
    check_replaced(bare, first, ("bank-b",))
    middle = Ed25519PrivateKey.generate()
    ways = [
        [state_rotation("bank-b", old, new)],
        [state_rotation("bank-b", middle, new), state_rotation("bank-b", old, middle)],
    ]
    for way in ways:
        assert replaced_keys(offered(coordinator, roster, *way), first) == ()
    other = state_rotation("bank-b", middle, new)
    assert replaced_keys(offered(coordinator, roster, other), first) == ("bank-b",)


def test_a_key_that_was_taken_back_hands_over_to_nobody(coordinator: Coordinator) -> None:
    """Its thief signs the successor; the revocation in the same roster, or an earlier one, wins."""
    first, new = coordinator.roster(), Ed25519PrivateKey.generate()
    old = load_identity(coordinator.homes["bank-b"], None)
    roster, stolen = with_members(first, bank_b=public_hex(new)), ("bank-b", public_hex(old))
    papers = [state_rotation("bank-b", old, new), state_revocation("bank-b", old)]
    found = offered(coordinator, roster, *papers)
    assert found.revoked == {stolen}
    assert replaced_keys(found, first) == ("bank-b",)
    earlier = offered(coordinator, roster, papers[0])
    assert replaced_keys(earlier, first) == ()
    assert replaced_keys(earlier, first, {stolen}) == ("bank-b",)
    with pytest.raises(UsageError, match="--replaced bank-b"):
        check_replaced(earlier, first, (), {stolen})


def test_a_member_under_a_key_that_it_took_back_is_on_no_roster(coordinator: Coordinator) -> None:
    key = load_identity(coordinator.homes["bank-b"], None)
    with pytest.raises(UsageError, match=r"took back, found that of 'bank-b'"):
        offered(coordinator, coordinator.roster(), state_revocation("bank-b", key))
    former = state_revocation("bank-x", key)  # of one that is no member: its word is known
    assert offered(coordinator, coordinator.roster(), former).revoked == {
        ("bank-x", public_hex(key))
    }
    forged = former.replace(b'"institution":"bank-x"', b'"institution":"bank-c"')
    with pytest.raises(UsageError, match="a member's statement in it"):
        offered(coordinator, coordinator.roster(), forged)


@pytest.mark.parametrize("what", ["cut", "changed", "a stranger's", "of another member"])
def test_a_paper_that_its_member_did_not_sign_is_refused(
    coordinator: Coordinator, what: str
) -> None:
    key, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    paper = state_rotation("bank-x" if what == "a stranger's" else "bank-b", key, new)
    if what == "cut":
        paper = paper.partition(b"\n")[0]
    elif what == "changed":
        paper = paper.replace(public_hex(key).encode(), public_hex(new).encode())
    elif what == "of another member":
        paper = paper.replace(b'"institution":"bank-b"', b'"institution":"bank-c"')
    with pytest.raises(UsageError, match="a member's statement in it"):
        offered(coordinator, coordinator.roster(), paper)


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

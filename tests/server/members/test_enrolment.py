"""Who is enrolled: every paper is checked against what is known, and again when it is read."""

import threading
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.coordinators import found
from tests.support.homes.papers import Applicant, key_called, node_called

from fieldfare.server.home.initial_setup import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.enrolment import (
    MembershipChange,
    Paper,
    alone,
    enrolled,
    examine,
    keep,
    member_called,
    members,
    remove,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.identity import public_hex, state_revocation, state_rotation


def take(home: CoordinatorHome, content: bytes) -> MembershipChange:
    """Examine and keep; returns what it did."""
    paper = examine(home, content, "sent")
    keep(home, paper)
    return paper.change


def refusal(home: CoordinatorHome, content: bytes) -> str:
    before = {path: path.read_bytes() for path in home.members.iterdir()}
    with pytest.raises(UsageError) as refused:
        examine(home, content, "sent")
    assert before == {path: path.read_bytes() for path in home.members.iterdir()}
    assert str(refused.value).startswith("sent: ")
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def bank(coordinator_home: CoordinatorHome) -> Applicant:
    """One that is enrolled."""
    made = Applicant("bank-a", coordinator_home)
    assert take(coordinator_home, made.enrolment()) is MembershipChange.NEW
    return made


def identities(home: CoordinatorHome) -> dict[str, str]:
    return {member.institution: member.identity for member in enrolled(home)}


# -- enrolments -----------------------------------------------------------------------------


def test_an_institution_enrols_and_is_found(coordinator_home: CoordinatorHome) -> None:
    assert members(coordinator_home) == ()
    applicant = Applicant("bank-a", coordinator_home, contact="Ann, +1 555 0100")
    paper = examine(coordinator_home, applicant.enrolment(), "sent")
    assert members(coordinator_home) == ()  # looking changes nothing
    assert (paper.change, paper.institution) == (MembershipChange.NEW, "bank-a")
    keep(coordinator_home, paper)
    (member,) = enrolled(coordinator_home)
    assert (member.institution, member.identity) == ("bank-a", applicant.public)
    assert (member.node, member.contact) == (applicant.node, "Ann, +1 555 0100")
    assert CoordinatorHome.open(coordinator_home.path) == coordinator_home


@pytest.mark.parametrize("name", ["..", "a/b", "Bank of é", ".", "x" * 64, "~0"])
def test_any_id_enrols_and_is_listed_once(coordinator_home: CoordinatorHome, name: str) -> None:
    for each in (name, "bank-b"):
        assert (
            take(coordinator_home, Applicant(each, coordinator_home).enrolment())
            is MembershipChange.NEW
        )
    assert set(identities(coordinator_home)) == {name, "bank-b"}


def test_members_are_sorted_by_id(coordinator_home: CoordinatorHome) -> None:
    for name in ("b", "A", "a", "é"):
        take(coordinator_home, Applicant(name, coordinator_home).enrolment())
    assert [member.institution for member in members(coordinator_home)] == ["A", "a", "b", "é"]


def test_the_same_file_again_changes_nothing(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    before = coordinator_home.enrolment("bank-a").stat()
    assert take(coordinator_home, bank.enrolment()) is MembershipChange.NONE
    assert coordinator_home.enrolment("bank-a").stat().st_ino == before.st_ino


def test_node_and_contact_may_change_under_the_same_identity(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    bank.node, bank.contact = node_called("another"), "Bo"
    assert take(coordinator_home, bank.enrolment()) is MembershipChange.DETAILS
    (member,) = members(coordinator_home)
    assert (member.node, member.contact) == (bank.node, "Bo")


def test_the_key_of_a_member_belongs_to_nobody_else(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    other = Applicant("bank-b", coordinator_home)
    other.identity = bank.identity
    assert "found that of 'bank-a'" in refusal(coordinator_home, other.enrolment())
    other = Applicant("bank-b", coordinator_home)
    other.node = bank.node
    assert "a node key of its own" in refusal(coordinator_home, other.enrolment())


def test_the_id_of_a_member_belongs_to_nobody_else(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    thief = Applicant("bank-a", coordinator_home)
    thief.identity = key_called("thief")
    assert "is taken by the identity" in refusal(coordinator_home, thief.enrolment())


def test_an_enrolment_at_another_coordinator_is_refused(coordinator_home: CoordinatorHome) -> None:
    applicant = Applicant("bank-a", coordinator_home)
    other = public_hex(key_called("another coordinator"))
    assert "at this coordinator" in refusal(coordinator_home, applicant.enrolment(roster_key=other))
    assert "was the coordinator renamed" in refusal(
        coordinator_home, applicant.enrolment(hub="Other coordinator")
    )


def test_the_coordinators_own_keys_are_no_institutions(coordinator_home: CoordinatorHome) -> None:
    key = load_roster_key(coordinator_home, None).key
    applicant = Applicant("bank-a", coordinator_home)
    content = applicant.enrolment()
    assert public_hex(key) in content.decode()
    applicant.identity = key
    with pytest.raises(ValueError, match="identity"):
        applicant.enrolment()
    applicant.identity = load_signing_key(coordinator_home, None)
    assert "online key" in refusal(coordinator_home, applicant.enrolment())


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"type":7}', b"[" * 100_000, b"a\nb"],
    ids=["empty", "object", "list", "null", "bytes", "number", "deep", "lines"],
)
def test_what_is_no_paper_is_refused(coordinator_home: CoordinatorHome, content: bytes) -> None:
    refusal(coordinator_home, content)


def test_a_changed_byte_is_refused(coordinator_home: CoordinatorHome, bank: Applicant) -> None:
    for content in (bank.enrolment(), bank.revocation(), bank.rotate()):
        for at in range(0, len(content), 17):
            changed = bytearray(content)
            changed[at] ^= 1
            refusal(coordinator_home, bytes(changed))


# -- rotations and revocations --------------------------------------------------------------


def test_a_rotation_replaces_the_identity(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    statements = [bank.rotate() for _ in range(3)]
    for statement in statements:
        assert take(coordinator_home, statement) is MembershipChange.ROTATION
    assert identities(coordinator_home) == {"bank-a": bank.public}
    for statement in statements:
        assert take(coordinator_home, statement) is MembershipChange.NONE
    assert identities(coordinator_home) == {"bank-a": bank.public}


def test_the_first_enrolment_again_does_not_bring_the_old_key_back(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    first = bank.enrolment()
    take(coordinator_home, bank.rotate())
    assert take(coordinator_home, first) is MembershipChange.NONE
    assert identities(coordinator_home) == {"bank-a": bank.public}
    again = bank.enrolment()  # under the new identity
    assert take(coordinator_home, again) is MembershipChange.DETAILS
    assert "replaced by a rotation" in refusal(coordinator_home, first)
    assert identities(coordinator_home) == {"bank-a": bank.public}


def test_a_rotation_needs_both_keys_and_the_present_one(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    old, thief = bank.identity, key_called("thief")
    refusal(coordinator_home, state_rotation("bank-a", thief, key_called("new")))
    one_signature = bank.rotate().partition(b"\n")[0]
    refusal(coordinator_home, one_signature)
    bank.identity = old
    take(coordinator_home, bank.rotate())
    refusal(coordinator_home, state_rotation("bank-a", old, key_called("a second successor")))
    refusal(coordinator_home, state_rotation("nobody", old, key_called("new")))


def test_a_rotation_to_a_key_that_somebody_has_or_had_is_refused(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    other = Applicant("bank-b", coordinator_home)
    take(coordinator_home, other.enrolment())
    former = other.identity
    take(coordinator_home, other.rotate())
    online, own = load_signing_key(coordinator_home, None), load_roster_key(coordinator_home, None)
    for key in (other.identity, former, online, own.key):
        statement = state_rotation("bank-a", bank.identity, key)
        assert "no party has or had" in refusal(coordinator_home, statement)
    former = bank.identity
    take(coordinator_home, bank.rotate())
    assert "no party has" in refusal(
        coordinator_home, state_rotation("bank-a", bank.identity, former)
    )


def test_a_revoked_identity_is_on_no_new_roster_and_never_enrols_again(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    again, statement = bank.enrolment(), bank.revocation()
    assert take(coordinator_home, statement) is MembershipChange.REVOCATION
    assert take(coordinator_home, statement) is MembershipChange.NONE
    assert enrolled(coordinator_home) == ()
    assert [member.revoked for member in members(coordinator_home)] == [True]
    assert "taken back" in refusal(coordinator_home, again)
    remove(coordinator_home, "bank-a")
    assert "taken back" in refusal(coordinator_home, again)
    thief = Applicant("bank-z", coordinator_home)
    thief.identity = bank.identity
    assert "taken back" in refusal(coordinator_home, thief.enrolment())


def test_a_revocation_outweighs_a_rotation_whichever_came_first(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    """A thief of the key rotated it to one of their own."""
    revocation = bank.revocation()
    take(coordinator_home, bank.rotate("thief"))
    assert take(coordinator_home, revocation) is MembershipChange.REVOCATION
    assert enrolled(coordinator_home) == ()
    assert "taken back" in refusal(coordinator_home, bank.rotate("thief's second"))


def test_after_a_revocation_a_new_identity_enrols_under_the_same_id(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    take(coordinator_home, bank.revocation())
    bank.identity = key_called("a new start")
    assert take(coordinator_home, bank.enrolment()) is MembershipChange.RETURN
    assert identities(coordinator_home) == {"bank-a": bank.public}


def test_only_a_key_of_the_institution_revokes(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    assert "has or had here" in refusal(
        coordinator_home, state_revocation("bank-a", key_called("thief"))
    )
    assert "is none" in refusal(coordinator_home, state_revocation("nobody", bank.identity))


# -- removal, races, damage -----------------------------------------------------------------


def test_who_is_removed_may_come_back(coordinator_home: CoordinatorHome, bank: Applicant) -> None:
    assert remove(coordinator_home, "bank-a").identity == bank.public
    assert members(coordinator_home) == ()
    with pytest.raises(UsageError, match="'bank-a', which is none"):
        remove(coordinator_home, "bank-a")
    assert take(coordinator_home, bank.enrolment()) is MembershipChange.NEW


def test_what_changed_while_a_person_looked_is_not_overwritten(
    coordinator_home: CoordinatorHome, bank: Applicant
) -> None:
    bank.contact = "Bo"
    paper: Paper = examine(coordinator_home, bank.enrolment(), "sent")
    take(coordinator_home, bank.rotate())
    with pytest.raises(UsageError):
        keep(coordinator_home, paper)
    assert member_called(coordinator_home, "bank-a").contact == ""


def test_one_command_at_a_time_changes_members(coordinator_home: CoordinatorHome) -> None:
    paper = examine(coordinator_home, Applicant("bank-a", coordinator_home).enrolment(), "sent")
    waiting = threading.Thread(target=keep, args=(coordinator_home, paper))
    with alone(coordinator_home):
        waiting.start()
        waiting.join(0.2)
        assert members(coordinator_home) == ()
    waiting.join(60)
    assert len(members(coordinator_home)) == 1


def _cut(home: CoordinatorHome, _: Applicant) -> None:
    path = home.enrolment("bank-a")
    path.write_bytes(path.read_bytes()[:-1])


def _copied(home: CoordinatorHome, _: Applicant) -> None:
    home.enrolment("bank-b").write_bytes(home.enrolment("bank-a").read_bytes())


def _foreign(home: CoordinatorHome, bank: Applicant) -> None:
    content = bank.enrolment(roster_key=public_hex(Ed25519PrivateKey.generate()))
    home.enrolment("bank-a").write_bytes(content)


def _wrong_rotation(home: CoordinatorHome, bank: Applicant) -> None:
    home.rotation("bank-a", bank.public).write_bytes(b"junk")


@pytest.mark.parametrize("damage", [_cut, _copied, _foreign, _wrong_rotation])
def test_a_damaged_folder_is_named_and_never_read_round(
    coordinator_home: CoordinatorHome,
    bank: Applicant,
    damage: Callable[[CoordinatorHome, Applicant], None],
) -> None:
    damage(coordinator_home, bank)
    with pytest.raises(UsageError, match=str(coordinator_home.members)):
        members(coordinator_home)


def test_two_ids_of_which_one_begins_with_the_other_keep_their_keys_apart(
    coordinator_home: CoordinatorHome,
) -> None:
    short = Applicant("bank", coordinator_home)
    long = Applicant(f"bank.{short.public[:20]}", coordinator_home)
    for applicant in (short, long):
        take(coordinator_home, applicant.enrolment())
        take(coordinator_home, applicant.rotate())
    assert identities(coordinator_home) == {short.name: short.public, long.name: long.public}


def test_a_file_that_is_no_paper_is_left_alone(coordinator_home: CoordinatorHome) -> None:
    (coordinator_home.members / "notes.txt").write_text("mine")
    (coordinator_home.members / "x.rotation").write_text("mine")
    take(coordinator_home, Applicant("bank-a", coordinator_home).enrolment())
    assert len(members(coordinator_home)) == 1


def test_another_home_has_other_members(coordinator_home: CoordinatorHome, bank: Applicant) -> None:
    other = found(coordinator_home.path.parent / "other")
    assert members(other) == ()
    assert "at this coordinator" in refusal(other, bank.enrolment())

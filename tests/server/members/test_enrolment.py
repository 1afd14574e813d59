"""Who is enrolled: every paper is checked against what is known, and again when it is read."""

import threading
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.homes.coordinators import coordinator, found
from tests.support.homes.papers import Applicant, key_called, node_called

from fieldfare.server.home.founding import load_signing_key
from fieldfare.server.home.layout import CoordinatorHome
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

__all__ = ["coordinator"]


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
def bank(coordinator: CoordinatorHome) -> Applicant:
    """One that is enrolled."""
    made = Applicant("bank-a", coordinator)
    assert take(coordinator, made.enrolment()) is MembershipChange.NEW
    return made


def identities(home: CoordinatorHome) -> dict[str, str]:
    return {member.institution: member.identity for member in enrolled(home)}


# -- enrolments -----------------------------------------------------------------------------


def test_an_institution_enrols_and_is_found(coordinator: CoordinatorHome) -> None:
    assert members(coordinator) == ()
    applicant = Applicant("bank-a", coordinator, contact="Ann, +1 555 0100")
    paper = examine(coordinator, applicant.enrolment(), "sent")
    assert members(coordinator) == ()  # looking changes nothing
    assert (paper.change, paper.institution) == (MembershipChange.NEW, "bank-a")
    keep(coordinator, paper)
    (member,) = enrolled(coordinator)
    assert (member.institution, member.identity) == ("bank-a", applicant.public)
    assert (member.node, member.contact) == (applicant.node, "Ann, +1 555 0100")
    assert CoordinatorHome.open(coordinator.path) == coordinator


@pytest.mark.parametrize("name", ["..", "a/b", "Bank of é", ".", "x" * 64, "~0"])
def test_any_id_enrols_and_is_listed_once(coordinator: CoordinatorHome, name: str) -> None:
    for each in (name, "bank-b"):
        assert take(coordinator, Applicant(each, coordinator).enrolment()) is MembershipChange.NEW
    assert set(identities(coordinator)) == {name, "bank-b"}


def test_members_are_sorted_by_id(coordinator: CoordinatorHome) -> None:
    for name in ("b", "A", "a", "é"):
        take(coordinator, Applicant(name, coordinator).enrolment())
    assert [member.institution for member in members(coordinator)] == ["A", "a", "b", "é"]


def test_the_same_file_again_changes_nothing(coordinator: CoordinatorHome, bank: Applicant) -> None:
    before = coordinator.enrolment("bank-a").stat()
    assert take(coordinator, bank.enrolment()) is MembershipChange.NONE
    assert coordinator.enrolment("bank-a").stat().st_ino == before.st_ino


def test_node_and_contact_may_change_under_the_same_identity(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    bank.node, bank.contact = node_called("another"), "Bo"
    assert take(coordinator, bank.enrolment()) is MembershipChange.DETAILS
    (member,) = members(coordinator)
    assert (member.node, member.contact) == (bank.node, "Bo")


def test_the_key_of_a_member_belongs_to_nobody_else(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    other = Applicant("bank-b", coordinator)
    other.identity = bank.identity
    assert "found that of 'bank-a'" in refusal(coordinator, other.enrolment())
    other = Applicant("bank-b", coordinator)
    other.node = bank.node
    assert "a node key of its own" in refusal(coordinator, other.enrolment())


def test_the_id_of_a_member_belongs_to_nobody_else(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    thief = Applicant("bank-a", coordinator)
    thief.identity = key_called("thief")
    assert "is taken by the identity" in refusal(coordinator, thief.enrolment())


def test_an_enrolment_at_another_coordinator_is_refused(coordinator: CoordinatorHome) -> None:
    applicant = Applicant("bank-a", coordinator)
    other = public_hex(key_called("another coordinator"))
    assert "at this coordinator" in refusal(coordinator, applicant.enrolment(coordinator=other))
    assert "was the coordinator renamed" in refusal(
        coordinator, applicant.enrolment(hub="Other coordinator")
    )


def test_the_coordinators_own_key_is_no_institutions(coordinator: CoordinatorHome) -> None:
    key = load_signing_key(coordinator, None)
    applicant = Applicant("bank-a", coordinator)
    content = applicant.enrolment()
    assert public_hex(key) in content.decode()
    applicant.identity = key
    with pytest.raises(ValueError, match="identity"):
        applicant.enrolment()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"type":7}', b"[" * 100_000, b"a\nb"],
    ids=["empty", "object", "list", "null", "bytes", "number", "deep", "lines"],
)
def test_what_is_no_paper_is_refused(coordinator: CoordinatorHome, content: bytes) -> None:
    refusal(coordinator, content)


def test_a_changed_byte_is_refused(coordinator: CoordinatorHome, bank: Applicant) -> None:
    for content in (bank.enrolment(), bank.revocation(), bank.rotate()):
        for at in range(0, len(content), 17):
            changed = bytearray(content)
            changed[at] ^= 1
            refusal(coordinator, bytes(changed))


# -- rotations and revocations --------------------------------------------------------------


def test_a_rotation_replaces_the_identity(coordinator: CoordinatorHome, bank: Applicant) -> None:
    statements = [bank.rotate() for _ in range(3)]
    for statement in statements:
        assert take(coordinator, statement) is MembershipChange.ROTATION
    assert identities(coordinator) == {"bank-a": bank.public}
    for statement in statements:
        assert take(coordinator, statement) is MembershipChange.NONE
    assert identities(coordinator) == {"bank-a": bank.public}


def test_the_first_enrolment_again_does_not_bring_the_old_key_back(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    first = bank.enrolment()
    take(coordinator, bank.rotate())
    assert take(coordinator, first) is MembershipChange.NONE
    assert identities(coordinator) == {"bank-a": bank.public}
    again = bank.enrolment()  # under the new identity
    assert take(coordinator, again) is MembershipChange.DETAILS
    assert "replaced by a rotation" in refusal(coordinator, first)
    assert identities(coordinator) == {"bank-a": bank.public}


def test_a_rotation_needs_both_keys_and_the_present_one(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    old, thief = bank.identity, key_called("thief")
    refusal(coordinator, state_rotation("bank-a", thief, key_called("new")))
    one_signature = bank.rotate().partition(b"\n")[0]
    refusal(coordinator, one_signature)
    bank.identity = old
    take(coordinator, bank.rotate())
    refusal(coordinator, state_rotation("bank-a", old, key_called("a second successor")))
    refusal(coordinator, state_rotation("nobody", old, key_called("new")))


def test_a_rotation_to_a_key_that_somebody_has_or_had_is_refused(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    other = Applicant("bank-b", coordinator)
    take(coordinator, other.enrolment())
    former = other.identity
    take(coordinator, other.rotate())
    own = load_signing_key(coordinator, None)
    for key in (other.identity, former, own):
        statement = state_rotation("bank-a", bank.identity, key)
        assert "no party has or had" in refusal(coordinator, statement)
    former = bank.identity
    take(coordinator, bank.rotate())
    assert "no party has" in refusal(coordinator, state_rotation("bank-a", bank.identity, former))


def test_a_revoked_identity_is_on_no_new_roster_and_never_enrols_again(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    again, statement = bank.enrolment(), bank.revocation()
    assert take(coordinator, statement) is MembershipChange.REVOCATION
    assert take(coordinator, statement) is MembershipChange.NONE
    assert enrolled(coordinator) == ()
    assert [member.revoked for member in members(coordinator)] == [True]
    assert "taken back" in refusal(coordinator, again)
    remove(coordinator, "bank-a")
    assert "taken back" in refusal(coordinator, again)
    thief = Applicant("bank-z", coordinator)
    thief.identity = bank.identity
    assert "taken back" in refusal(coordinator, thief.enrolment())


def test_a_revocation_outweighs_a_rotation_whichever_came_first(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    """A thief of the key rotated it to one of their own."""
    revocation = bank.revocation()
    take(coordinator, bank.rotate("thief"))
    assert take(coordinator, revocation) is MembershipChange.REVOCATION
    assert enrolled(coordinator) == ()
    assert "taken back" in refusal(coordinator, bank.rotate("thief's second"))


def test_after_a_revocation_a_new_identity_enrols_under_the_same_id(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    take(coordinator, bank.revocation())
    bank.identity = key_called("a new start")
    assert take(coordinator, bank.enrolment()) is MembershipChange.RETURN
    assert identities(coordinator) == {"bank-a": bank.public}


def test_only_a_key_of_the_institution_revokes(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    assert "has or had here" in refusal(
        coordinator, state_revocation("bank-a", key_called("thief"))
    )
    assert "is none" in refusal(coordinator, state_revocation("nobody", bank.identity))


# -- removal, races, damage -----------------------------------------------------------------


def test_who_is_removed_may_come_back(coordinator: CoordinatorHome, bank: Applicant) -> None:
    assert remove(coordinator, "bank-a").identity == bank.public
    assert members(coordinator) == ()
    with pytest.raises(UsageError, match="'bank-a', which is none"):
        remove(coordinator, "bank-a")
    assert take(coordinator, bank.enrolment()) is MembershipChange.NEW


def test_what_changed_while_a_person_looked_is_not_overwritten(
    coordinator: CoordinatorHome, bank: Applicant
) -> None:
    bank.contact = "Bo"
    paper: Paper = examine(coordinator, bank.enrolment(), "sent")
    take(coordinator, bank.rotate())
    with pytest.raises(UsageError):
        keep(coordinator, paper)
    assert member_called(coordinator, "bank-a").contact == ""


def test_one_command_at_a_time_changes_members(coordinator: CoordinatorHome) -> None:
    paper = examine(coordinator, Applicant("bank-a", coordinator).enrolment(), "sent")
    waiting = threading.Thread(target=keep, args=(coordinator, paper))
    with alone(coordinator):
        waiting.start()
        waiting.join(0.2)
        assert members(coordinator) == ()
    waiting.join(10)
    assert len(members(coordinator)) == 1


def _cut(home: CoordinatorHome, _: Applicant) -> None:
    path = home.enrolment("bank-a")
    path.write_bytes(path.read_bytes()[:-1])


def _copied(home: CoordinatorHome, _: Applicant) -> None:
    home.enrolment("bank-b").write_bytes(home.enrolment("bank-a").read_bytes())


def _foreign(home: CoordinatorHome, bank: Applicant) -> None:
    content = bank.enrolment(coordinator=public_hex(Ed25519PrivateKey.generate()))
    home.enrolment("bank-a").write_bytes(content)


def _wrong_rotation(home: CoordinatorHome, bank: Applicant) -> None:
    home.rotation("bank-a", bank.public).write_bytes(b"junk")


@pytest.mark.parametrize("damage", [_cut, _copied, _foreign, _wrong_rotation])
def test_a_damaged_folder_is_named_and_never_read_round(
    coordinator: CoordinatorHome,
    bank: Applicant,
    damage: Callable[[CoordinatorHome, Applicant], None],
) -> None:
    damage(coordinator, bank)
    with pytest.raises(UsageError, match=str(coordinator.members)):
        members(coordinator)


def test_two_ids_of_which_one_begins_with_the_other_keep_their_keys_apart(
    coordinator: CoordinatorHome,
) -> None:
    short = Applicant("bank", coordinator)
    long = Applicant(f"bank.{short.public[:20]}", coordinator)
    for applicant in (short, long):
        take(coordinator, applicant.enrolment())
        take(coordinator, applicant.rotate())
    assert identities(coordinator) == {short.name: short.public, long.name: long.public}


def test_a_file_that_is_no_paper_is_left_alone(coordinator: CoordinatorHome) -> None:
    (coordinator.members / "notes.txt").write_text("mine")
    (coordinator.members / "x.rotation").write_text("mine")
    take(coordinator, Applicant("bank-a", coordinator).enrolment())
    assert len(members(coordinator)) == 1


def test_another_home_has_other_members(coordinator: CoordinatorHome, bank: Applicant) -> None:
    other = found(coordinator.path.parent / "other")
    assert members(other) == ()
    assert "at this coordinator" in refusal(other, bank.enrolment())

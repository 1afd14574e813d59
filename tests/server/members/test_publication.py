from typing import Any

import pytest
from tests.support.homes.papers import Applicant, key_called

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.roster_key import load_roster_key
from fieldfare.server.members.enrolment import examine, keep, remove
from fieldfare.server.members.publication import PublishedRoster, publish
from fieldfare.server.members.roster import published_roster
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.signed_files import open_roster, roster_and_papers


def enrol(home: CoordinatorHome, *contents: bytes) -> None:
    for content in contents:
        keep(home, examine(home, content, "sent"))


def publish_now(home: CoordinatorHome, **terms: Any) -> PublishedRoster:
    made = publish(home, load_roster_key(home, None), **terms)
    assert open_roster(roster_and_papers(made.content)[0], roster_public(home)) == made.roster
    assert home.roster.read_bytes() == made.content
    return made


def test_the_roster_lists_who_is_enrolled(coordinator_home: CoordinatorHome) -> None:
    assert published_roster(coordinator_home) is None
    applicants = [Applicant(name, coordinator_home) for name in ("bank-b", "bank-a")]
    enrol(coordinator_home, *(each.enrolment() for each in applicants))
    made = publish_now(coordinator_home)
    assert made.fresh
    assert (made.roster.version, made.roster.multiplicity) == (1, 1)
    assert {one.id: one.key for one in made.roster.members} == {
        each.name: each.public for each in applicants
    }
    assert published_roster(coordinator_home) == made.roster


def test_nothing_changed_gives_the_same_bytes(coordinator_home: CoordinatorHome) -> None:
    enrol(coordinator_home, Applicant("bank-a", coordinator_home).enrolment())
    first = publish_now(coordinator_home, multiplicity=2)
    for again in (publish_now(coordinator_home), publish_now(coordinator_home, multiplicity=2)):
        assert (again.content, again.fresh) == (first.content, False)


def test_every_change_is_the_next_version(coordinator_home: CoordinatorHome) -> None:
    bank, other = Applicant("bank-a", coordinator_home), Applicant("bank-b", coordinator_home)
    enrol(coordinator_home, bank.enrolment())
    versions = [publish_now(coordinator_home)]
    enrol(coordinator_home, other.enrolment())
    versions.append(publish_now(coordinator_home))
    enrol(coordinator_home, bank.rotate())
    versions.append(publish_now(coordinator_home))
    versions.append(publish_now(coordinator_home, multiplicity=3))
    enrol(coordinator_home, bank.revocation())
    versions.append(publish_now(coordinator_home))
    assert [made.roster.version for made in versions] == [1, 2, 3, 4, 5]
    assert versions[2].roster.members[0].key == bank.public
    assert versions[4].roster.ids == ("bank-b",)
    assert versions[4].roster.multiplicity == 3  # stays until it is changed


def test_a_contact_or_a_node_changes_no_roster(coordinator_home: CoordinatorHome) -> None:
    bank = Applicant("bank-a", coordinator_home)
    enrol(coordinator_home, bank.enrolment())
    first = publish_now(coordinator_home)
    bank.contact = "Bo"
    enrol(coordinator_home, bank.enrolment())
    assert publish_now(coordinator_home).content == first.content


def test_each_roster_names_the_one_before_and_stays(coordinator_home: CoordinatorHome) -> None:
    bank = Applicant("bank-a", coordinator_home)
    enrol(coordinator_home, bank.enrolment())
    first = publish_now(coordinator_home)
    assert first.roster.previous == ""
    assert b"previous" not in first.content
    rotation = bank.rotate()
    enrol(coordinator_home, rotation)
    second = publish_now(coordinator_home)
    assert second.roster.previous == first.roster.hash
    assert not publish_now(coordinator_home).fresh
    kept = [coordinator_home.published(version).read_bytes() for version in (1, 2)]
    assert kept == [first.content, second.content]
    papers = roster_and_papers(second.content)[1]
    assert len(papers) == 3  # the enrolment, and two signatures of a rotation
    assert b"\n".join(papers[1:]) == rotation


def test_a_revocation_is_a_paper_of_every_later_roster(coordinator_home: CoordinatorHome) -> None:
    """Also of those that its member is on again, or no more."""
    bank, other = Applicant("bank-a", coordinator_home), Applicant("bank-b", coordinator_home)
    enrol(coordinator_home, bank.enrolment(), other.enrolment())
    assert b"key-revocation" not in publish_now(coordinator_home).content
    revocation = bank.revocation()
    enrol(coordinator_home, revocation)
    left = publish_now(coordinator_home)
    assert left.roster.ids == ("bank-b",)
    bank.identity = key_called("bank-a's second")
    enrol(coordinator_home, bank.enrolment())
    back = publish_now(coordinator_home)
    assert back.roster.ids == ("bank-a", "bank-b")
    for made in (left, back):
        assert roster_and_papers(made.content)[1][-1] == revocation


def test_after_an_old_backup_the_newest_roster_of_any_member_is_followed(
    coordinator_home: CoordinatorHome,
) -> None:
    enrol(coordinator_home, Applicant("bank-a", coordinator_home).enrolment())
    publish_now(coordinator_home)
    for multiplicity in (2, 3):
        newest = publish_now(coordinator_home, multiplicity=multiplicity)
    old = coordinator_home.published(1)
    coordinator_home.roster.write_bytes(old.read_bytes())
    made = publish_now(coordinator_home, after=coordinator_home.published(3)).roster
    assert (made.version, made.previous, made.multiplicity) == (4, newest.roster.hash, 3)
    with pytest.raises(UsageError, match="a later roster"):
        publish_now(coordinator_home, after=old)


def test_the_newest_roster_may_be_the_one_here(coordinator_home: CoordinatorHome) -> None:
    """As after a restore from a backup since which no roster was published."""
    enrol(coordinator_home, Applicant("bank-a", coordinator_home).enrolment())
    newest = publish_now(coordinator_home).roster
    here = coordinator_home.published(1)
    assert publish_now(coordinator_home, after=here).roster == newest
    made = publish_now(coordinator_home, multiplicity=2, after=here).roster
    assert (made.version, made.previous) == (2, newest.hash)


def test_nobody_is_no_roster(coordinator_home: CoordinatorHome) -> None:
    with pytest.raises(UsageError, match="at least one enrolled"):
        publish_now(coordinator_home)
    enrol(coordinator_home, Applicant("bank-a", coordinator_home).enrolment())
    remove(coordinator_home, "bank-a")
    with pytest.raises(UsageError, match="at least one enrolled"):
        publish_now(coordinator_home)


def test_a_damaged_roster_is_not_published_over(coordinator_home: CoordinatorHome) -> None:
    enrol(coordinator_home, Applicant("bank-a", coordinator_home).enrolment())
    publish_now(coordinator_home)
    coordinator_home.roster.write_bytes(b"junk")
    with pytest.raises(UsageError, match="restore it"):
        publish_now(coordinator_home)

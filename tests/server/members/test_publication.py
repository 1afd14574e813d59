import pytest
from tests.support.homes.coordinators import coordinator
from tests.support.homes.papers import Applicant

from fieldfare.server.home.founding import load_signing_key, signing_public
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.enrolment import examine, keep, remove
from fieldfare.server.members.publication import PublishedRoster, publish, published_roster
from fieldfare.shared.errors import UsageError
from fieldfare.shared.protocol.signed_files import open_roster

__all__ = ["coordinator"]


def enrol(home: CoordinatorHome, *contents: bytes) -> None:
    for content in contents:
        keep(home, examine(home, content, "sent"))


def publish_now(home: CoordinatorHome, **terms: int) -> PublishedRoster:
    made = publish(home, load_signing_key(home, None), **terms)
    assert open_roster(made.content, signing_public(home)) == made.roster
    assert home.roster.read_bytes() == made.content
    return made


def test_the_roster_lists_who_is_enrolled(coordinator: CoordinatorHome) -> None:
    assert published_roster(coordinator) is None
    applicants = [Applicant(name, coordinator) for name in ("bank-b", "bank-a")]
    enrol(coordinator, *(each.enrolment() for each in applicants))
    made = publish_now(coordinator)
    assert made.fresh
    assert (made.roster.version, made.roster.multiplicity) == (1, 1)
    assert {one.id: one.key for one in made.roster.members} == {
        each.name: each.public for each in applicants
    }
    assert published_roster(coordinator) == made.roster


def test_nothing_changed_gives_the_same_bytes(coordinator: CoordinatorHome) -> None:
    enrol(coordinator, Applicant("bank-a", coordinator).enrolment())
    first = publish_now(coordinator, multiplicity=2)
    for again in (publish_now(coordinator), publish_now(coordinator, multiplicity=2)):
        assert (again.content, again.fresh) == (first.content, False)


def test_every_change_is_the_next_version(coordinator: CoordinatorHome) -> None:
    bank, other = Applicant("bank-a", coordinator), Applicant("bank-b", coordinator)
    enrol(coordinator, bank.enrolment())
    versions = [publish_now(coordinator)]
    enrol(coordinator, other.enrolment())
    versions.append(publish_now(coordinator))
    enrol(coordinator, bank.rotate())
    versions.append(publish_now(coordinator))
    versions.append(publish_now(coordinator, multiplicity=3))
    enrol(coordinator, bank.revocation())
    versions.append(publish_now(coordinator))
    assert [made.roster.version for made in versions] == [1, 2, 3, 4, 5]
    assert versions[2].roster.members[0].key == bank.public
    assert versions[4].roster.ids == ("bank-b",)
    assert versions[4].roster.multiplicity == 3  # stays until it is changed


def test_a_contact_or_a_node_changes_no_roster(coordinator: CoordinatorHome) -> None:
    bank = Applicant("bank-a", coordinator)
    enrol(coordinator, bank.enrolment())
    first = publish_now(coordinator)
    bank.contact = "Bo"
    enrol(coordinator, bank.enrolment())
    assert publish_now(coordinator).content == first.content


def test_after_an_old_backup_a_version_above_every_other_is_published(
    coordinator: CoordinatorHome,
) -> None:
    enrol(coordinator, Applicant("bank-a", coordinator).enrolment())
    publish_now(coordinator)
    assert publish_now(coordinator, above=7).roster.version == 8
    assert not publish_now(coordinator, above=7).fresh
    assert publish_now(coordinator, above=8).roster.version == 9


def test_nobody_is_no_roster(coordinator: CoordinatorHome) -> None:
    with pytest.raises(UsageError, match="at least one enrolled"):
        publish_now(coordinator)
    enrol(coordinator, Applicant("bank-a", coordinator).enrolment())
    remove(coordinator, "bank-a")
    with pytest.raises(UsageError, match="at least one enrolled"):
        publish_now(coordinator)


def test_a_damaged_roster_is_not_published_over(coordinator: CoordinatorHome) -> None:
    enrol(coordinator, Applicant("bank-a", coordinator).enrolment())
    publish_now(coordinator)
    coordinator.roster.write_bytes(b"junk")
    with pytest.raises(UsageError, match="restore it"):
        publish_now(coordinator)

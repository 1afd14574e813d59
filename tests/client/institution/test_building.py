"""From a home on disk to a custodian with exact noise, and everything that stops it."""

import pytest
from tests.homes import NOW, UNITS, Hub, OpenCustody, clock, custody_of, home_study, hub, loaded

from fieldfare.client.institution.building import (
    open_custody,
    open_institution,
    open_ledger,
    records_loader,
    utc_now,
)
from fieldfare.client.institution.journal_decisions import JournalDecisions
from fieldfare.client.institution.keys import rotate_identity
from fieldfare.client.institution.policy import limits
from fieldfare.shared.errors import KeysError, LedgerError, RecordsError, StudyError, UsageError
from fieldfare.shared.messages import Assurance
from fieldfare.shared.noise import ExactNoise

__all__ = ["custody_of", "hub"]


def test_a_custody_is_deployed_and_bound_to_the_homes_policy(
    hub: Hub, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    assert custody.site.assurance is Assurance.EXACT
    assert isinstance(custody.custodian._door._noise, ExactNoise)
    assert (custody.site.institution, custody.site.roster) == ("bank-a", hub.roster())
    assert isinstance(custody.custodian._decisions, JournalDecisions)
    assert custody.ledger._limits == limits(custody.institution.policy)
    assert hub.homes["bank-a"].ledger.exists()


def test_the_ledger_is_the_populations(hub: Hub) -> None:
    with open_ledger(hub.institution(), clock):
        pass
    hub.edit(hub.homes["bank-a"].settings, 'population = "bank-a"', 'population = "other"')
    with pytest.raises(LedgerError, match="population 'other'"):
        open_ledger(hub.institution(), clock)


def test_records_are_split_by_the_homes_own_key(hub: Hub, custody_of: OpenCustody) -> None:
    study, custody = home_study(), custody_of()
    first, second = loaded(custody, study), loaded(custody, study)
    assert first.units == UNITS
    count = first.sums.training_count
    assert count + len(first.sums.holdout) == UNITS
    assert 0 < count < UNITS
    assert second.sums.training_count == count


def test_without_sources_the_remedy_is_said(hub: Hub) -> None:
    settings = hub.homes["bank-a"].settings
    settings.write_text(settings.read_text().partition("\n[[records]]")[0])
    with pytest.raises(RecordsError, match=r"\[\[records\]\]"):
        records_loader(hub.institution(), {})(home_study())


def test_a_home_without_the_coordinators_key_is_not_opened(hub: Hub) -> None:
    home = hub.homes["bank-a"]
    home.coordinator_key.unlink()
    hub.edit(home.policy, f'coordinator = "{hub.public}"', 'coordinator = ""')
    with pytest.raises(KeysError, match="coordinator"):
        open_institution(home.path)


def test_after_a_rotation_the_old_roster_does_not_do(hub: Hub) -> None:
    home = hub.homes["bank-a"]
    rotate_identity(home, "bank-a", None)
    with pytest.raises(UsageError, match="own key"):
        open_institution(home.path)
    hub.pin(hub.roster(version=2))
    assert open_institution(home.path).roster.version == 2


def test_a_broken_policy_stops_everything(hub: Hub) -> None:
    home = hub.homes["bank-a"]
    hub.edit(home.policy, "auto_approve = false", 'auto_approve = "no"')
    with pytest.raises(StudyError, match="auto_approve"):
        open_institution(home.path)


def test_a_needless_passphrase_is_refused_before_the_ledger_is_touched(hub: Hub) -> None:
    with (
        pytest.raises(KeysError, match="passphrase"),
        open_custody(hub.institution(), b"correct horse", clock),
    ):
        pass
    assert not hub.homes["bank-a"].ledger.exists()


def test_the_deployed_clock_has_a_time_zone() -> None:
    assert utc_now().utcoffset() == NOW.utcoffset()

"""From a home on disk to a custodian with exact noise, and everything that stops it."""

from typing import Final

import numpy as np
import pytest
from tests.support.homes.institutions import (
    COLUMNS,
    NOW,
    UNITS,
    Coordinator,
    OpenCustody,
    clock,
    home_study,
    loaded,
)

from fieldfare.client.home.keys import rotate_identity
from fieldfare.client.home.policy import limits
from fieldfare.client.institution.institution import open_institution
from fieldfare.client.institution.open import (
    Custody,
    open_custody,
    open_institution_ledger,
    records_loader,
)
from fieldfare.client.journal.decisions import JournalDecisions
from fieldfare.client.records.load import Load
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import KeysError, LedgerError, RecordsError, StudyError, UsageError
from fieldfare.shared.features.basis import encode_numeric
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.clock import utc_now

AMOUNT: Final = NumericFeature(kind="numeric", name="amount", lower=0, upper=10)


def test_a_custody_is_deployed_and_bound_to_the_homes_policy(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    custody = custody_of()
    assert custody.party.protection is Protection.EXACT
    assert isinstance(custody.custodian._noise._source, ExactNoise)
    assert (custody.party.institution, custody.party.roster) == ("bank-a", coordinator.roster())
    assert isinstance(custody.custodian._decisions, JournalDecisions)
    assert custody.ledger._limits == limits(custody.institution.policy)
    assert coordinator.homes["bank-a"].ledger.exists()


def test_the_ledger_is_the_populations(coordinator: Coordinator) -> None:
    with open_institution_ledger(coordinator.institution(), clock):
        pass
    coordinator.edit(
        coordinator.homes["bank-a"].settings, 'population = "bank-a"', 'population = "other"'
    )
    with pytest.raises(LedgerError, match="population 'other'"):
        open_institution_ledger(coordinator.institution(), clock)


def test_records_are_split_by_the_homes_own_key(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    study, custody = home_study(), custody_of()
    first, second = in_one(custody, study), in_one(custody, study)
    count = first.training_count
    assert count + len(first.holdout) == UNITS
    assert 0 < count < UNITS
    assert second.training_count == count


def in_one(custody: Custody, study: Study) -> StudySums:
    """The sums of few units, which are not cut."""
    sums = loaded(custody, study).sums
    assert isinstance(sums, StudySums)
    return sums


def held_out(custody: Custody, study: Study) -> set[int]:
    """Amounts of the units that are held out: no two units have one place."""
    return {int(place) for place in in_one(custody, study).holdout.positions[0]}


def test_a_unit_keeps_its_side_over_studies_and_extracts(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """Another key for each study would train on units that another one was evaluated on."""
    path = coordinator.homes["bank-a"].path / "records.csv"
    rows = [f"c{row},{row % 9 == 0:d},{row / 25},online" for row in range(200)]
    path.write_text("\n".join([",".join(COLUMNS), *rows, ""]))
    custody = custody_of()
    first = held_out(custody, home_study())
    assert 10 < len(first) < 80  # a fifth of 200
    for changes in (
        {"name": "another"}, {"privacy__epsilon": 0.25}, {"training": {"steps": 7}},
        {"records__positive": "0"}, {"evaluation": {"score_bins": 8}},
    ):  # fmt: skip
        assert held_out(custody, home_study(**changes)) == first, changes
    # A larger share takes further units and lets go of none.
    assert held_out(custody, home_study(evaluation={"holdout": 0.5})) > first
    # A later extract: turned round, without some, with others, among them the same amounts.
    added = [f"d{row},0,{8 + row / 100},branch" for row in range(150)]
    path.write_text("\n".join([",".join(COLUMNS), *added, *reversed(rows[40:]), ""]))
    gone = {int(p) for p in encode_numeric(AMOUNT, np.arange(40) / 25)}
    new = {int(p) for p in encode_numeric(AMOUNT, 8 + np.arange(150) / 100)}
    assert held_out(custody, home_study()) - new == first - gone
    custody.ledger.close()
    with open_custody(coordinator.institution(), None, clock) as again:  # and over restarts
        assert held_out(again, home_study()) - new == first - gone


@pytest.mark.parametrize("resume", ["true", "false"])
def test_an_interrupted_load_goes_on_where_the_settings_say_so(
    coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch, resume: str
) -> None:
    home = coordinator.homes["bank-a"]
    lines = (home.path / "records.csv").read_text().splitlines()
    (home.path / "records").mkdir()
    for part in range(3):
        text = "\n".join([lines[0], *lines[1 + part :: 3], ""])
        (home.path / "records" / f"{part}.csv").write_text(text)
    coordinator.edit(home.settings, 'path = "records.csv"', 'path = "records"')
    with home.settings.open("a") as file:
        file.write(f"\n[partitions]\nresume = {resume}\n")
    load = records_loader(coordinator.institution(), {})
    with monkeypatch.context() as patched:
        patched.setattr(Load, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(home_study())
    left = list(home.spill.glob("kept-*/*.arrow"))
    assert len(left) == (3 if resume == "true" else 0)
    found = load(home_study())
    assert (found.units, list(home.spill.glob("kept-*"))) == (UNITS, [])


def interrupted(load: Load) -> None:
    raise KeyboardInterrupt


def test_without_sources_the_remedy_is_said(coordinator: Coordinator) -> None:
    settings = coordinator.homes["bank-a"].settings
    settings.write_text(settings.read_text().partition("\n[[records]]")[0])
    with pytest.raises(RecordsError, match=r"\[\[records\]\]"):
        records_loader(coordinator.institution(), {})(home_study())


def test_a_home_without_the_coordinators_key_is_not_opened(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    home.coordinator_key.unlink()
    coordinator.edit(home.policy, f'coordinator = "{coordinator.public}"', 'coordinator = ""')
    with pytest.raises(KeysError, match="coordinator"):
        open_institution(home.path)


def test_after_a_rotation_the_old_roster_does_not_do(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    rotate_identity(home, "bank-a", None)
    with pytest.raises(UsageError, match="own key"):
        open_institution(home.path)
    coordinator.pin(coordinator.roster(version=2))
    assert open_institution(home.path).roster.version == 2


def test_a_broken_policy_stops_everything(coordinator: Coordinator) -> None:
    home = coordinator.homes["bank-a"]
    coordinator.edit(home.policy, "format = 1", 'format = 1\nauto_approve = "no"')
    with pytest.raises(StudyError, match="auto_approve"):
        open_institution(home.path)


def test_a_needless_passphrase_is_refused_before_the_ledger_is_touched(
    coordinator: Coordinator,
) -> None:
    with (
        pytest.raises(KeysError, match="passphrase"),
        open_custody(coordinator.institution(), b"correct horse", clock),
    ):
        pass
    assert not coordinator.homes["bank-a"].ledger.exists()


def test_the_deployed_clock_has_a_time_zone() -> None:
    assert utc_now().utcoffset() == NOW.utcoffset()

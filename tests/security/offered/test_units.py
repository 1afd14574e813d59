"""Whom a budget protects is the institution's to say, whatever a coordinator's study counts.

A study by `account`, or by row, spends the budget of a customer with ten accounts a hundred times
over in mu^2: ten of their rows move a sum by ten times the clip, under noise for one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.client.ledger.losses.test_ledger_split import commit
from tests.support.homes.institutions import (
    COLUMNS,
    NAMES,
    NOW,
    Coordinator,
    OpenCustody,
    approve_all,
    clock,
    coordinator,
    custody_of,
    home_study,
    loaded,
)

from fieldfare.client.approvals.approval import approve, resume
from fieldfare.client.approvals.rejection import Rejecter
from fieldfare.client.approvals.review import unit_problems
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.settings import load_settings
from fieldfare.client.home.studies import KeptStudy, keep_study, kept_study
from fieldfare.client.institution.institution import ledger_of, open_journal
from fieldfare.client.institution.open import open_custody, records_loader
from fieldfare.client.institution.restoring import split_off
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.records import read_records
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import LedgerError, ProtocolError, StudyError, UsageError
from fieldfare.shared.study.study import Study

__all__ = ["coordinator", "custody_of"]

NAME: Final = NAMES[0]
TEN: Final = 10
OTHERS: Final[dict[str, Study]] = {
    "no unit: each row is one": home_study(records__unit=None),
    "an account of a customer": home_study(records__unit="account"),
    "questions by account": home_study(
        records__unit="account",
        queries=[{"name": "all", "kind": "count"}],
    ),
    "a network over accounts": home_study(
        records__unit="account", model={"kind": "mlp", "hidden": [8], "rows": 10}
    ),
}
"""What a coordinator offers to a bank that protects customers."""


@pytest.fixture
def bank(coordinator: Coordinator) -> Home:
    """A bank with ten accounts of each customer, all of its columns allowed."""
    home = coordinator.homes[NAME]
    rows = [f"c{row // TEN},{row % 9 == 0:d},{row / 40},online,a{row}" for row in range(20 * TEN)]
    header = ",".join((*COLUMNS, "account"))
    (home.path / "records.csv").write_text("\n".join([header, *rows, ""]))
    coordinator.edit(home.policy, '"customer", ', '"customer", "account", ')
    return home


def kept(coordinator: Coordinator, study: Study) -> KeptStudy:
    """A study that an earlier version of this program let in."""
    institution = coordinator.institution(NAME)
    keep_study(institution.home, study, coordinator.signed(study), NOW)
    return kept_study(institution.home, study.id, institution.roster)


Try = Callable[[Coordinator, OpenCustody, Study], object]


def offered(coordinator: Coordinator, custody_of: OpenCustody, study: Study) -> object:
    custody_of().inbox.study_offered(coordinator.signed(study), study)
    return None


def received(coordinator: Coordinator, _: OpenCustody, study: Study) -> object:
    return coordinator.receive(study)


def loads(_: Coordinator, custody_of: OpenCustody, study: Study) -> object:
    return loaded(custody_of(), study)


def approved(coordinator: Coordinator, custody_of: OpenCustody, study: Study) -> object:
    custody = custody_of()
    sums = loaded(custody, home_study())
    return approve(custody, kept(coordinator, study), sums, "tester", NOW)


@pytest.mark.parametrize("attempt", [offered, received, loads, approved])
@pytest.mark.parametrize("name", OTHERS)
def test_a_study_of_other_units_goes_nowhere(
    bank: Home, coordinator: Coordinator, custody_of: OpenCustody, attempt: Try, name: str
) -> None:
    assert load_settings(bank).unit == "customer"
    with pytest.raises((StudyError, ProtocolError), match=r"records\.unit: expected") as caught:
        attempt(coordinator, custody_of, OTHERS[name])
    assert "found account" in str(caught.value) or "found none" in str(caught.value)


@pytest.mark.parametrize("name", OTHERS)
def test_a_review_says_so_and_a_check_of_records_too(
    bank: Home,
    coordinator: Coordinator,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    sent = coordinator.file("sent.study", coordinator.signed(OTHERS[name]))
    assert run(["institution", "review", str(sent), "--home", str(bank.path)]) == 0
    assert "records.unit: expected" in " ".join(capsys.readouterr().out.split())


def test_one_that_was_approved_before_is_left_out(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    study = home_study()
    with open_custody(coordinator.institution(NAME), None, clock) as custody:
        approve_all(coordinator, [custody], study)
    coordinator.edit(coordinator.homes[NAME].settings, 'unit = "customer"', 'unit = "account"')
    custody = custody_of()
    ((left, reason),) = resume(custody, records_loader(custody.institution, {}))
    assert left == study.id
    assert "expected account, the unit of your population" in reason


def test_without_a_unit_in_the_settings_nothing_is_approved(
    bank: Home, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    coordinator.edit(bank.settings, '\nunit = "customer"', "")
    study = home_study()
    (problem,) = unit_problems(study, load_settings(bank).unit)
    assert problem.startswith("institution.toml, [[records]] unit: expected the column")
    held = coordinator.receive(study)  # it may wait until that is said
    with pytest.raises(StudyError, match=r"\[\[records\]\] unit: expected the column"):
        approve(custody_of(), held, loaded(custody_of(NAMES[1]), study), "tester", NOW)


def test_rows_of_one_unit_are_counted_for_people_here(
    bank: Home, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = coordinator.file("sent.study", coordinator.signed(home_study()))
    assert run(["institution", "review", str(sent), "--home", str(bank.path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "200 of 200 rows count as zero" in said
    assert "rows of one unit: 10 at most, 10 in the median" in said


@pytest.mark.parametrize(
    ("rows", "largest", "median"),
    [("", 0, 0), ("a", 1, 1), ("abc", 1, 1), ("aab", 2, 1), ("aabb", 2, 2), ("aaabbcd", 3, 1)],
)
def test_every_load_counts_them(tmp_path: Path, rows: str, largest: int, median: int) -> None:
    path = tmp_path / "r.csv"
    path.write_text("\n".join([",".join(COLUMNS), *(f"{unit},0,1,online" for unit in rows), ""]))
    for model in ({}, {"model": {"kind": "mlp", "hidden": [8], "rows": 2}}):
        each = read_records([path], home_study(**model)).counts.each
        assert (each.largest, each.median) == (largest, median), model


# -- the ledger is bound to it ----------------------------------------------------------------


def ledger(home: Home) -> Ledger:
    return ledger_of(home, load_settings(home), load_policy(home), clock)


def bind(home: Home) -> None:
    with ledger(home) as opened:
        commit(opened, 0)


def bound(home: Home) -> list[str]:
    with ledger(home) as opened:
        stated = (one.stated for one in opened.history() if isinstance(one, Statement))
        return [one.unit for one in stated if one.unit]


def test_the_first_release_binds_and_no_edit_undoes_it(
    bank: Home, coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    coordinator.edit(bank.settings, 'unit = "customer"', 'unit = "account"')
    custody_of().ledger.close()  # nothing was spent yet: a slip can be put right
    coordinator.edit(bank.settings, 'unit = "account"', 'unit = "customer"')
    held = coordinator.receive(home_study())
    bind(bank)
    bind(bank)
    assert bound(bank) == ["customer"]
    for other in ('unit = "account"', "# nothing said"):
        coordinator.edit(bank.settings, 'unit = "customer"', other)
        with pytest.raises(LedgerError, match=r"unit: expected customer, which the budget"):
            custody_of()
        with ledger(bank) as opened:
            with pytest.raises(LedgerError, match="expected customer"):
                commit(opened, 1)
            assert opened.position().cumulative == TEN  # the first alone
            by = Rejecter(bank, opened, open_journal(bank, clock), "tester", NOW)
            with pytest.raises(UsageError, match="approved study"):  # a no is always possible
                by.withdraw(held.study.id, "")
        coordinator.edit(bank.settings, other, 'unit = "customer"')
    assert isinstance(custody_of().custodian, Custodian)


def test_a_ledger_of_an_earlier_version_is_bound_at_its_next_start(
    bank: Home, coordinator: Coordinator
) -> None:
    settings = load_settings(bank)
    with ledger_of(bank, settings.model_copy(update={"records": ()}), load_policy(bank), clock) as (
        opened
    ):
        commit(opened, 0)
    assert bound(bank) == []
    for line in ("the ledger is bound to the unit customer, as institution.toml says", ""):
        with open_custody(coordinator.institution(NAME), None, clock) as custody:
            assert custody.bound == line
    assert bound(bank) == ["customer"]
    log = b"".join(path.read_bytes() for path in bank.log_folder.iterdir())
    assert log.count(b"bound to the unit customer") == 1
    with ledger(bank) as opened:
        opened.verify()


def test_a_part_that_is_split_off_is_counted_as_the_whole_was(
    bank: Home, coordinator: Coordinator
) -> None:
    bind(bank)
    part = coordinator.found("part")
    split_off(bank, part, user="tester", reason="two systems")
    assert bound(part) == ["customer"]
    coordinator.edit(part.settings, 'unit = "customer"', 'unit = "account"')
    with ledger(part) as opened, pytest.raises(LedgerError, match="expected customer"):
        opened.check_unit()


@pytest.mark.parametrize("second", ['unit = "account"', ""])
def test_all_sources_are_about_one_population(bank: Home, second: str) -> None:
    with bank.settings.open("a") as file:
        file.write(f'\n[[records]]\npath = "more.csv"\n{second}\n')
    with pytest.raises(StudyError, match=r"1\.unit: expected customer as in the first table"):
        load_settings(bank)


def test_no_study_of_simulations_needs_one(tmp_path: Path) -> None:
    """There, each row may be a unit by construction."""
    path = tmp_path / "r.csv"
    path.write_text("\n".join([",".join(COLUMNS), "a,0,1,online", "b,1,2,online", ""]))
    changes: dict[str, Any] = {"records__unit": None}
    assert len(read_records([path], home_study(**changes))) == 2

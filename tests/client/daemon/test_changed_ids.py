"""A custodian whose records have other ids than before serves nothing, until a person acts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.homes.institutions import (
    NAMES,
    UNITS,
    Coordinator,
    approve_all,
    clock,
    first_answer,
    home_study,
)
from tests.support.homes.journals import logged_text
from tests.support.network.calling import Caller

from fieldfare.client.daemon import reload as reload_module
from fieldfare.client.daemon.reload import CustodianInputs, CustodianReloader, custodian_reloader
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.changed_ids import changed_ids, keep_sides
from fieldfare.client.institution.open import (
    open_custody,
    open_institution_ledger,
    records_loader,
)
from fieldfare.client.institution.restoring import renew_holdout_key
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.protocol.messages import Refusal

NAME: Final = NAMES[0]
STUDY: Final = home_study()
OTHER: Final = home_study(name="other")
module: Any = reload_module


def inputs(home: Home) -> CustodianInputs:
    return CustodianInputs(home=home.path, passphrase=None, environment={}, clock=clock)


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    """One that approved two studies, one of which was answered."""
    with open_custody(coordinator.institution(NAME), None, clock) as custody:
        for study in (STUDY, OTHER):
            approve_all(coordinator, [custody], study)
        first_answer(custody, STUDY)
    return coordinator.homes[NAME]


def codes(reloader: CustodianReloader) -> set[RefusalCode | None]:
    """How each study is answered for: None where it is."""
    found = set()
    for study in (STUDY.id, OTHER.id, "0" * 64):
        answer = Caller(reloader.answer).describe(study)
        found.add(answer.code if isinstance(answer, Refusal) else None)
    return found


SERVED: Final = {None, RefusalCode.UNKNOWN_STUDY}
STOPPED: Final = {RefusalCode.LEDGER_UNAVAILABLE}


def rewrite(home: Home, old: str, new: str, file: str = "records.csv") -> None:
    path = home.path / file
    path.write_text(path.read_text().replace(old, new))


def rename(home: Home) -> None:
    rewrite(home, "bank-a-", "BANK-A-")


def test_a_reload_of_other_ids_serves_no_study(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with custodian_reloader(inputs(home)) as reloader:
        assert codes(reloader) == SERVED
        rename(home)
        report = reloader.reload()
        assert "ledger holdout-key" in report.trouble
        assert report.trouble.startswith(f"study {STUDY.id[:12]}: ")
        assert "nothing is served" in report.changed
        assert codes(reloader) == STOPPED
        status = reloader.status()
        assert (status.trouble, status.studies) == (report.trouble, [])
        assert not reloader.changed()
        watched = reads(monkeypatch)
        reloader.reload()  # as is tried now and then: the records are not read for it
        assert (watched, codes(reloader)) == ([], STOPPED)
        assert logged_text(home.log_folder).count("nothing is served: ") == 1

        rewrite(home, "BANK-A-", "bank-a-")
        assert reloader.changed()  # the export of before is back: no person has to say so
        report = reloader.reload()
        assert (report.trouble, codes(reloader)) == ("", SERVED)
        assert "studies are served again" in report.changed


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take down the names of studies whose records are read from here on."""
    real, read = module.records_loader, list[str]()

    def loader(*arguments: Any) -> Callable[..., Any]:
        load = real(*arguments)

        def loaded(study: Any) -> Any:
            read.append(study.name)
            return load(study)

        return loaded

    monkeypatch.setattr(module, "records_loader", loader)
    return read


def test_it_starts_and_serves_nothing_until_a_person_says_that_people_are_others(
    home: Home, coordinator: Coordinator
) -> None:
    rename(home)
    with custodian_reloader(inputs(home)) as reloader:
        assert codes(reloader) == STOPPED
        assert reloader.trouble
        institution = coordinator.institution(NAME)
        with open_institution_ledger(institution, clock) as ledger:
            before = ledger.costs(STUDY.id)
            (found,) = changed_ids(institution, ledger, records_loader(institution, {}))
            assert (found.study, found.change.here) == (STUDY.id, 0)
            keep_sides(institution, ledger, found, user="ines", reason="a new branch")
            assert ledger.costs(STUDY.id) == before
            assert not [*changed_ids(institution, ledger, records_loader(institution, {}))]
        assert reloader.reload().trouble == ""
        assert codes(reloader) == SERVED
    assert "a new branch" in logged_text(home.log_folder)
    with custodian_reloader(inputs(home)) as reloader:
        assert codes(reloader) == SERVED


def test_where_ids_are_new_both_sides_count_and_it_serves(home: Home) -> None:
    rename(home)
    with custodian_reloader(inputs(home)) as reloader:
        key = home.holdout_key.read_bytes()
        (stated,) = renew_holdout_key(home, user="ines", reason="fresh pseudonyms")
        assert stated.stated.carried > 0
        assert home.holdout_key.read_bytes() == key
        assert reloader.reload().trouble == ""
        assert codes(reloader) == SERVED


def split_in_two(coordinator: Coordinator, home: Home) -> Path:
    """Move half of the customers to a source of their own."""
    header, *rows = (home.path / "records.csv").read_text().splitlines()
    for name, some in (("records.csv", rows[: UNITS // 2]), ("more.csv", rows[UNITS // 2 :])):
        (home.path / name).write_text("\n".join([header, *some, ""]))
    with home.settings.open("a") as file:
        file.write('\n[[records]]\npath = "more.csv"\nunit = "customer"\n')
    return home.path


def test_customers_of_several_sources_are_taken_together(
    home: Home, coordinator: Coordinator
) -> None:
    split_in_two(coordinator, home)
    with custodian_reloader(inputs(home)) as reloader:
        assert codes(reloader) == SERVED  # where a customer stands is nothing to it
        rewrite(home, "bank-a-", "BANK-A-", "more.csv")
        assert reloader.reload().trouble == ""  # a half
        rewrite(home, "bank-a-1", "BANK-A-1")
        assert reloader.reload().trouble
        assert codes(reloader) == STOPPED


def test_customers_who_come_and_go_stop_nothing(home: Home) -> None:
    records = home.path / "records.csv"
    header, *rows = records.read_text().splitlines()
    new = [row.replace("bank-a-", "bank-a-new-") for row in rows[: UNITS // 2]]
    with custodian_reloader(inputs(home)) as reloader:
        for some in ([*rows, *new], rows[UNITS * 3 // 10 :], []):
            records.write_text("\n".join([header, *some, ""]))
            assert reloader.reload().trouble == ""
            assert codes(reloader) == SERVED

"""A home says whose it is by what lies in it; one that could be two parties' is nobody's."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import NAMES, Coordinator

from fieldfare.client.home.layout import Home
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.cli.evidence import GivenEvidence, PartyEvidence
from fieldfare.shared.cli.part import HomeParty
from fieldfare.shared.cli.parties import owns, parties, party_of, party_table
from fieldfare.shared.cli.root import run
from fieldfare.shared.cli.upkeep import PartyUpkeep
from fieldfare.shared.console.process import PartyConsole
from fieldfare.shared.errors import FieldfareError, UsageError
from fieldfare.shared.evidence.facts import SoftwareFacts

VARIABLES: Final = ("FIELDFARE_HOME", "FIELDFARE_COORDINATOR")
GIVEN: Final = GivenEvidence(
    None, None, datetime(2026, 1, 2, tzinfo=UTC), SoftwareFacts("1", "3", (), "", b"{}")
)
every_party = pytest.mark.parametrize("party", parties(), ids=lambda one: one.name)


@pytest.fixture
def homes(coordinator: Coordinator, coordinator_home: CoordinatorHome) -> dict[str, Path]:
    return {
        "coordinator": coordinator_home.path,
        "institution": coordinator.homes[NAMES[0]].path,
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in, and nothing in the environment."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def marked(party: HomeParty, path: Path) -> Path:
    path.mkdir()
    (path / party.marks[0]).write_text("")
    return path


@every_party
def test_each_knows_its_own_homes(party: HomeParty, homes: dict[str, Path]) -> None:
    assert [name for name, path in homes.items() if owns(party, path)] == [party.name]
    assert not owns(party, homes["coordinator"] / "nowhere")
    assert party_of(homes[party.name]) == (party, homes[party.name])


def test_marks_are_the_files_that_a_home_begins_with(tmp_path: Path) -> None:
    marks = {one.name: one.marks[0] for one in parties()}
    assert marks == {
        "institution": Home(tmp_path).settings.name,
        "coordinator": CoordinatorHome(tmp_path).settings.name,
    }


@every_party
@pytest.mark.parametrize("kind", [PartyConsole, PartyEvidence, PartyUpkeep])
def test_each_has_all_that_differs(party: HomeParty, kind: type[object]) -> None:
    assert isinstance(party_table(party, kind), kind)


@every_party
def test_nothing_is_gathered_of_what_is_not_there(party: HomeParty, homes: dict[str, Path]) -> None:
    with pytest.raises(FieldfareError):
        party_table(party, PartyEvidence).gather(homes[party.name], "nothing", GIVEN)


def test_without_a_name_it_is_the_one_home_that_is_there(folder: Path) -> None:
    first, second = parties()
    with pytest.raises(UsageError, match="found none"):
        party_of(None)
    marked(first, folder / first.name)
    assert party_of(None) == (first, Path(first.name))
    marked(second, folder / second.name)
    with pytest.raises(UsageError, match="say which"):
        party_of(None)


def test_what_the_environment_names_counts_before_what_lies_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = parties()
    marked(first, folder / first.name)
    named = marked(second, folder / "named")
    monkeypatch.setenv(second.variable, str(named))
    assert party_of(None) == (second, named)
    monkeypatch.setenv(second.variable, str(folder / "gone"))
    with pytest.raises(UsageError, match="gone"):
        party_of(None)  # it says where it looked, and takes no other


def test_a_folder_with_the_marks_of_both_is_nobodys(folder: Path) -> None:
    first, second = parties()
    path = marked(first, folder / "both")
    (path / second.marks[0]).write_text("")
    with pytest.raises(UsageError, match="say which"):
        party_of(path)


def test_a_coordinators_backup_takes_no_word_about_a_ledger(
    tmp_path: Path, coordinator_home: CoordinatorHome, capsys: pytest.CaptureFixture[str]
) -> None:
    key, file, new = (tmp_path / name for name in ("recovery.key", "a.backup", "new"))
    at = ("--home", str(coordinator_home.path))
    assert run(["recovery", "key", str(key)]) == 0
    assert run(["recovery", "take", f"{key}.pub", *at]) == 0
    assert run(["backup", str(file), *at]) == 0
    asked = ["restore", str(file), "--recovery-key", str(key), "--home", str(new), "--reason", "x"]
    for words in (["--as-planned"], ["--spent", "0"], ["--witness-here"], ["--study", "0"]):
        assert run([*asked, *words]) == 2
        assert "it has no ledger" in capsys.readouterr().err
    assert not new.exists()
    assert run(asked) == 0
    assert CoordinatorHome.open(new).path == new

"""A change of anything that a custodian stands on shows; a release does not."""

import os
import shutil
from collections.abc import Callable

import pytest
from tests.support.homes.institutions import NAMES, Coordinator, OpenCustody, home_study

from fieldfare.client.daemon.reload import (
    config_state,
    decisions_state,
    file_state,
    records_state,
)
from fieldfare.client.home.keys import rotate_identity
from fieldfare.client.home.layout import Home

NAME = NAMES[0]


def touched(name: str) -> Callable[[Home], None]:
    def touch(home: Home) -> None:
        path = home.path / name
        path.write_text(path.read_text() + "# more\n")

    return touch


@pytest.mark.parametrize(
    "change",
    [
        touched("institution.toml"),
        touched("policy.toml"),
        touched("roster.signed"),
        touched("coordinator.pub"),
        lambda home: home.roster.unlink(),
        lambda home: rotate_identity(home, NAME, None),
    ],
)
def test_what_is_stood_on_shows_a_change(
    coordinator: Coordinator, change: Callable[[Home], None]
) -> None:
    home = coordinator.homes[NAME]
    before = config_state(home)
    assert config_state(home) == before
    change(home)
    assert config_state(home) != before


def test_a_ledger_shows_that_it_was_replaced_and_not_that_it_grew(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    home, custody = coordinator.homes[NAME], custody_of(NAME)
    before = config_state(home)
    custody.ledger.put_run_state("s", "r", b"state")
    assert config_state(home) == before
    copy = home.ledger.with_name("copy")
    shutil.copy(home.ledger, copy)
    copy.replace(home.ledger)
    assert config_state(home) != before


def test_a_study_that_arrives_shows(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    before = decisions_state(home)
    coordinator.receive(home_study(), NAME)
    assert decisions_state(home) != before
    assert decisions_state(home) == decisions_state(home)


def test_a_folder_that_is_gone_is_a_state_too(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    home.studies.rename(home.path / "away")
    assert decisions_state(home) == ()
    assert file_state(home.studies)[2] == -1


def test_records_show_other_files_and_other_settings(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    before = records_state(coordinator.institution(NAME))
    assert records_state(coordinator.institution(NAME)) == before
    os.utime(home.path / "records.csv", (1, 1))
    second = records_state(coordinator.institution(NAME))
    assert second != before
    coordinator.edit(home.settings, 'path = "records.csv"', 'path = "./records.csv"')
    assert records_state(coordinator.institution(NAME)) != second


def test_a_folder_of_records_shows_a_file_in_it(coordinator: Coordinator) -> None:
    home = coordinator.homes[NAME]
    (home.path / "extracts" / "2025").mkdir(parents=True)
    coordinator.edit(home.settings, 'path = "records.csv"', 'path = "extracts"')
    before = records_state(coordinator.institution(NAME))
    (home.path / "extracts" / "2025" / "may.csv").write_text("")
    assert records_state(coordinator.institution(NAME)) != before

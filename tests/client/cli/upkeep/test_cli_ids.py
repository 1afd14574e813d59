"""Ids that changed, as an institution's people see them and say what they are."""

import io
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.institutions import (
    NAMES,
    Coordinator,
    approve_all,
    clock,
    first_answer,
    home_study,
)
from tests.support.homes.journals import logged_text

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.institution.open import open_custody
from fieldfare.shared.cli.root import run

Capture = pytest.CaptureFixture[str]
STUDY: Final = home_study()
FILE: Final = """
name = "small"
purpose = "tests"
records = {unit = "customer", label = "reported", units = 600, prevalence = 0.1}
training = {steps = 3}
privacy = {epsilon = 0.5, delta = 1e-5, collusion_tolerance = 1}
aggregation = {minimum_institutions = 3, participants = "any"}
[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10
[[features]]
name = "channel"
kind = "categorical"
levels = ["branch", "online"]
"""


@pytest.fixture
def home(coordinator: Coordinator) -> Home:
    """A home whose records have other ids than at its study's first answer."""
    with open_custody(coordinator.institution(), None, clock) as custody:
        approve_all(coordinator, [custody], STUDY)
        first_answer(custody, STUDY)
    found = coordinator.homes[NAMES[0]]
    write(found, "bank-a-", "BANK-A-")
    return found


def write(home: Home, old: str, new: str) -> None:
    records = home.path / "records.csv"
    records.write_text(records.read_text().replace(old, new))


def holdout_key(home: Home, *arguments: str) -> int:
    command = ("institution", "ledger", "holdout-key", "--home", str(home.path))
    return run([*command, "--reason", "an export of another program", *arguments])


def check(home: Home, study: Path) -> int:
    return run(["institution", "records", "check", str(study), "--home", str(home.path)])


def spent(home: Home) -> int:
    with open_ledger(home) as ledger:
        return ledger.spent()


def test_a_check_says_beforehand_that_nothing_would_be_served(
    home: Home, tmp_path: Path, capsys: Capture
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(FILE)
    assert check(home, study) == 2
    said = capsys.readouterr().out
    assert "would load: 200 rows" in said
    assert "of 200 ids of the study's first answer that were looked at, 0 are here and" in said
    assert "200 are not; 200 others are" in said
    assert "--keep-sides" in said
    assert "BANK-A" not in said
    write(home, "BANK-A-", "bank-a-")
    assert check(home, study) == 0
    assert "200 are here and 0 are not; 0 others are" in capsys.readouterr().out
    study.write_text(FILE.replace("steps = 3", "steps = 4"))
    assert check(home, study) == 0  # of a study that was never answered nothing is said
    assert "first answer" not in capsys.readouterr().out


@pytest.mark.parametrize("what", ["ledger", "key"])
def test_who_may_not_read_them_is_told_the_rest(
    home: Home, tmp_path: Path, capsys: Capture, what: str
) -> None:
    study = tmp_path / "study.toml"
    study.write_text(FILE)
    if what == "ledger":
        home.ledger.write_bytes(b"nonsense")
    else:
        home.holdout_key.unlink()
    assert check(home, study) == 0
    assert ("ids were not compared" in capsys.readouterr().out) is (what == "ledger")


def test_a_person_says_that_people_are_others(home: Home, capsys: Capture) -> None:
    before = spent(home)
    assert holdout_key(home, "--keep-sides", "--yes") == 0
    said = capsys.readouterr().out
    assert f"study {STUDY.id[:12]}: of 200 ids" in said
    assert "written down: no person's id was changed" in said
    assert holdout_key(home, "--keep-sides", "--yes") == 0
    assert "nothing was written" in capsys.readouterr().out
    assert spent(home) == before
    assert run(["institution", "ledger", "--home", str(home.path)]) == 0
    assert "other people, nobody has another id, by" in capsys.readouterr().out
    assert "other people came" in logged_text(home.log_folder)


def test_nothing_is_written_where_the_answer_is_no(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(home) as ledger:
        before = ledger.position()
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert holdout_key(home, "--keep-sides") == 1
    assert "did every person keep the same id?" in capsys.readouterr().out
    with open_ledger(home) as ledger:
        assert ledger.position() == before


def test_where_ids_are_new_both_sides_count(home: Home, capsys: Capture) -> None:
    before, key = spent(home), home.holdout_key.read_bytes()
    assert holdout_key(home, "--yes") == 0
    assert "more spent" in capsys.readouterr().out
    assert spent(home) == 2 * before
    assert home.holdout_key.read_bytes() == key
    assert holdout_key(home, "--keep-sides", "--yes") == 0
    assert "nothing was written" in capsys.readouterr().out

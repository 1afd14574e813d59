"""`fieldfare institution log verify`: one line, or the first misfit and status 1."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.cli.root import commands, run
from fieldfare.shared.errors import LedgerError

LOG_VERIFY = commands()["institution.log.verify"]()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    journal = Journal.open(tmp_path / "log", clock=lambda: datetime(2025, 1, 1, tzinfo=UTC))
    for _ in range(3):
        journal.append(Event.START, "custodian")
    return tmp_path


def test_a_whole_log_is_told_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(LOG_VERIFY, ["--home", str(home)])
    assert result.exit_code == 0
    assert result.stdout == "log verified: 3 entries, 1 to 3\n"
    named = CliRunner().invoke(LOG_VERIFY, [], env={"FIELDFARE_HOME": str(home)})
    assert named.stdout == result.stdout
    home.rename(home.with_name("institution"))
    monkeypatch.chdir(home.parent)
    monkeypatch.delenv("FIELDFARE_HOME", raising=False)
    assert CliRunner().invoke(LOG_VERIFY, []).stdout == result.stdout


def test_a_misfit_is_named_with_status_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(home / "log" / "log.sqlite", isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER entries_UPDATE")
        connection.execute(
            "UPDATE entries SET line = replace(line, 'custodian', 'custodiam') WHERE sequence = 1"
        )
    result = CliRunner().invoke(LOG_VERIFY, ["--home", str(home)])
    assert isinstance(result.exception, LedgerError)
    assert run(["institution", "log", "verify", "--home", str(home)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fieldfare: log.sqlite entry 1: expected the hash ")
    assert shown.err.count("\n") == 1


def test_no_log_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["institution", "log", "verify", "--home", str(tmp_path)]) == 1
    assert "log.sqlite: expected a log" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]

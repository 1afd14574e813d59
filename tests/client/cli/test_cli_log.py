"""`fieldfare institution log verify`: one line, or the first misfit and status 1."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldfare.client.cli.home import verified_line
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal, Verified
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
    assert result.stdout == "log verified: 3 entries, 1 to 3, in 1 file\n"
    named = CliRunner().invoke(LOG_VERIFY, [], env={"FIELDFARE_HOME": str(home)})
    assert named.stdout == result.stdout
    home.rename(home.with_name("institution"))
    monkeypatch.chdir(home.parent)
    monkeypatch.delenv("FIELDFARE_HOME", raising=False)
    assert CliRunner().invoke(LOG_VERIFY, []).stdout == result.stdout


def test_a_misfit_is_named_with_status_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = home / "log" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"custodian", b"custodiam", 1))
    result = CliRunner().invoke(LOG_VERIFY, ["--home", str(home)])
    assert isinstance(result.exception, LedgerError)
    assert run(["institution", "log", "verify", "--home", str(home)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fieldfare: log.jsonl line 1 (entry 1): expected the hash ")
    assert shown.err.count("\n") == 1


def test_no_log_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["institution", "log", "verify", "--home", str(tmp_path)]) == 1
    assert "head.json: expected the head" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("verified", "line"),
    [
        (Verified(first=1, last=0, files=0), "log verified: no entries"),
        (Verified(first=1, last=12, files=3), "log verified: 12 entries, 1 to 12, in 3 files"),
        (
            Verified(first=6, last=9, files=4),
            "log verified: 4 entries, 6 to 9, in 4 files; 5 before were deleted by rule",
        ),
        (
            Verified(first=1, last=9, files=1, incomplete=7),
            "log verified: 9 entries, 1 to 9, in 1 file; then 7 bytes of an incomplete line",
        ),
    ],
)
def test_what_is_said(verified: Verified, line: str) -> None:
    assert verified_line(verified) == line

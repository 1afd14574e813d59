"""`fieldfare institution verify log`: one line, or the first misfit and status 1."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.support.homes.journals import logged_text

from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.shared.cli.root import commands, run
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.system.clock import utc_now

VERIFY = commands()["institution.verify"]()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    journal = Journal.open(tmp_path / "log", clock=lambda: datetime(2025, 1, 1, tzinfo=UTC))
    for _ in range(3):
        journal.append(Event.START, "custodian")
    return tmp_path


def test_a_whole_log_is_told_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(VERIFY, ["log", "--home", str(home)])
    assert result.exit_code == 0
    assert result.stdout == "log verified: 3 entries, 1 to 3\n"
    named = CliRunner().invoke(VERIFY, ["log"], env={"FIELDFARE_HOME": str(home)})
    assert named.stdout == result.stdout
    home.rename(home.with_name("institution"))
    monkeypatch.chdir(home.parent)
    monkeypatch.delenv("FIELDFARE_HOME", raising=False)
    assert CliRunner().invoke(VERIFY, ["log"]).stdout == result.stdout


def test_a_misfit_is_named_with_status_1(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(home / "log" / "log.sqlite", isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER entries_UPDATE")
        connection.execute(
            "UPDATE entries SET line = replace(line, 'custodian', 'custodiam') WHERE sequence = 1"
        )
    result = CliRunner().invoke(VERIFY, ["log", "--home", str(home)])
    assert isinstance(result.exception, LedgerError)
    assert run(["institution", "verify", "log", "--home", str(home)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fieldfare: log.sqlite entry 1: expected the hash ")
    assert shown.err.count("\n") == 1


def test_no_log_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["institution", "verify", "log", "--home", str(tmp_path)]) == 1
    assert "log.sqlite: expected a log" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


# -- what leaves for a collector ------------------------------------------------------------------


@pytest.fixture
def founded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "bank"
    assert run(["institution", "init", "--id", "bank-a", "--home", str(folder)]) == 0
    with Journal.open(folder / "log", clock=lambda: datetime(2025, 1, 1, tzinfo=UTC)) as journal:
        for step in range(3):
            journal.append(Event.REQUEST, "coordinator", step=step)
    capsys.readouterr()
    return folder


def test_entries_are_exported_as_the_lines_that_they_are(
    founded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = ["institution", "log", "--home", str(founded)]
    assert run(export) == 0
    whole = capsys.readouterr().out
    assert whole == logged_text(founded / "log")
    for since, left in ((0, 3), (2, 1), (3, 0)):
        assert run([*export, "--since", str(since)]) == 0
        shown = capsys.readouterr().out.splitlines()
        assert shown == whole.splitlines()[3 - left :]
    assert run([*export, "--since", "99"]) == 1  # the collector has more: this log was cut
    assert "expected a log that reaches entry 99" in capsys.readouterr().err


def test_a_signed_head_finds_a_log_that_was_rewritten_or_cut(
    founded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has the account writes a new log with right hashes; not one that an old head fits."""
    where = ["--home", str(founded)]
    kept = founded.parent / "kept"
    for _ in range(2):
        assert run(["institution", "head", *where]) == 0
        with kept.open("a") as file:
            file.write(capsys.readouterr().out)
        with Journal.open(founded / "log", clock=utc_now) as journal:
            journal.append(Event.STOP, "custodian")
        assert run(["institution", "keys", "rotate", *where]) == 0  # former heads still count
        capsys.readouterr()
    check = ["institution", "verify", "log", *where, "--head", str(kept)]
    assert run(check) == 0
    assert capsys.readouterr().out == "log verified: 5 entries, 1 to 5; 2 signed heads fit\n"

    shutil.move(founded / "log", founded.parent / "true log")
    for entries, said in ((3, "rewritten"), (2, "was cut, or restored"), (9, "rewritten")):
        (founded / "log").mkdir(mode=0o700)
        with Journal.open(founded / "log", clock=utc_now) as journal:
            for _ in range(entries):
                journal.append(Event.REQUEST, "coordinator", step=7)
        assert run(["institution", "verify", "log", *where]) == 0
        assert run(check) == 1
        assert said in capsys.readouterr().err
        shutil.rmtree(founded / "log")


def test_a_head_of_somebody_else_or_a_changed_one_is_none(
    founded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["institution", "head", "--home", str(founded)]) == 0
    good = capsys.readouterr().out
    other = str(tmp_path / "other")
    assert run(["institution", "init", "--id", "bank-a", "--home", other]) == 0
    Journal.open(tmp_path / "other" / "log", clock=utc_now).close()
    capsys.readouterr()
    assert run(["institution", "head", "--home", other]) == 0
    for line in (capsys.readouterr().out, good.replace('"entries":3', '"entries":2'), "{}\n"):
        (tmp_path / "kept").write_text(good + line)
        check = ["institution", "verify", "log", "--home", str(founded), "--head"]
        assert run([*check, str(tmp_path / "kept")]) == 1
        assert "line 2: expected a head that bank-a signed" in capsys.readouterr().err
    (tmp_path / "kept").write_text("")
    assert run([*check, str(tmp_path / "kept")]) == 1
    assert "found an empty file" in capsys.readouterr().err


def test_what_means_nothing_in_a_call_is_refused(
    founded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, option in (
        (("verify", "ledger", "--head", "heads"), "--head"),
        (("verify", "run.transcript", "--head", "heads"), "--head"),
        (("verify", "--json"), "--json"),
        (("head", "--out", "file"), "--out"),
        (("head", "run-1"), "--out"),
        (("keys", "rotate", "node", "--key", "pkcs11:token=t"), "--key"),
        (("policy", "--yes"), "--yes"),
    ):
        assert run(["institution", *words, "--home", str(founded)]) == 2, words
        shown = capsys.readouterr()
        assert (shown.out, option in shown.err) == ("", True), shown.err

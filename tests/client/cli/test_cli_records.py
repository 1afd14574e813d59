"""`institution records check` as a user calls it: through the root command."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.system.postgres import PostgresServer, running_postgres

from fieldfare.shared.cli.root import run

STUDY = """
name = "t"
purpose = "p"
records = {unit = "unit", label = "label", units = 10, prevalence = 0.1}
privacy = {epsilon = 1, delta = 1e-5}
[[features]]
kind = "numeric"
name = "amount"
lower = 0
upper = 1000
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def study(tmp_path: Path) -> str:
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return str(path)


def check(study: str, *arguments: Any) -> int:
    return run(["institution", "records", "check", study, *map(str, arguments)])


def test_a_file_with_its_mapping(
    tmp_path: Path, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, mapping = tmp_path / "r.csv", tmp_path / "m.toml"
    path.write_bytes("unit;BETRÄG;label\na;1,5;1\nb;2,5;0\n".encode("latin-1"))
    mapping.write_text('encoding = "latin-1"\ndecimal = ","\ncolumns = {amount = "BETRÄG"}\n')
    assert check(study, "--records", path, "--mapping", mapping) == 0
    assert "would load: 2 rows" in capsys.readouterr().out
    assert check(study, "--records", path) == 2
    printed = capsys.readouterr()
    assert "would not load" in printed.out
    assert "LATIN" not in printed.out
    assert "Traceback" not in printed.err


def test_the_institutions_own_sources(
    tmp_path: Path, study: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "in").mkdir(parents=True)
    for name in ("a", "b"):
        (home / "in" / f"{name}.csv").write_text(f"unit,amount,label\n{name},5,1\nx{name},5,0\n")
    (home / "institution.toml").write_text(
        '[[records]]\nkind = "csv"\npath = "in"\nunit = "unit"\n'
    )
    assert check(study, "--home", home) == 0
    assert "4 rows" in capsys.readouterr().out
    monkeypatch.setenv("FIELDFARE_HOME", str(home))
    (home / "in" / "c.csv").write_text("unit,amount,label\na,5,1\n")
    assert check(study) == 0
    assert "found rows of one unit in 2 rows (a.csv 1, c.csv 1)" in capsys.readouterr().out


def test_what_moved_since_another_day_is_said_and_refuses_nothing(
    tmp_path: Path, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where every amount is another one; only on the operator's own screen."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "institution.toml").write_text('[[records]]\npath = "r.csv"\nunit = "unit"\n')
    for factor, day in ((1, "2026-01-01"), (2, "")):
        rows = "".join(f"u{index},{index * factor % 999},{index % 2}\n" for index in range(400))
        (home / "r.csv").write_text("unit,amount,label\n" + rows)
        (home / "r.csv").write_text((home / "r.csv").read_text().replace(",7", ",700"))
        assert check(study, "--home", home) == 0
        printed = capsys.readouterr()
        assert ("since 2026-01-01: " in printed.out) is (not day)
        assert printed.err == ""
        kept = home / "records-health.json"
        text = kept.read_text()
        kept.write_text(re.sub(r'"time":"[^T]*', f'"time":"{day}', text) if day else text)
    assert "since 2026-01-01: 400 rows, 400 before" in printed.out
    assert "1 of 1 column moved; look before you go on" in printed.out
    assert "column amount: moved much, index " in printed.out


@pytest.mark.promises
def test_a_table_of_a_database(
    tmp_path: Path, study: str, capsys: pytest.CaptureFixture[str]
) -> None:
    connection = sqlite3.connect(tmp_path / "r.sqlite")
    for table in ("one", "two"):
        connection.execute(f"CREATE TABLE {table} (unit, amount, label)")
        connection.execute(f"INSERT INTO {table} VALUES ('a', 5, 1)")
    connection.commit()
    connection.close()
    assert check(study, "--records", tmp_path / "r.sqlite") == 2
    assert "expected one table where none is named" in capsys.readouterr().out
    assert check(study, "--records", tmp_path / "r.sqlite", "--table", "two") == 0


def test_a_postgresql_server(
    tmp_path: Path, study: str, capsys: pytest.CaptureFixture[str], postgres: PostgresServer
) -> None:
    postgres.execute(
        "DROP TABLE IF EXISTS accounts",
        "CREATE TABLE accounts (unit text, amount numeric(10, 2), label boolean)",
        "INSERT INTO accounts VALUES ('a', 5.25, true), ('b', 9999, false), ('b', NULL, NULL)",
    )
    home = tmp_path / "home"
    home.mkdir()
    (home / "uri").write_text(postgres.uri)
    (home / "uri").chmod(0o600)
    settings = '[[records]]\nkind = "postgresql"\nuri_file = "uri"\n'
    (home / "institution.toml").write_text(f'{settings}table = "accounts"\nunit = "unit"\n')
    assert check(study, "--home", home) == 0
    printed = capsys.readouterr()
    assert "expected a label, found none in 1 row (3)" in printed.out
    assert "found rows of one unit in 2 rows (2, 3)" in printed.out
    assert "would load: 2 of 3 rows count as zero (66.7 %)" in printed.out
    assert "found others in 1 row (2)" in printed.out
    assert postgres.password not in printed.out + printed.err
    query = "SELECT * FROM accounts WHERE label IS NOT NULL"
    (home / "institution.toml").write_text(f'{settings}query = "{query}"\nunit = "unit"\n')
    assert check(study, "--home", home) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--home", "nowhere"], "nowhere/institution.toml: expected a readable file"),
        (["--home", "nowhere", "--table", "t"], "--mapping, --table: expected beside --records"),
        (["--records", "r.csv", "--mapping", "none.toml"], "expected a readable mapping file"),
    ],
)
def test_calls_that_cannot_be_meant(
    tmp_path: Path,
    study: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check(study, *arguments) == 2
    assert message in capsys.readouterr().err

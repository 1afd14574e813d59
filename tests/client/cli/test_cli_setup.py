"""`institution init` as a newcomer answers it, and as a script calls it."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.homes.institutions import home_study
from tests.support.system.postgres import running_postgres

from fieldfare.client.custodian.recall import VOUCHED_STATE
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import load_policy
from fieldfare.client.home.settings import load_settings
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.ledger.run_states import LEDGER_STATE
from fieldfare.client.records.load import read_sources
from fieldfare.shared.cli.root import run

Answered = Callable[..., tuple[int, str, str]]
GIVEN = ("--id", "bank-a", "--epsilon", "1", "--minimum-units", "1", "--witness", "-")


@pytest.fixture
def answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Answered:
    """Type the command with these answers; nobody answers more."""

    def typed(*arguments: object, answers: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        home = ("--home", str(tmp_path / "made"))
        status = run(["institution", "init", *map(str, arguments), *home])
        out, err = capsys.readouterr()
        return status, out, err

    return typed


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "kunden.csv"
    rows = ["Kunde;reported;amount;channel", "a;1;1,5;branch", "b;0;2,5;Zürich"]
    path.write_bytes("\n".join(rows).encode("latin-1"))
    return path


def test_answers_become_a_home_that_a_study_can_be_read_from(
    answered: Answered, records: Path, tmp_path: Path
) -> None:
    answers = f"bank-a\n{records}\n,\nlatin-1\nKunde\ncustomer\n2.5\n1\n-\n"
    status, said, err = answered(answers=answers)
    assert (status, "read 2 rows, each of another Kunde" in said) == (0, True), err
    home = Home.open(tmp_path / "made")
    settings, policy = load_settings(home), load_policy(home)
    study = home_study(name="small")
    read = read_sources(settings.records, study, folder=home.path, environment={})
    assert read.units.tolist() == ["a", "b"]
    assert (policy.budget.study_epsilon, policy.budget.yearly_epsilon) == (2.5, 2.5)
    assert (policy.records.minimum_units, policy.records.columns) == (1, ())
    assert "# Whose budget the ledger keeps" in home.settings.read_text()
    assert f"policy --home {home.path}" in said
    assert "at each start every member is asked what it remembers" in said
    assert settings.ledger.witness == ""


def test_a_witness_elsewhere_begins_with_the_home(
    answered: Answered, records: Path, tmp_path: Path
) -> None:
    """Its identity is as new, so the first start has to ask nobody."""
    form = ("--decimal", ",", "--encoding", "latin-1", "--unit", "Kunde", "--study-unit", "Kunde")
    given = ("--id", "bank-a", "--epsilon", "1", "--minimum-units", "1", "--records", records)
    status, _, err = answered(*given, *form, "--witness", tmp_path / "unmounted")
    assert (status, "mount its disk" in err) == (2, True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as other:
        status, said, err = answered(*given, *form, "--witness", other)
        assert status == 0, err
        place = Path(other) / "bank-a.witness"
        assert f"witness      {place}" in said
        home = Home.open(tmp_path / "made")
        assert load_settings(home).ledger.witness == str(place)
        with open_ledger(home) as ledger:
            assert ledger.witnessed
            assert ledger.run_state(LEDGER_STATE, VOUCHED_STATE) == str(place).encode()


def test_what_is_given_is_not_asked(answered: Answered, records: Path, tmp_path: Path) -> None:
    form = ("--decimal", ",", "--encoding", "latin-1", "--unit", "Kunde", "--study-unit", "Kunde")
    status, said, _ = answered(*GIVEN, "--records", records, *form)
    assert (status, said.splitlines()[0]) == (0, "read 2 rows, each of another Kunde")
    assert load_settings(Home.open(tmp_path / "made")).id == "bank-a"


def test_without_an_answer_nothing_is_made(
    answered: Answered, records: Path, tmp_path: Path
) -> None:
    form = ("--decimal", ",", "--encoding", "latin-1")
    rows: list[tuple[tuple[object, ...], str]] = [
        ((), "--id: expected an answer, found no terminal and no piped line: give --id"),
        (("--id", "coordinator"), "expected"),
        ((*GIVEN, "--records", tmp_path / "none.csv"), "expected a file or folder, found nothing"),
        ((*GIVEN, "--records", records, *form, "--unit", "Kunte", "--study-unit", "c"),
         "did you mean Kunde?"),
        ((*GIVEN, "--records", records, "--decimal", ";"), "expected an answer"),
        ((*GIVEN, "--records", "postgresql"), "give --uri-file"),
        (("--id", "a", "--records", records, *form, "--unit", "Kunde", "--study-unit", "c",
          "--epsilon", "much"), "--epsilon: expected a number"),
    ]  # fmt: skip
    for arguments, said in rows:
        status, _, err = answered(*arguments)
        assert (status, said in err) == (2, True), err
        assert not (tmp_path / "made").exists()


def test_records_in_a_database(answered: Answered, tmp_path: Path) -> None:
    uri = tmp_path / "uri"
    form = ("--table", "pg_catalog.pg_class", "--unit", "relname", "--study-unit", "customer")
    with running_postgres() as server:
        uri.write_text(server.uri)
        uri.chmod(0o600)
        status, said, err = answered(*GIVEN, "--records", "postgresql", "--uri-file", uri, *form)
    assert (status, "rows" in said) == (0, True), err
    (source,) = load_settings(Home.open(tmp_path / "made")).records
    assert (source.kind, source.columns) == ("postgresql", {"customer": "relname"})

"""Persons decide at a console of its own user, which reads no key: `institution casework`."""

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.homes.journals import logged_text
from tests.support.records.scored import Analyst, analyst_of
from tests.support.runs.finished import RUN
from tests.support.system.typed_as import (
    CONSOLE,
    GROUP,
    MEMBER,
    OUTSIDER,
    as_user,
    typed_as,
)

from fieldfare.client.alerts.alert_queue import open_queue
from fieldfare.client.alerts.feedback import Confidence, Disposition, Feedback, PartyRole
from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can pass through; pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="fieldfare-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    return analyst_of(coordinator, custody_of, capsys, units=300)


@pytest.fixture
def casework(analyst: Analyst, shared: Path) -> Path:
    """The folder of a group, with alerts, where a console's user signs for two persons."""
    folder = shared / "casework"
    persons = ("--analyst", "anna", "--reviewer", "berta")
    status, said, err = analyst("casework", "make", "--folder", folder, "--group", GROUP, *persons)
    assert status == 0, err
    assert "reviewers  berta: decide, and sign second" in said
    terms = folder / "casework.toml"
    terms.write_text(terms.read_text().replace('console = ""', f'console = "{CONSOLE}"'))
    out = ("--budget", "4", "--out", analyst.folder / "alerts.parquet")
    status, said, err = analyst("score", "--model", RUN, *out)
    assert status == 0, err
    return folder


def alerts(casework: Path) -> list[str]:
    status, said, err = typed_as(CONSOLE, "institution", "alerts", "--home", casework, "--json")
    assert status == 0, err
    return [row["alert"] for row in json.loads(said)]


def decided(casework: Path, person: str, alert: str, what: Disposition = Disposition.FILE) -> int:
    """Decide at the console, in a process of its user; 0: it was done."""
    one = Feedback(alert, utc_now(), person, what, PartyRole.CONTROLLER, Confidence.HIGH, "seen")

    def do() -> int:
        try:
            return int(bool(open_queue(casework).act(one).problem))
        except UsageError:
            return 2

    return as_user(CONSOLE, do)


def typed(casework: Path, user: str, alert: str) -> tuple[int, str, str]:
    said = ("--disposition", "file", "--role", "controller", "--note", "seen")
    return typed_as(user, "institution", "act", alert, "decide", *said, "--home", casework)


@as_root
def test_two_persons_file_and_their_console_reads_no_key(casework: Path, analyst: Analyst) -> None:
    alert, *_ = alerts(casework)
    assert decided(casework, "anna", alert) == 0
    assert decided(casework, "anna", alert) == 0  # nobody signs twice
    assert json.loads(analyst("alerts", "--json", "--state", "closed")[1]) == []
    assert decided(casework, "berta", alert) == 0
    assert decided(casework, "emil", alert) == 2  # whom casework.toml does not name
    home = ("--home", casework)
    status, said, err = typed_as(CONSOLE, "institution", "alerts", alert, *home)
    assert (status, "anna" in said, "berta" in said) == (0, True, True), err
    assert list((casework / "models").glob("*.html"))
    draft, labels = analyst.folder / "report.xml", analyst.folder / "labels.csv"
    assert analyst("export", alert, "--format", "goaml", "--out", draft)[0] == 0
    status, said, err = analyst("labels", "--out", labels)
    assert (status, "1 labels, 1 of them positive" in said) == (0, True), err
    assert typed_as(CONSOLE, "institution", "alerts", "--home", analyst.folder)[0] == 2
    secrets = (analyst.home.identity_key, analyst.home.ledger, analyst.folder / "customers.csv")
    assert as_member([path.read_bytes for path in secrets]) == 0


@as_root
def test_nobody_signs_on_a_terminal_and_nobody_else_gets_in(
    casework: Path, analyst: Analyst
) -> None:
    """Not even who is named as an analyst: persons are accounts of the console."""
    terms = casework / "casework.toml"
    terms.write_text(terms.read_text().replace('["anna"]', f'["anna", "{MEMBER}"]'))
    alert, *_ = alerts(casework)
    decided(casework, "anna", alert)
    status, _, err = typed(casework, MEMBER, alert)
    assert (status, "nobody can sign on a terminal" in err) == (2, True)
    status, _, err = analyst("act", alert, "decide", "--disposition", "edd", "--role", "unknown")
    assert (status, "nobody can sign on a terminal" in err) == (2, True)
    own = casework / "decisions" / f"{CONSOLE}.jsonl"
    forged = casework / "decisions" / f"{MEMBER}.jsonl"
    shutil.copy(own, forged)  # as a member could: a file of their own with the console's lines
    forged.write_text(forged.read_text().replace("anna", "berta"))
    shutil.chown(forged, MEMBER, GROUP)
    forged.chmod(0o640)
    status, said, _ = analyst("casework", "collect")
    assert (status, "1 taken over" in said, "do not count" in said) == (0, True, True)
    assert json.loads(analyst("alerts", "--json", "--state", "closed")[1]) == []
    status, _, err = typed_as(OUTSIDER, "institution", "alerts", "--home", casework, member=False)
    assert (status, alert in err) == (2, False)


def as_member(attempts: list[Callable[[], object]]) -> int:
    """Return how many attempts of another member of the group succeed."""

    def tried() -> int:
        done = 0
        for attempt in attempts:
            try:
                attempt()
                done += 1
            except OSError:
                pass
        return done

    return as_user(MEMBER, tried)


@as_root
def test_a_member_changes_nothing_of_others_and_what_was_collected_stays(
    casework: Path, analyst: Analyst
) -> None:
    alert, *_ = alerts(casework)
    assert decided(casework, "anna", alert, Disposition.BENIGN_OTHER) == 0
    signed = casework / "decisions" / f"{CONSOLE}.jsonl"
    operators = [
        casework / name
        for name in ("casework.toml", "alerts.sqlite", "operator.sqlite", "models", "decisions")
    ]
    attempts: list[Callable[[], object]] = [(casework / "planted").touch]
    for path in (*operators, signed):
        attempts += [
            partial(path.rename, casework / "decisions" / "gone"),
            partial(path.chmod, 0o777),
            partial(path.open, "ab"),
        ]
    attempts += [
        signed.unlink,
        (casework / "operator.sqlite").read_bytes,
        analyst.home.identity_key.read_bytes,
    ]
    assert as_member(attempts) == 0
    assert as_member([signed.read_bytes, (casework / "alerts.sqlite").read_bytes]) == 2
    status, said, _ = analyst("casework", "collect")
    assert (status, said.splitlines()[0]) == (0, "1 taken over")
    log = logged_text(analyst.home.log_folder)
    line = json.loads([one for one in log.splitlines() if '"feedback"' in one][-1])
    assert (line["actor"], len(line["details"]["fingerprint"])) == ("anna", 64)
    assert alert not in log
    signed.unlink()
    status, said, _ = analyst("casework", "collect")
    assert (status, "1 acts that were taken over are no longer" in said) == (1, True)
    (row,) = json.loads(analyst("alerts", "--json", "--state", "closed")[1])
    assert (row["alert"], row["decisions"][0]["user"]) == (alert, "anna")


def test_alerts_of_the_home_move_and_the_settings_keep_their_comments(
    analyst: Analyst, shared: Path
) -> None:
    assert (
        analyst("score", "--model", RUN, "--out", analyst.folder / "a.parquet", "--budget", "3")[0]
        == 0
    )
    with open_store(analyst.home) as store:
        before = {one.alert.alert for one in store.all()}
    arguments = ("--folder", shared / "c", "--group", GROUP, "--analyst", "anna")
    status, said, err = analyst("casework", "make", *arguments)
    assert (status, f"{len(before)} alerts moved there" in said) == (0, True), err
    assert "a filing needs two persons, one of them a reviewer" in err
    assert not (analyst.home.scoring / STORE).exists()
    with sqlite3.connect(shared / "c" / STORE) as connection:
        assert {row[0] for row in connection.execute("SELECT alert FROM alert")} == before
    assert "# Who this institution is." in analyst.home.settings.read_text()
    assert {row["alert"] for row in json.loads(analyst("alerts", "--json")[1])} == before
    status, _, err = analyst("casework", "make", *arguments)
    assert (status, "none in" in err) == (2, True)


def test_wrong_calls_make_nothing(
    home: Home, shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[list[object], str]] = [
        (["make", "--folder", home.path / "casework", "--group", GROUP], "outside of"),
        (["make", "--folder", home.keys, "--group", GROUP], "outside of"),
        (["make", "--folder", shared / "c", "--group", "no-such-group"], "groupadd no-such-group"),
        (["make", "--folder", shared / "c", "--group", GROUP, "--analyst", "a/b"], "--analysts"),
        (["collect"], "casework make"),
    ]
    for arguments, said in rows:
        call = ["institution", "casework", *map(str, arguments), "--home", str(home.path)]
        assert run(call) == 2
        assert said in capsys.readouterr().err
        assert not (shared / "c").exists()

"""Two persons decide under their own user ids, and read no key: `institution casework` as typed."""

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
    ANALYST,
    GROUP,
    MEMBER,
    OUTSIDER,
    REVIEWER,
    as_user,
    typed_as,
)

from fieldfare.client.alerts.store import STORE, open_store
from fieldfare.client.home.layout import Home
from fieldfare.shared.cli.root import run

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
    """The folder of a group, with alerts."""
    folder = shared / "casework"
    persons = ("--analyst", ANALYST, "--reviewer", REVIEWER)
    status, said, err = analyst("casework", "make", "--folder", folder, "--group", GROUP, *persons)
    assert status == 0, err
    assert f"reviewers  {REVIEWER}: decide, and sign second" in said
    out = ("--budget", "4", "--out", analyst.folder / "alerts.parquet")
    status, said, err = analyst("score", "--model", RUN, *out)
    assert status == 0, err
    return folder


def alerts(casework: Path) -> list[str]:
    status, said, err = typed_as(ANALYST, "institution", "alerts", "--home", casework, "--json")
    assert status == 0, err
    return [row["alert"] for row in json.loads(said)]


def decided(
    casework: Path, user: str, alert: str, disposition: str = "file"
) -> tuple[int, str, str]:
    said = ("--disposition", disposition, "--role", "controller", "--note", "seen")
    return typed_as(user, "institution", "feedback", alert, *said, "--home", casework)


@as_root
def test_two_users_file_and_draft_and_neither_reads_a_key(casework: Path, analyst: Analyst) -> None:
    alert, *_ = alerts(casework)
    status, said, err = decided(casework, ANALYST, alert)
    assert (status, "second_review" in said, REVIEWER in said) == (0, True, True), err
    assert "second_review" in decided(casework, ANALYST, alert)[1]  # nobody signs twice
    status, said, err = decided(casework, REVIEWER, alert)
    assert (status, "is now: closed" in said) == (0, True), err
    home = ("--home", casework)
    status, said, err = typed_as(REVIEWER, "institution", "alert", "show", alert, *home)
    assert (status, ANALYST in said, REVIEWER in said) == (0, True, True), err
    assert list((casework / "models").glob("*.html"))
    with tempfile.TemporaryDirectory() as own:
        shutil.chown(own, ANALYST)
        draft, labels = Path(own, "report.xml"), Path(own, "labels.csv")
        form = ("--format", "goaml", "--out", draft)
        status, said, err = typed_as(ANALYST, "institution", "export", alert, *form, *home)
        assert (status, draft.stat().st_mode & 0o777) == (0, 0o600), err
        status, said, err = typed_as(ANALYST, "institution", "labels", "--out", labels, *home)
        assert (status, "1 labels, 1 of them positive" in said) == (0, True), err
    assert typed_as(REVIEWER, "institution", "alerts", "--home", analyst.folder)[0] == 2
    secrets = (analyst.home.identity_key, analyst.home.ledger, analyst.folder / "customers.csv")
    assert as_member([path.read_bytes for path in secrets]) == 0


@as_root
def test_nobody_signs_for_another_and_nobody_else_gets_in(casework: Path, analyst: Analyst) -> None:
    terms = casework / "casework.toml"
    terms.write_text(terms.read_text().replace(f'["{ANALYST}"]', f'["{ANALYST}", "sys"]'))
    alert, *_ = alerts(casework)
    decided(casework, ANALYST, alert)
    assert "second_review" in decided(casework, "sys", alert)[1]  # two analysts, no reviewer
    own = casework / "decisions" / f"{ANALYST}.jsonl"
    forged = casework / "decisions" / f"{REVIEWER}.jsonl"
    shutil.copy(own, forged)  # as the analyst could: a file of the reviewer's name, but whose?
    shutil.chown(forged, ANALYST, GROUP)
    forged.chmod(0o640)
    status, said, _ = analyst("casework", "collect")
    assert (status, "2 taken over" in said, "counts as nothing" in said) == (0, True, True)
    assert json.loads(analyst("alerts", "--json", "--state", "closed")[1]) == []
    status, _, err = decided(casework, MEMBER, alert)
    assert (status, f"{MEMBER}: expected an analyst or a reviewer" in err) == (2, True)
    status, _, err = typed_as(OUTSIDER, "institution", "alerts", "--home", casework, member=False)
    assert (status, alert in err) == (2, False)
    status, said, err = decided(casework, REVIEWER, alert)  # whoever took that name bars nobody
    assert (status, "is now: closed" in said) == (0, True), err


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
    decided(casework, ANALYST, alert, "benign:other")
    signed = casework / "decisions" / f"{ANALYST}.jsonl"
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
    assert (line["actor"], len(line["details"]["fingerprint"])) == (ANALYST, 64)
    assert alert not in log
    signed.unlink()
    status, said, _ = analyst("casework", "collect")
    assert (status, "1 that were taken over earlier are no longer" in said) == (1, True)
    (row,) = json.loads(analyst("alerts", "--json", "--state", "closed")[1])
    assert (row["alert"], row["decisions"][0]["user"]) == (alert, ANALYST)


def test_alerts_of_the_home_move_and_the_settings_keep_their_comments(
    analyst: Analyst, shared: Path
) -> None:
    assert (
        analyst("score", "--model", RUN, "--out", analyst.folder / "a.parquet", "--budget", "3")[0]
        == 0
    )
    with open_store(analyst.home) as store:
        before = {one.alert.alert for one in store.all()}
    arguments = ("--folder", shared / "c", "--group", GROUP, "--analyst", "nobody-at-all")
    status, said, err = analyst("casework", "make", *arguments)
    assert (status, f"{len(before)} alerts moved there" in said) == (0, True), err
    assert "nobody-at-all: no user of this machine yet" in err
    assert "to file needs two persons, one of them a reviewer" in err
    assert not (analyst.home.scoring / STORE).exists()
    with sqlite3.connect(shared / "c" / STORE) as connection:
        assert {row[0] for row in connection.execute("SELECT alert FROM alert")} == before
    assert "# Who this institution is." in analyst.home.settings.read_text()
    assert {row["alert"] for row in json.loads(analyst("alerts", "--json")[1])} == before
    status, said, _ = analyst("casework", "show")
    assert (status, "analysts   nobody-at-all: decide" in said) == (0, True)
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
        (["show"], "casework make"),
    ]
    for arguments, said in rows:
        call = ["institution", "casework", *map(str, arguments), "--home", str(home.path)]
        assert run(call) == 2
        assert said in capsys.readouterr().err
        assert not (shared / "c").exists()

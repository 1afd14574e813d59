"""`institution act ALERT decide` and `institution labels` as they are typed."""

import csv
import json
import stat

import pytest
from tests.support.homes.institutions import Coordinator, OpenCustody
from tests.support.homes.journals import logged_text
from tests.support.records.scored import Analyst, analyst_of
from tests.support.runs.finished import RUN

from fieldfare.client.cli import alerts as cli_feedback


@pytest.fixture
def analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    made = analyst_of(coordinator, custody_of, capsys, units=300)
    arguments = ("--budget", "3", "--out", made.folder / "alerts.parquet")
    assert made("score", "--model", RUN, *arguments)[0] == 0
    return made


def alerts(analyst: Analyst) -> list[str]:
    return [row["alert"] for row in json.loads(analyst("alerts", "--json", "--state", "all")[1])]


def decide(
    analyst: Analyst, alert: str, disposition: str, role: str = "unknown"
) -> tuple[int, str, str]:
    return analyst(
        "act", alert, "decide", "--disposition", disposition, "--role", role, "--note", "secret"
    )


def test_a_decision_closes_or_keeps_open_and_sends_nothing(analyst: Analyst) -> None:
    one, two, *_ = alerts(analyst)
    assert "is now: in_review" in decide(analyst, one, "edd")[1]
    assert "is now: closed" in decide(analyst, two, "benign:known_persona", "bystander")[1]


def test_to_file_needs_two_people(analyst: Analyst, monkeypatch: pytest.MonkeyPatch) -> None:
    one = alerts(analyst)[0]
    status, out, _ = decide(analyst, one, "file", "potential_victim")
    assert (status, "second_review" in out, "2 persons" in out) == (0, True, True)
    assert "second_review" in decide(analyst, one, "file", "potential_victim")[1]
    monkeypatch.setattr(cli_feedback, "os_user", lambda: "ben")
    status, out, _ = decide(analyst, one, "file", "potential_victim")
    assert (status, "is now: closed" in out, "institution export" in out) == (0, True, True)


def test_what_was_settled_becomes_labels_with_their_time(analyst: Analyst) -> None:
    one, two, *_ = alerts(analyst)
    decide(analyst, one, "benign:other")
    decide(analyst, two, "monitor")
    out = analyst.folder / "labels.csv"
    status, said, _ = analyst("labels", "--out", out)
    assert (status, "1 labels, 0 of them positive" in said) == (0, True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert (row["label"], row["source"], row["selected"]) == ("0", "cleared", "alert")
    assert row["effective_from"] <= row["observed_at"]
    earlier = analyst.folder / "earlier.csv"
    assert "0 labels" in analyst("labels", "--out", earlier, "--as-of", "2020-01-01")[1]


def test_the_log_keeps_that_it_happened_and_nothing_of_it(analyst: Analyst) -> None:
    one = alerts(analyst)[0]
    decide(analyst, one, "file", "potential_victim")
    log = logged_text(analyst.home.log_folder)
    assert '"feedback"' in log
    for said in ("secret", "potential_victim", one, "n00"):
        assert said not in log


def test_wrong_input_says_what_to_do(analyst: Analyst) -> None:
    one = alerts(analyst)[0]
    rows = [
        (("act", one, "decide", "--disposition", "guilty", "--role", "unknown"), "guilty"),
        (("act", one, "decide", "--disposition", "edd"), "--role"),
        (("act", one, "decide", "--disposition", "edd", "--role", "victim"), "victim"),
        (("act", "ffff", "decide", "--disposition", "edd", "--role", "unknown"), "ALERT"),
        (
            (
                "act",
                one,
                "decide",
                "--disposition",
                "edd",
                "--role",
                "unknown",
                "--note",
                "n" * 5000,
            ),
            "--note",
        ),
        (("labels", "--out", analyst.folder / "no" / "l.csv"), "l.csv"),
        (("labels", "--out", analyst.folder / "alerts.parquet"), "nothing is overwritten"),
        (("labels", "--out", analyst.folder / "l.csv", "--as-of", "soon"), "--as-of"),
    ]
    for arguments, said in rows:
        status, _, err = analyst(*arguments)
        assert (status, said in err) == (2, True), err

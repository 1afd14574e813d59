"""What went wrong, in a browser, and the log of decisions: newest first, and nothing in it runs."""

import json
import re
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from tests.support.homes.consoles import Browser
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.console.incidents_page import SHOWN
from fieldfare.server.home import log_lines
from fieldfare.server.home.decision_log import DecisionKind, write_down
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.sqlite.database import Database

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"


def called(path: Path, *lines: object) -> None:
    with path.open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)


def test_what_went_wrong(keyed: KeyedCoordinator, watching: Browser) -> None:
    assert watching.shown("/incidents").count("None.") == 4
    with keyed.store() as store:
        for run, state in (("good", RunStatus.FINISHED), ("bad", RunStatus.FAILED)):
            store.create(run, keyed.study.id, NOW)
            store.set_state(run, state, f"because {SCRIPT}", NOW)
            store.add_losses(run, ["bank-c"], debited=False)
    call = {"outcome": "refused", "path": SCRIPT, "peer": "192.0.2.7", "status": 401, "who": SCRIPT}
    well = {"outcome": "done", "path": "/well", "peer": "192.0.2.8"}
    called(keyed.home.audit_log, well, call, {"outcome": "failed", "calls": 40}, ["odd"])
    answer = watching.get("/incidents")
    assert SCRIPT not in answer.text
    text = " ".join(watching.shown("/incidents").split())
    assert "bad" in text
    assert "good" not in text
    assert f"because {SCRIPT}" in text
    assert "bank-c: 2 in all runs" in text
    assert "192.0.2.7" in text
    assert "192.0.2.8" not in text
    assert "failed, 40" in text


def test_the_log_has_filters_and_pages(keyed: KeyedCoordinator, watching: Browser) -> None:
    for number in range(120):
        write_down(keyed.home, DecisionKind.ENROLMENT, {"institution": f"bank-{number}"})
    text = watching.shown("/log?kind=enrolment")
    assert "bank-119" in text
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b(?!\.)", text)
    assert "bank-69" not in text
    seen, link = 1, watching.get("/log?kind=enrolment").text
    while "Older entries" in link:
        path = link.partition('href="/log?kind=enrolment&amp;before=')[2].partition('"')[0]
        link = watching.get(f"/log?kind=enrolment&before={path}").text
        seen += 1
    assert seen == 3
    assert "bank-0<" in link
    assert "logged in" in watching.shown("/log") or "enrolment" in watching.shown("/log")
    assert "No entry matches" in watching.shown("/log?person=nobody")
    for odd in ("kind=odd", "before=-1", "before=1e9", f"before={'9' * 40}"):
        assert watching.get(f"/log?{odd}").status_code == 400


def test_nothing_in_the_log_runs(keyed: KeyedCoordinator, watching: Browser) -> None:
    write_down(keyed.home, DecisionKind.CONSOLE, {"act": SCRIPT, "person": SCRIPT, SCRIPT: "x"})
    answer = watching.get(f"/log?person={SCRIPT}")
    assert "&lt;script&gt;" in answer.text
    assert SCRIPT not in answer.text


def test_a_rare_entry_of_a_long_log_is_found_page_by_page(
    keyed: KeyedCoordinator, watching: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_down(keyed.home, DecisionKind.REMOVAL, {"institution": "bank-first"})
    for number in range(100):
        write_down(keyed.home, DecisionKind.ENROLMENT, {"institution": f"bank-{number}"})
    monkeypatch.setattr(log_lines, "MOST_READ", 4_000)
    monkeypatch.setattr(log_lines, "BLOCK", 1_000)
    seen, path = 0, "/log?kind=removal"
    while "bank-first" not in (text := watching.get(path).text):
        assert "see the older entries" in text
        path = unescape(re.findall(r'href="([^"]+)" rel="next"', text)[0])
        seen += 1
    assert seen >= 2


def test_what_is_not_shown_of_calls_is_said(keyed: KeyedCoordinator, watching: Browser) -> None:
    called(keyed.home.audit_log, {"outcome": "refused"})
    assert "at most the last 50 calls" not in watching.shown("/incidents")
    called(keyed.home.audit_log, *([{"outcome": "refused"}] * SHOWN))
    assert "at most the last 50 calls" in watching.shown("/incidents")


def test_losses_and_runs_that_went_well_cost_no_query_each(
    keyed: KeyedCoordinator, watching: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with keyed.store() as store:
        for number in range(20):
            state = RunStatus.FAILED if number == 3 else RunStatus.FINISHED
            store.create(f"run-{number}", keyed.study.id, NOW)
            store.set_state(f"run-{number}", state, "", NOW)
            store.add_losses(f"run-{number}", ["bank-c"], debited=False)
    asked: list[str] = []
    real = Database.rows

    def counted(database: Database, statement: str, *values: Any) -> Any:
        asked.append(statement)
        return real(database, statement, *values)

    monkeypatch.setattr(Database, "rows", counted)
    assert "bank-c: 20 in all runs" in watching.shown("/incidents")
    assert sum("FROM losses" in one for one in asked) == 2  # of all runs, and of the failed one

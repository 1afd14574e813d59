"""A custodian's decisions stand in the institution's log, whatever a peer wrote."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import SHARING

from fieldfare.client.custodian.ports import DecisionLog
from fieldfare.client.journal.decisions import (
    MOST_REFUSALS,
    MOST_REPEATS,
    MOST_REQUESTS,
    JournalDecisions,
)
from fieldfare.client.journal.entries import Event, JournalEntry
from fieldfare.client.journal.journal import Journal, read
from fieldfare.client.ledger.budget import Position
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.flood import WINDOW_SECONDS
from fieldfare.shared.protocol.messages import Participant, ReleaseKind, Request

POSITION: Final = Position(
    sequence=3, head="e" * 64, cumulative=2**53 - 1, debited=2**53 - 1, epoch=1
)
REQUEST: Final = Request(
    protocol=2,
    study="a" * 64,
    roster="b" * 64,
    run="run-1",
    opening="9" * 64,
    step=7,
    attempt=1,
    kind=ReleaseKind.TRAINING,
    participants=(
        Participant(institution="bank-a", answer="c" * 64),
        Participant(institution="bank-b", answer="d" * 64),
    ),
    n=2,
    t=1,
    multiplicity=1,
    clipping_norm=1.0,
    sigma=3.0,
    gamma_bits=20,
    word_bits=32,
    entries=10,
    dtype="<u4",
    parameters="f" * 64,
)
PLACE: Final = {
    "study": "a" * 64,
    "run": "run-1",
    "step": 7,
    "attempt": 1,
    "kind": "training",
    "request": REQUEST.hash,
}


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    clock = lambda: datetime(2025, 1, 1, tzinfo=UTC)  # noqa: E731
    return Journal.open(tmp_path / "log", clock=clock, busy_timeout=0.05)


def last(journal: Journal) -> JournalEntry:
    return [*read(journal.folder)][-1]


def test_every_decision_is_written_down(journal: Journal) -> None:
    decisions: DecisionLog = JournalDecisions(journal)

    decisions.requested(REQUEST)
    entry = last(journal)
    assert (entry.event, entry.actor, entry.details) == (Event.REQUEST, "coordinator", PLACE)

    decisions.refused(
        RefusalCode.TOO_FEW_PARTICIPANTS,
        "expected at least 5 participants, found 2",
        REQUEST,
        asked=2,
        limit=5,
    )
    entry = last(journal)
    assert (entry.event, entry.actor) == (Event.REFUSAL, "custodian")
    assert entry.details == PLACE | {
        "code": "too_few_participants",
        "rule": "expected at least 5 participants, found 2",
        "asked": 2,
        "limit": 5,
    }

    decisions.refused(RefusalCode.MALFORMED, "expected a message")
    assert last(journal).details == {"code": "malformed", "rule": "expected a message"}

    decisions.released(REQUEST, 12, POSITION)
    entry = last(journal)
    assert (entry.event, entry.actor) == (Event.RELEASE, "custodian")
    assert entry.details == PLACE | {
        "debit": 12,
        "epoch": 1,
        "sequence": 3,
        "cumulative": 2**53 - 1,
        "debited": 2**53 - 1,
        "head": "e" * 64,
    }

    decisions.approved("a" * 64, "c" * 64, "anna")
    entry = last(journal)
    assert (entry.event, entry.actor) == (Event.APPROVAL, "anna")
    assert entry.details == {"study": "a" * 64, "fingerprint": "c" * 64, "user": "anna"}
    assert entry.sequence == 5


def test_every_code_and_kind_can_be_written_down(journal: Journal) -> None:
    for code in RefusalCode:
        JournalDecisions(journal).refused(code, "rule")
        assert last(journal).details["code"] == code.value
    for kind in ReleaseKind:
        JournalDecisions(journal).requested(REQUEST.model_copy(update={"kind": kind}))
        assert last(journal).details["kind"] == kind.value


@given(rule=st.text(), asked=st.none() | st.text() | st.booleans() | st.integers(-9, 9))
@settings(SHARING, max_examples=60)
def test_no_text_escapes_the_log(
    journal: Journal, rule: str, asked: str | int | bool | None
) -> None:
    JournalDecisions(journal).refused(RefusalCode.MALFORMED, rule, asked=asked)
    details = last(journal).details
    assert len(str(details["rule"])) <= 500
    assert ("asked" in details) == (asked is not None)


def test_a_long_rule_is_cut_and_stays_one_line(journal: Journal) -> None:
    JournalDecisions(journal).refused(RefusalCode.MALFORMED, "a\nb" + "c" * 1000)
    assert last(journal).details["rule"] == "a?b" + "c" * 497


def test_a_log_that_cannot_be_written_is_told(journal: Journal) -> None:
    journal.close()
    with pytest.raises(LedgerError):
        JournalDecisions(journal).released(REQUEST, 12, POSITION)


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(journal: Journal, event: Event) -> list[dict[str, object]]:
    return [dict(entry.details) for entry in read(journal.folder) if entry.event is event]


def test_refusals_beyond_the_limit_are_one_line_with_a_count(journal: Journal) -> None:
    watch = Watch()
    log = JournalDecisions(journal, watch)
    for _ in range(1000):
        log.refused(RefusalCode.UNKNOWN_STUDY, "expected a study")
    log.refused(RefusalCode.BAD_SIGNATURE, "expected a signature")  # no other code is hidden
    found = lines(journal, Event.REFUSAL)
    assert len(found) == MOST_REFUSALS + 2
    assert found[MOST_REFUSALS]["limit"] == MOST_REFUSALS
    watch.now = WINDOW_SECONDS
    log.settle()
    assert lines(journal, Event.REFUSAL)[-1] == {
        "code": "unknown_study",
        "rule": f"{1000 - MOST_REFUSALS} more within a minute, counted",
        "asked": 1000 - MOST_REFUSALS,
    }
    log.refused(RefusalCode.UNKNOWN_STUDY, "expected a study")
    assert lines(journal, Event.REFUSAL)[-1]["rule"] == "expected a study"


def test_repeats_of_a_request_and_its_answer_are_counted(journal: Journal) -> None:
    log = JournalDecisions(journal, Watch())
    for _ in range(100):
        log.requested(REQUEST)
        log.released(REQUEST, 0, POSITION)
    log.settle(at_once=True)
    for event in (Event.REQUEST, Event.RELEASE):
        found = lines(journal, event)
        assert len(found) == MOST_REPEATS + 2
        assert found[-1]["asked"] == 100 - MOST_REPEATS
        assert found[-1]["request"] == REQUEST.hash


def test_a_runs_own_requests_are_all_written(journal: Journal) -> None:
    log = JournalDecisions(journal, Watch())
    steps = [REQUEST.model_copy(update={"step": step}) for step in range(150)]
    for request in steps:
        log.requested(request)
        log.released(request, 1, POSITION)
    assert len(lines(journal, Event.REQUEST)) == len(lines(journal, Event.RELEASE)) == len(steps)


def test_requests_of_any_kind_have_a_limit_together(journal: Journal) -> None:
    log = JournalDecisions(journal, Watch())
    for step in range(MOST_REQUESTS + 50):
        log.requested(REQUEST.model_copy(update={"step": step}))
    assert len(lines(journal, Event.REQUEST)) == MOST_REQUESTS + 1


def test_a_count_that_cannot_be_written_is_not_lost(journal: Journal) -> None:
    log = JournalDecisions(journal, Watch())
    for _ in range(MOST_REFUSALS + 7):
        log.refused(RefusalCode.MALFORMED, "expected a message")
    with closing(sqlite3.connect(journal.folder / "log.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError):
            log.settle(at_once=True)
    log.settle(at_once=True)
    assert lines(journal, Event.REFUSAL)[-1]["asked"] == 7

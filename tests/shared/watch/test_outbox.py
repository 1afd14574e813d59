"""What is to be told is kept before anything is sent, told once, and told again after it ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fieldfare.shared.errors import NoticeError, RunError
from fieldfare.shared.watch.outbox import (
    GIVEN_UP,
    GIVEN_UP_AFTER,
    KEPT,
    LONGEST_PAUSE,
    SENT,
    WAITING,
    Fact,
    Observation,
    Outbox,
    open_outbox,
    pause_after,
    seen_by,
)
from fieldfare.shared.watch.sentences import NoticeKind

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TO = ["mail to a@example.org", "webhook tickets"]
STUDY = "a" * 64
WAITS = Fact(NoticeKind.STUDY_WAITS, STUDY)
ENDED = Fact(NoticeKind.RUN_ENDED, STUDY, "run-1")
GONE = Fact(NoticeKind.NODE_GONE, subject="bank-a", holds=15 * MINUTE)
ALL = frozenset(NoticeKind)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    with open_outbox(tmp_path / "notices" / "outbox.sqlite") as opened:
        yield opened


def saw(*facts: Fact, looked: frozenset[NoticeKind] = ALL) -> Observation:
    return Observation(facts, looked)


def test_a_fact_is_told_once_for_as_long_as_it_holds(outbox: Outbox) -> None:
    (made,) = outbox.look(saw(WAITS), TO, NOW)
    assert outbox.look(saw(WAITS), TO, NOW + MINUTE) == []
    assert [outbox.waiting(address, 9) for address in TO] == [[made], [made]]
    outbox.sent(made, TO[0], NOW)
    assert [outbox.waiting(address, 9) for address in TO] == [[], [made]]


def test_what_ended_and_holds_again_is_another_notice(outbox: Outbox) -> None:
    (first,) = outbox.look(saw(WAITS), TO, NOW)
    for address in TO:
        outbox.sent(first, address, NOW)
    assert outbox.look(saw(), TO, NOW + MINUTE) == []
    (second,) = outbox.look(saw(WAITS), TO, NOW + 2 * MINUTE)
    assert first.id != second.id
    assert outbox.waiting(TO[0], 9) == [second]


def test_what_comes_and_goes_while_nobody_can_be_told_waits_once(outbox: Outbox) -> None:
    for minute in range(0, 60, 2):
        outbox.look(saw(WAITS), TO, NOW + minute * MINUTE)
        outbox.look(saw(), TO, NOW + (minute + 1) * MINUTE)
    assert len(outbox.waiting(TO[0], 99)) == 1


def test_what_has_to_hold_for_a_while_is_told_after_it(outbox: Outbox) -> None:
    assert outbox.look(saw(GONE), TO, NOW) == []
    assert outbox.look(saw(GONE), TO, NOW + 14 * MINUTE) == []
    assert outbox.look(saw(), TO, NOW + 14.5 * MINUTE) == []
    assert outbox.look(saw(GONE), TO, NOW + 15 * MINUTE) == []
    (made,) = outbox.look(saw(GONE), TO, NOW + 30 * MINUTE)
    assert "bank-a" not in str(made)


def test_what_was_over_before_the_first_look_is_no_news(outbox: Outbox) -> None:
    assert [one.kind for one in outbox.look(saw(ENDED, WAITS), TO, NOW)] == [NoticeKind.STUDY_WAITS]
    second = Fact(NoticeKind.RUN_ENDED, STUDY, "run-2")
    (made,) = outbox.look(saw(ENDED, WAITS, second), TO, NOW + MINUTE)
    assert made.run == "run-2"


def test_nothing_is_concluded_about_what_could_not_be_looked_at(outbox: Outbox) -> None:
    outbox.look(saw(WAITS, ENDED), TO, NOW)
    blind = saw(looked=ALL - {NoticeKind.STUDY_WAITS, NoticeKind.RUN_ENDED})
    outbox.look(blind, TO, NOW + MINUTE)
    assert outbox.look(saw(WAITS, ENDED), TO, NOW + 2 * MINUTE) == []


def test_a_part_that_cannot_be_read_hides_no_other() -> None:
    def broken() -> list[Fact]:
        raise RunError("expected a SuperLink, found none")

    kinds = (frozenset({kind}) for kind in NoticeKind)
    parts = (broken, lambda: [ENDED], lambda: None, lambda: [WAITS])
    found = seen_by(zip(kinds, parts, strict=False))
    assert (found.facts, len(found.looked)) == ((ENDED, WAITS), 2)
    assert found.troubles == ("expected a SuperLink, found none",)


def test_a_failure_rests_an_address_longer_and_longer(outbox: Outbox) -> None:
    (made,) = outbox.look(saw(WAITS), TO, NOW)
    assert outbox.failed(TO[0], NOW) == MINUTE
    assert outbox.rests(TO[0], NOW + 59 * timedelta(seconds=1))
    assert not outbox.rests(TO[0], NOW + MINUTE)
    assert not outbox.rests(TO[1], NOW)
    assert outbox.failed(TO[0], NOW + MINUTE) == 2 * MINUTE
    outbox.sent(made, TO[0], NOW + 3 * MINUTE)
    assert outbox.failures(TO[0]) == 0
    assert not outbox.rests(TO[0], NOW - timedelta(days=400))
    assert [pause_after(n) for n in (1, 9, 10, 10**6)] == [
        MINUTE,
        256 * MINUTE,
        LONGEST_PAUSE,
        LONGEST_PAUSE,
    ]


def test_a_clock_that_went_back_holds_nothing_up(outbox: Outbox) -> None:
    outbox.look(saw(WAITS), TO, NOW)
    outbox.failed(TO[0], NOW)
    assert not outbox.rests(TO[0], NOW - timedelta(days=1))
    outbox.look(saw(WAITS, GONE), TO, NOW)
    assert [one.kind for one in outbox.look(saw(WAITS, GONE), TO, NOW - timedelta(days=1))] == [
        NoticeKind.NODE_GONE
    ]


def test_after_two_weeks_an_address_is_given_up_for_a_notice(outbox: Outbox) -> None:
    (made,) = outbox.look(saw(WAITS), TO, NOW)
    outbox.failed(TO[0], NOW + GIVEN_UP_AFTER - MINUTE)
    assert outbox.waiting(TO[0], 9) == [made]
    outbox.failed(TO[0], NOW + GIVEN_UP_AFTER)
    assert {(one.address, one.state) for one in outbox.posted(9)} == {
        (TO[0], GIVEN_UP),
        (TO[1], WAITING),
    }


def test_an_address_that_is_down_is_given_up_for_all_that_is_as_old(outbox: Outbox) -> None:
    """It is tried with one notice at a time, and once gave one up every six hours."""
    made = outbox.look(saw(WAITS, ENDED), TO[:1], NOW)
    made += outbox.look(saw(WAITS, ENDED, GONE), TO[:1], NOW)
    (later,) = outbox.look(saw(WAITS, ENDED, GONE), TO[:1], NOW + 15 * MINUTE)
    outbox.failed(TO[0], NOW + GIVEN_UP_AFTER)
    assert outbox.waiting(TO[0], 9) == [later]


def test_what_is_long_over_is_forgotten_and_not_told_again(outbox: Outbox) -> None:
    (made,) = outbox.look(saw(WAITS), TO[:1], NOW)
    outbox.sent(made, TO[0], NOW)
    assert [one.state for one in outbox.posted(9)] == [SENT]
    assert outbox.look(saw(WAITS), TO[:1], NOW + KEPT + MINUTE) == []
    assert outbox.posted(9) == []


LOOKS = """
import sys, datetime
from pathlib import Path
from fieldfare.shared.watch.outbox import Fact, Observation, open_outbox
from fieldfare.shared.watch.sentences import NoticeKind
now = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.timezone.utc)
with open_outbox(Path(sys.argv[1])) as outbox:
    for number in range(10**6):
        fact = Fact(NoticeKind.STUDY_WAITS, f"{number:064x}")
        outbox.look(Observation((fact,), frozenset(NoticeKind)), ["here"], now)
        print(number, flush=True)
"""


def test_a_kill_loses_no_notice(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    with subprocess.Popen([sys.executable, "-c", LOOKS, path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(7):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        told = 7 + len(process.stdout.readlines())
    with open_outbox(path) as outbox:
        kept = {int(one.study, 16) for one in outbox.waiting("here", 10**6)}
    assert kept >= set(range(told))
    assert kept <= set(range(told + 1))


def test_another_database_is_no_outbox(tmp_path: Path) -> None:
    (tmp_path / "outbox.sqlite").write_bytes(b"no database" * 99)
    (tmp_path / "outbox.sqlite").chmod(0o600)
    with pytest.raises(NoticeError), open_outbox(tmp_path / "outbox.sqlite"):
        pass

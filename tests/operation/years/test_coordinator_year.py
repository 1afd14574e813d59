"""A year of a coordinator under a clock that jumps: its access log, its notices, its witnesses.

In long steps in the fast form; in shorter ones in `make nightly PART=years`.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.witnesses import SpecWitness

from fieldfare.server.home.settings import WitnessSection
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.server.superlink import access_log
from fieldfare.server.superlink.access_log import AuditLog
from fieldfare.server.superlink.gate import AnsweredRequest
from fieldfare.server.upkeep.publication import log_key
from fieldfare.server.upkeep.submission import ask_witness
from fieldfare.shared.errors import NoticeError
from fieldfare.shared.transcript.leaves import EndRecord
from fieldfare.shared.watch import dispatch
from fieldfare.shared.watch import outbox as outbox_module
from fieldfare.shared.watch.dispatch import send_waiting
from fieldfare.shared.watch.notice_settings import NoticesSettings
from fieldfare.shared.watch.outbox import (
    GIVEN_UP_AFTER,
    KEPT,
    LONGEST_PAUSE,
    MOST_KEPT,
    Fact,
    Observation,
    open_outbox,
)
from fieldfare.shared.watch.sentences import Notice, NoticeKind

LONG: Final = bool(os.environ.get("FIELDFARE_OPERATE_LONG"))
BEGUN: Final = datetime(2026, 1, 1, tzinfo=UTC)
YEAR: Final = timedelta(days=365)
MINUTE: Final = timedelta(minutes=1)


def bytes_in(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(one.stat().st_size for one in folder.iterdir())


class Passing:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = BEGUN

    def __call__(self) -> datetime:
        return self.at


def test_the_access_log_of_a_year_of_polls_stays_under_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five nodes and strangers poll each minute, into files of a 20th or a 400th; as much time."""
    part = 20 if LONG else 400
    monkeypatch.setattr(access_log, "FILE_BYTES", access_log.FILE_BYTES // part)
    limit = access_log.FILE_BYTES * (access_log.OLDER_FILES + 1)
    clock = Passing()
    log = AuditLog(tmp_path / "audit.jsonl", lambda _: "bank-a", clock)
    largest = 0
    for minute in range(365 * 24 * 60 // part):
        clock.at = BEGUN + minute * MINUTE
        for node in range(5):
            for _ in range(2):  # of twenty times a second: they become one line
                peer = (f"192.0.2.{node}", 7)
                log.tell(AnsweredRequest("public", "/v1/fleet/pull", peer, [], 200, offered=True))
        stranger = (f"198.51.100.{minute % 250}", 7)
        log.tell(AnsweredRequest("public", f"/{minute}", stranger, [], 404, offered=False))
        log.flush()
        if minute % 1000 == 0:
            largest = max(largest, bytes_in(tmp_path))
    log.close()
    assert len(list(tmp_path.iterdir())) == access_log.OLDER_FILES + 1  # it was turned over
    assert limit - access_log.FILE_BYTES < max(largest, bytes_in(tmp_path)) <= limit


class Door:
    """An address that takes notices, or is down for good."""

    def __init__(self, address: str, *, takes: bool) -> None:
        self.address, self.takes, self.asked = address, takes, 0

    def send(self, notice: Notice, now: datetime) -> None:
        del notice, now
        self.asked += 1
        if not self.takes:
            raise NoticeError("expected an answer, found none")


def test_the_outbox_of_a_year_of_coming_and_going_keeps_its_time_and_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node goes and comes at every look, runs end each day, and one of two addresses is down."""
    most = MOST_KEPT if LONG else 100
    monkeypatch.setattr(outbox_module, "MOST_KEPT", most)
    step = timedelta(minutes=10) if LONG else timedelta(days=1)
    monkeypatch.setattr(dispatch, "MOST_AN_HOUR", 1000)
    settings = NoticesSettings()
    doors = [Door("here", takes=True), Door("down", takes=False)]
    clock, path = Passing(), tmp_path / "notices" / "outbox.sqlite"
    sizes, waiting, counted = list[int](), 0, 0
    with open_outbox(path) as outbox:
        while clock.at < BEGUN + 2 * YEAR:
            day = (clock.at - BEGUN).days
            facts = [
                Fact(NoticeKind.RUN_ENDED, "a" * 64, f"run-{one}")
                for one in range(max(0, day - KEPT.days), day + 1)
            ]
            if (clock.at - BEGUN) // step % 2:
                facts.append(Fact(NoticeKind.NODE_GONE, subject="bank-a"))
            seen = Observation(tuple(facts), frozenset(NoticeKind))
            outbox.look(seen, [one.address for one in doors], clock.at)
            for door in doors:
                send_waiting(outbox, door, settings, clock, lambda _: None)
            waiting = max(waiting, len(outbox.waiting("down", 10**6)))
            clock.at += step
            if (clock.at - BEGUN) % timedelta(days=1) < step:
                sizes.append(path.stat().st_size)
                with closing(sqlite3.connect(path)) as link:
                    ((found,),) = link.execute("SELECT count(*) FROM notices").fetchall()
                    ((held,),) = link.execute("SELECT count(*) FROM standing").fetchall()
                counted = max(counted, found)
                assert held <= KEPT.days + 3
    assert waiting <= (GIVEN_UP_AFTER + LONGEST_PAUSE + step) // timedelta(days=1) + 3
    assert counted <= most + waiting + 2
    assert counted > KEPT.days  # it was not forgotten before its time
    assert doors[0].asked > YEAR // timedelta(days=1)
    assert max(sizes[len(sizes) // 2 :]) <= max(sizes[: len(sizes) // 2]) * 1.1


@pytest.fixture
def store(keyed: KeyedCoordinator) -> Iterator[RunStore]:
    with keyed.store() as opened:
        yield opened


@pytest.fixture
def ends(keyed: KeyedCoordinator, store: RunStore) -> Callable[[str, datetime], None]:
    """Let a run end, with a signed head."""

    def ended(run: str, at: datetime) -> None:
        store.create(run, keyed.study.id, at)
        store.append(run, [EndRecord(state="stopped", reason="").leaf()])
        keyed.head_signer.sign(store, keyed.study.id, run, store.leaf_hashes(run))
        store.set_state(run, RunStatus.STOPPED, "", at)

    return ended


def test_witnesses_leave_a_line_for_each_head_and_nothing_for_their_polls(
    keyed: KeyedCoordinator, store: RunStore, ends: Callable[[str, datetime], None]
) -> None:
    """A run every week and looks between them: one witness signs, another is down for good."""
    signs, down = (SpecWitness().knows(log_key(keyed.home)) for _ in range(2))
    down.name, down.down = "witness.example/down", True
    origin, weeks, looks = log_key(keyed.home).name, 52, 24 * 7 if LONG else 4
    asked: list[WitnessSection] = [signs.section, down.section]
    for week in range(weeks):
        ends(f"run-{week}", BEGUN + timedelta(weeks=week))
        for _ in range(looks):
            for section, witness in zip(asked, (signs, down), strict=True):
                ask_witness(store, origin, section, witness.post)
    with closing(sqlite3.connect(keyed.home.runs_database)) as link:
        lines = link.execute("SELECT size, length(line) FROM cosigned_heads").fetchall()
        ((notes,),) = link.execute("SELECT max(length(note)) FROM head_log").fetchall()
    assert [size for size, _ in lines] == list(range(1, weeks + 1))
    assert max(length for _, length in lines) < 250
    assert notes < 500
    assert len(signs.bodies) == weeks

"""Following a run: to its end, with few questions to the SuperLink, and only what is new."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator, progress

from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.server.studies.open_coordinator import (
    LOOK_SECONDS,
    POLL_SECONDS,
    OpenCoordinator,
    changes_in,
    watch_run,
)
from fieldfare.server.studies.run_life import Life
from fieldfare.server.studies.run_view import RunSummary, line
from fieldfare.shared.errors import RunError

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
RUN: Final = "run-1"


@dataclass
class Status:
    state: str
    reason: str = ""


@dataclass
class Link:
    """A SuperLink's answers as a test wants them."""

    state: str | None = "running"
    asked: int = 0
    clock: float = 0.0

    def nodes(self) -> tuple[object, ...]:
        return ()

    def start_run(self, bundle: bytes, configuration: Mapping[str, str]) -> int:
        raise NotImplementedError

    def stop_run(self, run: int) -> None:
        raise NotImplementedError

    def run_status(self, run: int) -> Status:  # noqa: ARG002 -- the interface's argument
        self.asked += 1
        if self.state is None:
            raise RunError("no SuperLink")
        return Status(self.state)

    def monotonic(self) -> float:
        return self.clock


@pytest.fixture
def store(keyed: KeyedCoordinator) -> Iterator[RunStore]:
    with keyed.store() as opened:
        opened.create(RUN, keyed.study.id, NOW)
        opened.set_flower_run(RUN, 7)
        opened.set_state(RUN, RunStatus.RUNNING, "", NOW)
        yield opened


@dataclass
class Watched:
    """A run that is followed while a test lets things happen at given seconds."""

    keyed: KeyedCoordinator
    store: RunStore
    link: Link = field(default_factory=Link)
    events: dict[float, object] = field(default_factory=dict)

    def summaries(self) -> Iterator[RunSummary]:
        return watch_run(
            OpenCoordinator(self.keyed.home, self.store, self.link),
            RUN,
            now=lambda: NOW,
            monotonic=self.link.monotonic,
            sleep=self._sleep,
        )

    def _sleep(self, seconds: float) -> None:
        self.link.clock += seconds
        assert self.link.clock < 60, "it follows for ever"
        event = self.events.get(self.link.clock)
        if callable(event):
            event()


@pytest.fixture
def watched(keyed: KeyedCoordinator, store: RunStore) -> Watched:
    return Watched(keyed, store)


def test_a_run_is_followed_to_its_end(watched: Watched, store: RunStore) -> None:
    watched.events = {
        1.0: lambda: store.append(RUN, (), progress=progress(1)),
        2.0: lambda: store.append(RUN, (), progress=progress(2)),
        3.5: lambda: store.set_state(RUN, RunStatus.FINISHED, "", NOW),
    }
    summaries = list(watched.summaries())
    steps = [
        p.inspected.row.progress.step for p in summaries if p.inspected.row.progress is not None
    ]
    assert sorted(set(steps)) == [1, 2]
    assert summaries[-1].inspected.word == "finished"
    assert {p.inspected.word for p in summaries[:-1]} == {"running"}
    assert watched.link.clock == 3.5


def test_the_superlink_is_asked_seldom(watched: Watched, store: RunStore) -> None:
    watched.events = {12.0: lambda: store.set_state(RUN, RunStatus.STOPPED, "", NOW)}
    looks = len(list(watched.summaries()))
    assert looks == 1 + 12 / POLL_SECONDS
    assert watched.link.asked <= 1 + 12 / LOOK_SECONDS


def test_a_run_whose_process_died_is_followed_no_further(watched: Watched) -> None:
    watched.events = {1.0: lambda: setattr(watched.link, "state", "failed")}
    last = list(watched.summaries())[-1]
    assert (last.inspected.life, last.inspected.word) == (Life.INTERRUPTED, "interrupted")
    assert watched.link.clock <= 1.0 + LOOK_SECONDS


def test_a_superlink_that_is_away_is_waited_for(watched: Watched, store: RunStore) -> None:
    watched.link.state = None
    watched.events = {
        4.0: lambda: setattr(watched.link, "state", "running"),
        9.0: lambda: store.set_state(RUN, RunStatus.FAILED, "why", NOW),
    }
    summaries = list(watched.summaries())
    assert summaries[0].inspected.life is Life.UNKNOWN
    assert Life.ALIVE in {p.inspected.life for p in summaries}
    assert summaries[-1].inspected.word == "failed"


def test_what_ended_before_is_shown_once(watched: Watched, store: RunStore) -> None:
    store.set_state(RUN, RunStatus.STOPPED, "", NOW)
    assert len(list(watched.summaries())) == 1
    assert watched.link.asked == 0


def test_only_news_are_told(watched: Watched, store: RunStore) -> None:
    watched.events = {
        2.0: lambda: store.append(RUN, (), progress=progress(1)),
        4.0: lambda: store.put_status(RUN, "bank-a", "no answer in time", NOW),
        5.0: lambda: store.set_state(RUN, RunStatus.STOPPING, "", NOW),
        6.0: lambda: store.set_state(RUN, RunStatus.STOPPED, "", NOW),
    }
    told = [line(summary) for summary in changes_in(watched.summaries(), line)]
    assert len(told) == 5
    assert told[:2] == ["run-1: running", "run-1: running, step 1 of 4, 0.25 s"]
    assert told[2].endswith("bank-a no answer in time")
    assert [text.split(",")[0] for text in told[3:]] == ["run-1: stopping", "run-1: stopped"]

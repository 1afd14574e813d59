"""A coordinator's desk over a home, and a SuperLink as a test wants it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator
from tests.support.network.scripted import Scripted

from fieldfare.server.desk.acts import CoordinatorDesk
from fieldfare.server.desk.process import desk_lines, desk_place
from fieldfare.server.home.initial_setup import keep_bundle
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.studies.open_coordinator import OpenCoordinator
from fieldfare.server.studies.proposing import propose
from fieldfare.shared.desk.answering import Desk, serving_desk
from fieldfare.shared.system.clock import utc_now


@dataclass
class DeskBench:
    """A desk over a coordinator's home and a SuperLink as a test wants it."""

    keyed: KeyedCoordinator
    link: Scripted = field(default_factory=Scripted)
    seconds: float = 0.0

    desk: CoordinatorDesk = field(init=False)

    def __post_init__(self) -> None:
        self.desk = self.another()

    def another(self) -> CoordinatorDesk:
        """The desk as it is after its process was started again."""
        home = self.keyed.home
        return CoordinatorDesk(
            home, lambda: self.keyed.signer, self.opened, self.now, lambda: self.seconds
        )

    def now(self) -> datetime:
        return utc_now()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer the console over the home's socket."""
        desk = Desk(desk_lines(lambda: self.desk), lambda: {os.getuid()})
        with serving_desk(desk, desk_place(self.keyed.home)):
            yield

    @contextmanager
    def opened(self) -> Iterator[OpenCoordinator]:
        with self.keyed.store() as store:
            yield OpenCoordinator(self.keyed.home, store, self.link)

    @property
    def written(self) -> list[dict[str, Any]]:
        """What the log of decisions says of acts at the console."""
        lines = map(json.loads, self.keyed.home.decisions.read_text().splitlines())
        return [one for one in lines if one["event"] == "console"]

    def row(self, run: str) -> RunRow:
        with self.keyed.store() as store:
            return store.row(run)

    def run_id(self, name: str = "payments", digits: str = "00aa11") -> str:
        return f"{self.now():%Y-%m-%d}-{name}-{digits}"

    def put(self, run: str, state: RunStatus) -> None:
        with self.keyed.store() as store:
            store.set_state(run, state, "", utc_now())


@pytest.fixture
def desk_bench(keyed: KeyedCoordinator) -> DeskBench:
    keep_bundle(keyed.home)
    return DeskBench(keyed)


@pytest.fixture
def approved_bench(desk_bench: DeskBench) -> DeskBench:
    """The same, with a study that all three banks approved."""
    propose(desk_bench.keyed.home, desk_bench.keyed.study, desk_bench.keyed.signer)
    desk_bench.keyed.approve()
    return desk_bench

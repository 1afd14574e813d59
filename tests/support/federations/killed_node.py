"""A node's real process that is killed while a coordinator asks over a real SuperLink."""

import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, Final

import numpy as np
from flwr.app import Message
from tests.support.network.superlink import Superlink
from tests.support.system.processes import until

from fieldfare.client.cli.node import PROCESS, node_environment
from fieldfare.shared.protocol.flower_record import RECORD, Call

START_SECONDS: Final = 120.0  # on a machine with other work
FIRST_AIM_SECONDS: Final = 0.15  # from a request to its custodian, until it is known better
# Moments of a kill, in the time to the custodian. That time changes with the machine's load:
# deaths before it move it up, deaths after the reply move it down, and deaths between them move it
# to whichever of the two was seen less often.
EARLY, LATE = -0.1, 2.1
STEP: Final = 1.25
ANSWER_SECONDS: Final = 0.1  # a custodian that is asked goes on when the node is dead

# When a node died, as its custodian and the coordinator saw it.
UNASKED, UNHEARD, HEARD = "before its custodian", "before its reply", "after its reply"


@dataclass
class Recorded:
    """A custodian, and every answer to every signed request that it ever gave."""

    custodian: Any
    after: Callable[[], object] = lambda: None
    answers: dict[bytes, list[Any]] = field(default_factory=lambda: defaultdict(list))
    openings: dict[bytes, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def __getattr__(self, name: str) -> Any:
        """Everything else is the custodian's."""
        return getattr(self.custodian, name)

    def release(self, request: bytes, *arguments: Any, **named: Any) -> Any:
        answer = self.custodian.release(request, *arguments, **named)
        self.answers[request].append(answer)
        self.after()
        return answer

    def reveal(self, request: bytes, statements: Sequence[bytes]) -> Any:
        opened = self.custodian.reveal(request, statements)
        self.openings[request].append(opened)
        return opened


@dataclass
class NodeProcess:
    """The process of one institution's node, as `institution node` starts it."""

    settings: Path
    superlink: Superlink
    seconds: list[float] = field(default_factory=list)
    _process: "subprocess.Popen[bytes] | None" = None

    def spawn(self) -> None:
        folder = self.settings.parent / "flower"
        folder.mkdir(exist_ok=True)
        with self.settings.with_name("node.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", PROCESS, self.settings],
                env=node_environment(os.environ, folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def start(self, online: int) -> None:
        """Start it and wait until it is let in, and so many nodes are online."""
        begun, before = time.monotonic(), self._admissions()
        self.spawn()

        def let_in() -> bool:
            """Not `online` alone: a killed start's last words may be taken for its sign-on."""
            if self._process is not None and self._process.poll() is not None:
                self.kill()
                self.end_lease()
                self.spawn()
            return self._admissions() > before

        until(let_in, START_SECONDS)
        until(lambda: self.superlink.online() == online, START_SECONDS)
        self.seconds.append(time.monotonic() - begun)

    def _admissions(self) -> int:
        log = self.settings.with_name("node.log")
        return log.read_text().count("admitted as node") if log.exists() else 0

    def kill(self) -> None:
        """End it without a word, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def end_lease(self) -> None:
        """Let the SuperLink admit this node's next process at once.

        Flower waits for the end of a dead node's lease, up to 60 s. The row says "offline" then,
        and nothing else differs.
        """
        name = f"{self.settings.parents[1].name}-{self.settings.parent.name.partition('-')[2]}"
        path = self.superlink.folder / "superlink.sqlite"
        with closing(sqlite3.connect(path, timeout=10)) as database, database:
            changed = database.execute(
                "UPDATE node SET status = 'offline' WHERE name = ?", [name]
            ).rowcount
        assert changed == 1


@dataclass
class KillingGrid:
    """A Grid that kills a node at a random moment of every release, and brings it back.

    It also holds the coordinator's clock: once the node is back, the time after which the
    coordinator asks again has passed, and no more. So nobody waits for it.
    """

    grid: Any
    node: NodeProcess
    nodes: int
    custodian: Recorded
    chance: np.random.Generator
    silent_seconds: float
    ends: Counter[str] = field(default_factory=Counter)
    starts_killed: int = 0
    _passed: float = 0.0
    _aim: float = FIRST_AIM_SECONDS
    _request: bytes = b""
    _killer: Thread | None = None
    _asked: int = 0

    # -- what a Channel needs -----------------------------------------------------------

    def monotonic(self) -> float:
        return time.monotonic() + self._passed

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        if self._killer is not None and not self._killer.is_alive():
            begun = time.monotonic()
            self._bring_back(UNHEARD if self._asked else UNASKED)
            # How long a machine takes to start a process is no part of the story.
            self._passed += self.silent_seconds - (time.monotonic() - begun)

    def get_node_ids(self) -> list[int]:
        return list(self.grid.get_node_ids())

    def pull_messages(self, ids: Iterable[str]) -> list[Message]:
        return list(self.grid.pull_messages(ids))

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        given = list(messages)
        if given[0].metadata.message_type == Call.RELEASE.message_type:
            record: Any = given[0].content[RECORD]
            request: bytes = record["request"]
            if request != self._request:
                self.settle()
                self._request = request
                self._arm()
        return list(self.grid.push_messages(given))

    # -- a trial ------------------------------------------------------------------------

    def settle(self) -> None:
        """End the last trial; its exchange is over."""
        if self._killer is not None:
            self._killer.join()
            self._bring_back(HEARD)

    def _arm(self) -> None:
        moment = self.chance.uniform(EARLY, LATE) * self._aim
        if moment <= 0:
            self.node.kill()
        self._killer = Thread(target=self._kill, args=(moment,))
        self._killer.start()

    def _kill(self, moment: float) -> None:
        time.sleep(max(0.0, moment))
        self.node.kill()
        time.sleep(ANSWER_SECONDS)
        self._asked = len(self.custodian.answers.get(self._request, ()))

    def _bring_back(self, end: str) -> None:
        self._killer = None
        self.ends[end] += 1
        seldom_heard = self.ends[HEARD] < self.ends[UNASKED]
        later = seldom_heard if end == UNHEARD else end == UNASKED
        self._aim *= STEP if later else 1 / STEP
        self.node.end_lease()
        if self.ends.total() % 5 == 0:
            self.node.spawn()
            time.sleep(self.chance.uniform(0, 1.2) * min(self.node.seconds))
            self.node.kill()
            self.node.end_lease()
            self.starts_killed += 1
        self.node.start(self.nodes)

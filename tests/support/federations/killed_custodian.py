"""A custodian's real process that is killed around everything that it is asked.

It stands where a node keeps its custodian, so the real coordinator's code drives it and nothing
here knows the calls: whatever is asked is asked until the process dies, and once more of the
process that is started over what the dead one left.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, Final

import numpy as np
from tests.support.homes.institutions import Coordinator
from tests.support.network.calling import Caller, connected

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.home.policy import limits
from fieldfare.client.home.settings import witness_path
from fieldfare.client.journal.journal import verify
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.protocol.messages import Refusal
from fieldfare.shared.system.clock import utc_now

COMMAND: Final = Path(sys.executable).with_name("fieldfare")
START_SECONDS: Final = 120.0  # until a start counts as failed; how long it took is measured
FIRST_AIM_SECONDS: Final = 0.015  # from a call to its commit, until it is known better
# Moments of a kill, in the time to the commit. That time changes with the machine's load: deaths
# that came before a debit move it up, deaths after an answer move it down.
EARLY, LATE = -0.1, 2.1
STEP: Final = 1.25

# An opening makes the keys that a later death takes along.
SETUP: Final = frozenset({"describe", "recall", "open_run", "agree"})
KEYS_GONE: Final = Refusal(RefusalCode.KEYS_GONE)

# When a process died, as the ledger and the caller saw it.
UNDONE, UNSENT, SENT = "before a debit", "after a debit, unanswered", "after an answer"


@dataclass
class Victim:
    """One institution's custodian: its home, its process, and what was seen of it.

    Attributes:
        ends: how many calls ended how.
        starts_killed: kills of a process that was starting.
        seconds: each from a start to the first answer.
    """

    coordinator: Coordinator
    name: str
    study: str
    chance: np.random.Generator
    scratch: Path
    ends: Counter[str] = field(default_factory=Counter)
    starts_killed: int = 0
    seconds: list[float] = field(default_factory=list)
    last: str = ""
    _aims: dict[str, float] = field(default_factory=dict)
    _spared: bool = False  # until what needs new keys was answered
    _process: "subprocess.Popen[bytes] | None" = None

    def __getattr__(self, call: str) -> Callable[..., Any]:
        """Whatever a node asks of a custodian is asked around a kill."""
        if call.startswith("_"):
            raise AttributeError(call)
        return partial(self._tried, call)

    # -- a process ----------------------------------------------------------------------

    @property
    def said(self) -> Path:
        """What all its processes wrote."""
        return self.scratch / "custodian.log"

    def _spawn(self) -> "subprocess.Popen[bytes]":
        home = self.coordinator.homes[self.name].path
        with self.said.open("ab") as log:
            self._process = subprocess.Popen(
                [COMMAND, "institution", "custodian", "--home", home], stdout=log, stderr=log
            )
        return self._process

    def start(self) -> None:
        """Start the process and wait until it answers."""
        begun = time.monotonic()
        process = self._spawn()
        while not self._answers():
            assert process.poll() is None, self.said.read_text()[-2000:]
            assert time.monotonic() < begun + START_SECONDS, self.said.read_text()[-2000:]
            time.sleep(0.01)
        self.seconds.append(time.monotonic() - begun)

    def kill(self) -> None:
        """End the process without a word, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start_and_kill(self) -> None:
        """Start the process and kill it at a random moment of its start."""
        begun = time.monotonic()
        self._spawn()
        self._wait_and_kill(begun, self.chance.uniform(0, 1.2) * min(self.seconds))
        self.kill()
        self.starts_killed += 1

    def _answers(self) -> bool:
        """Say whether somebody listens; a dead process leaves the socket's file behind."""
        path = self.coordinator.homes[self.name].custodian_socket
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(path))
            with connected(path) as custodian:
                answer = custodian.describe(self.study)
            assert isinstance(answer, HelloAnswer), answer
            return True
        return False

    # -- a trial ------------------------------------------------------------------------

    def _tried(self, call: str, *arguments: Any, **named: Any) -> Any:
        """Ask while the process dies; ask again what came of it, and look at what is on disk."""
        if call in SETUP or self._spared:
            self._spared &= call in SETUP
            return self._ask(lambda custodian: getattr(custodian, call)(*arguments, **named))
        self.last = f"{call}, trial {self.ends.total() + 1}"
        before = len(self.committed())

        def ask(custodian: Caller) -> Any:
            return getattr(custodian, call)(*arguments, **named)

        seen = self._ask_and_kill(call, ask)
        left = self.committed(whole=True)
        if self.ends.total() % 4 == 3:
            self.start_and_kill()
        self.start()
        again = self._ask(ask)
        self._check(before, seen, left, again)
        on_disk = UNSENT if before < len(left) else UNDONE
        self._ended(call, SENT if seen is not None and again != KEYS_GONE else on_disk)
        self._spared = again == KEYS_GONE
        return again

    def _ended(self, call: str, end: str) -> None:
        self.ends[end] += 1
        factor = {UNDONE: STEP, UNSENT: 1.0, SENT: 1 / STEP}[end]
        self._aims[call] = factor * self._aims.get(call, FIRST_AIM_SECONDS)

    def _check(self, before: int, seen: Any, left: list[bytes], again: Any) -> None:
        if again == KEYS_GONE:  # they died with a process, before anything was kept
            assert seen in {None, KEYS_GONE}
            assert len(left) == len(self.committed()) == before
            return
        assert not isinstance(again, Refusal), (again, self.said.read_text()[-2000:])
        assert seen is None or again == seen  # nobody gets a second answer, with other noise
        after = self.committed()
        assert left == after[: len(left)]
        assert before <= len(left) <= len(after) <= before + 1
        if len(after) > before:
            assert again == after[-1]  # what was debited is what leaves
            # No answer left before its debit was on disk; what was on disk is what left later.
            assert seen is None or len(left) == len(after)
        verify(self.coordinator.homes[self.name].log_folder)

    def _ask(self, ask: Callable[[Caller], Any]) -> Any:
        with connected(self.coordinator.homes[self.name].custodian_socket) as custodian:
            return ask(custodian)

    def _ask_and_kill(self, call: str, ask: Callable[[Caller], Any]) -> Any:
        """Ask, and kill at a random moment, from before the call to after its answer.

        Returns:
            The answer, or None where the process died first.
        """
        moment = self.chance.uniform(EARLY, LATE) * self._aims.get(call, FIRST_AIM_SECONDS)
        if moment <= 0:
            self.kill()
        killer = Thread(target=self._wait_and_kill, args=(time.monotonic(), moment))
        killer.start()
        try:
            answer = self._ask(ask)
        except RunError:
            answer = None
        killer.join()
        self.kill()
        return answer

    def _wait_and_kill(self, begun: float, moment: float) -> None:
        time.sleep(max(0.0, begun + moment - time.monotonic()))
        if self._process is not None:
            self._process.kill()

    # -- what is on disk ----------------------------------------------------------------

    def committed(self, *, whole: bool = False) -> list[bytes]:
        """What the ledger let out, in order; with `whole`, everything in it is recomputed.

        From a copy: opening a ledger mends what a crash left, and that is the custodian's.
        """
        institution = self.coordinator.institution(self.name)
        copy = self.scratch / "ledger"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(institution.home.ledger.parent, copy)
        file = copy / institution.home.ledger.name
        witness = witness_path(institution.home, institution.settings)  # it may lie elsewhere
        shutil.copyfile(witness, file.with_name(f"{file.name}.witness"))
        with Ledger.open(
            file,
            population=institution.settings.population,
            limits=limits(institution.policy),
            clock=utc_now,
        ) as ledger:
            if whole:
                ledger.verify()
            found = [ledger.stored(entry.debit.request) for entry in ledger.entries()]
        assert None not in found
        return [kept.reply for kept in found if kept is not None]

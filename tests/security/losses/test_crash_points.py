"""Killed or interrupted at any point of a release: no reply without its debit, no debit lost.

A child process dies for real (`os._exit`, nothing is flushed or rolled back) at every call and
return of what a release is made of, or at every line of the client's code; a second story
unwinds the same points by an exception and goes on with the same custodian.
"""

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest
from tests.support.federations.bench import NAMES, Bench, OpenedVector, hear

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.key_agreement import HeldKeys
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import LedgerError, RefusalCode
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import LastSum, Refusal
from fieldfare.shared.study.study import Study

# make nightly PART=attacks: at every visit of a line.
LONG: Final = "FIELDFARE_KILL_SEEDS" in os.environ
VICTIM: Final = "bank-b"
DIED: Final = 77
KEYS_GONE: Final = Refusal(RefusalCode.KEYS_GONE)
CLIENT: Final = str(Path(__file__).parents[3] / "client")
# What a release is made of; "execute" is every statement of the ledger, COMMIT among them.
STEPS_OF_A_RELEASE: Final = {
    "release",
    "stored",
    "admit",
    "check",
    "vector",
    "sample",
    "mask",
    "sign",
    "execute",
    "fsync",
    "replace",
    "erase_log",
    "keep_waiting",
    "reveal",
    "waiting",
    "commit_waiting",
}


@dataclass(frozen=True)
class Scene:
    """A custodian that answered step 0 and is asked for step 1; only its files matter."""

    study: Study
    sums: StudySums
    party: Party
    ledger: Path
    limits: Any
    request: bytes
    parameters: bytes
    last: LastSum
    run: str
    request_hash: str
    cost: int
    held: HeldKeys
    keys: tuple[bytes, ...]  # of every step, as bytes and in hex
    others: tuple[bytes, ...]  # their commitments

    def copied_to(self, folder: Path) -> "Scene":
        """The same scene on files of its own."""
        folder.mkdir()
        for suffix in ("", ".witness"):
            shutil.copy2(f"{self.ledger}{suffix}", folder / f"{self.ledger.name}{suffix}")
        return Scene(**{**self.__dict__, "ledger": folder / self.ledger.name})

    def start(self) -> tuple[Custodian, Ledger]:
        """Return the custodian as it was before: the run's keys are in its memory."""
        custodian, ledger = self.restart()
        custodian._hold(deepcopy(self.held))
        return custodian, ledger

    def restart(self) -> tuple[Custodian, Ledger]:
        """Start the custodian as a fresh process would."""
        ledger = Ledger.open(
            self.ledger,
            population=VICTIM,
            limits=self.limits,
            clock=lambda: datetime.now(UTC),
        )
        custodian = Custodian(self.party, ledger, ExactNoise())
        custodian.approve(self.study, lambda: self.sums)
        hear(custodian)  # as with a witness elsewhere: what waits may be opened
        return custodian, ledger

    def ask(self, custodian: Custodian) -> OpenedVector | Refusal:
        """Ask for the release, in both of its messages."""
        answer = custodian.release(self.request, self.parameters, self.last)
        if not isinstance(answer, CommitmentReply):
            return answer
        self.ledger.with_name("committed").write_bytes(answer.commitment + answer.vector)
        sent = [*self.others, answer.commitment]
        statements = [one for name in NAMES for one in sent if f'"{name}"'.encode() in one]
        reply = custodian.reveal(self.request, statements)
        if isinstance(reply, Refusal):
            return reply
        return OpenedVector(reply, answer.vector, answer.commitment)

    def files_hold(self, content: bytes) -> bool:
        return any(content in file.read_bytes() for file in self.ledger.parent.iterdir())


@pytest.fixture
def scene(bench: Bench) -> Scene:
    return made_scene(bench)


def made_scene(bench: Bench) -> Scene:
    run = bench.open_run()
    run.everybody(run.request())
    keys = [bench.run_keys(VICTIM, run).at(step) for step in range(1, 4)]
    secrets = [key for one in keys for key in one.keys.values()]
    request = run.request(step=1)
    others = [name for name in NAMES if name != VICTIM]
    commitments = tuple(run.commit(name, request).commitment for name in others)
    for ledger in bench.federation.ledgers.values():
        ledger.close()  # nothing that a child could inherit
    return Scene(
        study=bench.study,
        sums=bench.sums[VICTIM],
        party=bench.party(VICTIM),
        ledger=bench.path(VICTIM),
        limits=bench.ledger(VICTIM)._limits,
        request=bench.sign(request),
        parameters=run.parameters(request.kind, 1),
        last=run.last(1),
        run=run.federation.run,
        request_hash=request.hash,
        cost=bench.plan.training.cost,
        held=bench.held(VICTIM),
        keys=(*secrets, *(key.hex().encode() for key in secrets)),
        others=commitments,
    )


class Unwound(BaseException):
    """An interruption that no code expects."""


@dataclass
class Countdown:
    """Calls `end` at the given point; counts and names the points that it passes."""

    fatal: int
    end: Callable[[], None]
    passed: list[str] = field(default_factory=list)

    def point(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) == self.fatal:
            self.end()

    @contextmanager
    def counting(self, *, lines: bool) -> Iterator[None]:
        """Count in this thread.

        The one that draws noise ahead writes nothing, and where it stands differs between two
        children: what it passes would give a point another number in each.
        """
        if lines:
            sys.settrace(self.trace)
        else:
            sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.settrace(None)
            sys.setprofile(None)

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count calls and returns, of Python's and of C's functions (sys.setprofile)."""
        native = event.startswith("c_")
        name = argument.__name__ if native else frame.f_code.co_name
        if native and name == "release":  # a lock's: threads that wait for each other come by
            return
        if native and isinstance(argument.__self__, bytes | str):  # a text's replace, no file's
            return
        if name in STEPS_OF_A_RELEASE:
            self.point(f"{event} {name}")

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """Count lines of the client's code (sys.settrace)."""
        if not frame.f_code.co_filename.startswith(CLIENT):
            return None
        if event == "line":
            self.point(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return self.trace


def die() -> None:
    os._exit(DIED)


def unwind() -> None:
    raise Unwound


def forked(scene: Scene, fatal: int, *, lines: bool) -> tuple[int, list[str]]:
    """Ask in a child that dies at point `fatal`; returns its status and the points it passed."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        log = scene.ledger.with_name("passed")
        return os.waitstatus_to_exitcode(status), json.loads(
            log.read_text()
        ) if log.exists() else []
    status = 1
    try:
        custodian, _ = scene.start()
        countdown = Countdown(fatal, die)
        with countdown.counting(lines=lines):
            answer = scene.ask(custodian)
        if isinstance(answer, OpenedVector):
            scene.ledger.with_name("sent").write_bytes(answer.reply + answer.vector)
        scene.ledger.with_name("passed").write_text(json.dumps(countdown.passed))
        status = 0
    except BaseException:  # noqa: BLE001 -- a child must never run on into the tests
        traceback.print_exc()
    finally:
        os._exit(status)


def check_what_is_left(scene: Scene, custodian: Custodian, ledger: Ledger) -> bool:
    """Check a custodian that is asked again; returns whether the first debit had stood."""
    ledger.verify()
    stood = len(list(ledger.entries())) - 1
    assert ledger.spent() == (1 + stood) * scene.cost
    kept = ledger.stored(scene.request_hash)
    assert (kept is not None) == bool(stood)
    first, second = scene.ask(custodian), scene.ask(custodian)
    assert isinstance(first, OpenedVector)
    assert first == second
    assert kept is None or (kept.reply, kept.vector) == (first.reply, first.vector)
    # What was sent again needs no evidence; where the run stands was kept with the debit.
    again = custodian.release(scene.request, scene.parameters)
    assert not isinstance(again, Refusal)
    assert again.vector == first.vector
    assert ledger.spent() == 2 * scene.cost
    ledger.verify()
    assert not any(scene.files_hold(key) for key in scene.keys)
    return bool(stood)


def check_after_a_death(scene: Scene) -> bool:
    """Keys died with the process and are in no file; an answer that stands is sent as it is."""
    assert not any(scene.files_hold(key) for key in scene.keys)
    first = scene.ledger.with_name("committed")
    before = first.read_bytes() if first.exists() else None
    custodian, ledger = scene.restart()
    with ledger:
        found = scene.ask(custodian)
        assert isinstance(found, OpenedVector) or found == KEYS_GONE, found
        assert (ledger.stored(scene.request_hash) is None) == (found == KEYS_GONE)
    custodian, ledger = scene.start()
    with ledger:
        stood = check_what_is_left(scene, custodian, ledger)
        answer = scene.ask(custodian)
    # Whoever was sent the first message before the death was sent nothing else after it.
    assert before is None or before == first.read_bytes()
    sent = scene.ledger.with_name("sent")
    assert isinstance(answer, OpenedVector)
    assert not sent.exists() or (stood and sent.read_bytes() == answer.reply + answer.vector)
    custodian, ledger = scene.restart()
    with ledger:
        assert scene.ask(custodian) == answer
    return stood


def deaths(points: list[str], *, every: bool) -> list[tuple[int, str]]:
    """Return where to die, in order: at every point, or at the last visit of each line."""
    last = {name: number for number, name in enumerate(points, start=1)}
    numbered = list(enumerate(points, start=1))
    return [(number, name) for number, name in numbered if every or last[name] == number]


def test_every_line_is_a_place_to_die_once_and_at_night_each_time() -> None:
    assert deaths(["a", "b", "a"], every=False) == [(2, "b"), (3, "a")]
    assert deaths(["a", "b", "a"], every=True) == [(1, "a"), (2, "b"), (3, "a")]


def die_everywhere(scene: Scene, folder: Path, *, lines: bool) -> list[str]:
    """Die at the points in turn; returns all of them, and checks what each death left."""
    status, points = forked(scene.copied_to(folder / "whole"), 0, lines=lines)
    assert status == 0
    outcomes = []
    for number, name in deaths(points, every=LONG or not lines):
        copy = scene.copied_to(folder / str(number))
        status, _ = forked(copy, number, lines=lines)
        assert status == DIED, f"point {number}, {name}"
        try:
            outcomes.append(check_after_a_death(copy))
        except AssertionError as error:
            raise AssertionError(f"died at point {number}, {name}") from error
        shutil.rmtree(copy.ledger.parent)
    # Some deaths came before the debit and some after it, and the debit is never undone.
    assert outcomes == sorted(outcomes)
    assert {False, True} == set(outcomes)
    return points


def test_a_scene_holds_keys_in_memory_only(scene: Scene) -> None:
    """An earlier version kept those of the next step in the ledger's file."""
    assert not any(scene.files_hold(key) for key in scene.keys)
    assert len(set(scene.keys)) == 2 * 3 * (len(NAMES) - 1)


@pytest.mark.faults
def test_a_kill_at_any_step_of_a_release_loses_nothing(scene: Scene, tmp_path: Path) -> None:
    points = die_everywhere(scene, tmp_path, lines=False)
    reached = {point.split()[1] for point in points}
    assert reached == STEPS_OF_A_RELEASE


@pytest.mark.promises  # `make faults` kills at each step
@pytest.mark.timeout(2400)  # 560 s where nothing else is at work: a process for each line
def test_a_kill_at_any_line_of_a_release_loses_nothing(scene: Scene, tmp_path: Path) -> None:
    points = die_everywhere(scene, tmp_path, lines=True)
    files = {point.split(":")[0] for point in points}
    assert {"release.py", "custodian.py", "ledger.py", "rollback_check.py"} <= files


def goes_on(ledger: Ledger) -> bool:
    """Whether a ledger works on after an interruption; it may also refuse until a restart."""
    try:
        ledger.verify()
    except LedgerError:
        return False
    return True


def test_an_interruption_at_any_step_loses_nothing(scene: Scene, tmp_path: Path) -> None:
    number, done, outcomes = 0, False, []
    while not done:
        number += 1
        copy = scene.copied_to(tmp_path / str(number))
        custodian, ledger = copy.start()
        countdown = Countdown(number, unwind)
        with suppress(Unwound), countdown.counting(lines=False):
            done = isinstance(copy.ask(custodian), OpenedVector)
        if not goes_on(ledger):
            assert isinstance(copy.ask(custodian), Refusal)
            ledger.close()
            custodian, ledger = copy.start()
        with ledger:
            try:
                outcomes.append(check_what_is_left(copy, custodian, ledger))
            except AssertionError as error:
                raise AssertionError(f"unwound at {number}, {countdown.passed[-1]}") from error
    assert outcomes == sorted(outcomes)
    assert {False, True} == set(outcomes)


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_disk_that_fails_after_the_commit_sends_nothing_until_it_works(
    call: str, which: int, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = scene.copied_to(tmp_path / "copy")
    custodian, ledger = copy.start()
    calls: list[str] = []
    real = getattr(os, call)

    def failing(*arguments: Any, **named: Any) -> Any:
        calls.append(call)
        if len(calls) == which + 1:
            raise OSError(28, "No space left on device")
        return real(*arguments, **named)

    monkeypatch.setattr(os, call, failing)
    answers = [copy.ask(custodian) for _ in range(3)]
    monkeypatch.undo()
    with ledger:
        assert [isinstance(answer, OpenedVector) for answer in answers].count(True) >= 2
        assert check_what_is_left(copy, custodian, ledger)
        assert set(answers[1:]) == {copy.ask(custodian)}

"""Whatever moment a process dies at, or a disk fills up at, the ledger never under-counts.

Children die for real: at each statement, at virtual-machine instructions in between, around
each flush, rename and open of the witness, and inside SQLite's own writes (SIGXFSZ at a file
size limit tears the write that crosses it).
"""

import os
import resource
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from tests.support.federations.debits import commit_release

from fieldfare.client.ledger.budget import Debit, Limits, Position, StoredReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.client.ledger.split import SplitPopulation
from fieldfare.shared.errors import LedgerError

pytestmark = pytest.mark.faults

COST: Final = 10
DIED: Final = 77
LIMIT: Final = 1000
OLD_KEYS: Final = b"keys of step 2" * 300
NEW_KEYS: Final = b"keys of step 3" * 300
VECTOR: Final = b"masked" * 3500  # over several pages, so that the log has many frames


@dataclass
class Countdown:
    """Ends the process at the given tick once armed; before that it only counts."""

    fatal: int
    armed: bool = False
    count: int = 0

    def tick(self, *_: object) -> None:
        if self.armed:
            self.count += 1
            if self.count == self.fatal:
                os._exit(DIED)


def open_ledger(folder: Path) -> Ledger:
    return Ledger.open(
        folder / "units.ledger",
        population="units",
        limits=Limits(yearly_picomu2=LIMIT, lifetime_picomu2=LIMIT),
        clock=lambda: datetime(2025, 1, 1, tzinfo=UTC),
        busy_timeout=1.0,
    )


def commit(
    ledger: Ledger, step: int, sign: Callable[[Position], bytes], keys: bytes
) -> StoredReply:
    debit = Debit(
        study="s",
        run="r",
        step=step,
        attempt=0,
        kind="training",
        request=f"{step:064x}",
        cost=COST,
    )
    return commit_release(
        ledger,
        debit,
        vector=VECTOR,
        study_limit=LIMIT,
        max_attempts=1,
        sign=sign,
        run_states={"r": keys},
    )


@pytest.fixture(scope="module")
def three_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with three debits, to copy."""
    folder = tmp_path_factory.mktemp("three")
    with open_ledger(folder) as ledger:
        for step in range(3):
            commit(ledger, step, lambda position: f"old {position}".encode(), OLD_KEYS)
    return folder


def in_child(action: Callable[[], None]) -> int:
    """Run `action` in a fork of this process; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        action()
        os._exit(0)
    finally:  # never unwind into the parent's test run
        traceback.print_exc(file=sys.stderr)
        os._exit(99)


def watch(countdown: Countdown, patch: pytest.MonkeyPatch, *, every: int = 0) -> None:
    """Tick at every statement (or `every` so many instructions) and around every system call."""
    connect = sqlite3.connect

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        if every:
            connection.set_progress_handler(countdown.tick, every)
        else:
            connection.set_trace_callback(countdown.tick)
        return connection

    patch.setattr(sqlite3, "connect", watched)
    for name in () if every else ("open", "fsync", "replace"):
        patch.setattr(os, name, around(getattr(os, name), countdown))


def around(call: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def ticking(*args: Any, **options: Any) -> Any:
        countdown.tick()
        result = call(*args, **options)
        countdown.tick()
        return result

    return ticking


def release(folder: Path, ready: Callable[[], None] = lambda: None) -> None:
    """Answer step 3 and write down what was signed and, only at the end, what left."""

    def sign(position: Position) -> bytes:
        reply = b"signed in the child at %d " % position.sequence + os.urandom(16)
        (folder / "signed").write_bytes(reply)
        return reply

    (folder / "signed").touch()
    (folder / "left").touch()
    with open_ledger(folder) as ledger:
        ready()
        reply = commit(ledger, 3, sign, NEW_KEYS)
        with (folder / "left").open("r+b") as left:
            left.write(reply.reply)
            left.flush()
        os._exit(0)


def check_and_repeat(folder: Path) -> bool:
    """Check every promise after a death; return whether the debit had been committed."""
    signed, left = (folder / "signed").read_bytes(), (folder / "left").read_bytes()
    with open_ledger(folder) as ledger:
        ledger.verify()
        committed = ledger.position().sequence == 4
        assert ledger.spent() == COST * (4 if committed else 3)
        assert committed or not left, "bytes left without a debit"
        assert left in {b"", signed}
        # The state and the answer that waits are one, and before the debit: never new keys without
        # an answer, or the reverse.
        answered = committed or ledger.waiting("s", "r") is not None
        assert ledger.run_state("s", "r") == (NEW_KEYS if answered else OLD_KEYS)
        again = commit(ledger, 3, lambda _: b"signed by the repeat", NEW_KEYS)
        assert again.reply == (signed if committed else b"signed by the repeat")
        assert again.vector == VECTOR
        assert ledger.spent() == 4 * COST
        ledger.verify()
        # The old keys are gone from every file, also when the crash had left them in the log.
        assert OLD_KEYS[:64] not in b"".join(file.read_bytes() for file in folder.iterdir())
    open_ledger(folder).close()
    return committed


def die_at(origin: Path, folder: Path, fatal: int, *, every: int = 0) -> tuple[int, int]:
    """Die at tick `fatal` of a commit; return the wait status and, if it lived, its ticks."""
    shutil.copytree(origin, folder)
    countdown = Countdown(fatal)

    def action() -> None:
        with pytest.MonkeyPatch.context() as patch:
            watch(countdown, patch, every=every)
            finish = os._exit

            def report(code: int) -> None:
                (folder / "ticks").write_text(str(countdown.count))
                finish(code)

            patch.setattr(os, "_exit", report)
            release(folder, lambda: setattr(countdown, "armed", True))

    status = in_child(action)
    return status, int((folder / "ticks").read_text())


def test_death_at_every_statement_and_system_call(three_steps: Path, tmp_path: Path) -> None:
    _, ticks = die_at(three_steps, tmp_path / "lives", 0)
    assert ticks > 25
    committed = []
    for fatal in range(1, ticks + 1):
        folder = tmp_path / f"dies at {fatal}"
        status, _ = die_at(three_steps, folder, fatal)
        assert os.waitstatus_to_exitcode(status) == DIED
        assert (folder / "left").read_bytes() == b""
        committed.append(check_and_repeat(folder))
    assert committed == sorted(committed), "before the commit nothing, after it the debit"
    assert committed.count(False) > 10
    assert committed.count(True) > 8


def test_death_between_instructions_of_the_database(three_steps: Path, tmp_path: Path) -> None:
    _, ticks = die_at(three_steps, tmp_path / "lives", 0, every=10)
    assert ticks > 30
    for fatal in range(1, ticks + 1, 3):
        folder = tmp_path / f"dies at {fatal}"
        status, _ = die_at(three_steps, folder, fatal, every=10)
        assert os.waitstatus_to_exitcode(status) == DIED
        check_and_repeat(folder)


def test_death_inside_a_write(three_steps: Path, tmp_path: Path) -> None:
    outcomes = set()
    for size in range(0, 260_000, 5000):
        folder = tmp_path / f"dies at {size}"
        shutil.copytree(three_steps, folder)

        def torn(size: int = size) -> None:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        def action(folder: Path = folder, torn: Callable[[], None] = torn) -> None:
            release(folder, torn)

        died = in_child(action) != 0
        left = (folder / "left").read_bytes()
        assert died == (left == b"")
        outcomes.add((died, check_and_repeat(folder)))
    # In the log's writes, in the checkpoint's writes, and not at all.
    assert outcomes == {(True, False), (True, True), (False, True)}


def test_a_full_disk_is_an_error_and_a_repeat_continues(three_steps: Path, tmp_path: Path) -> None:
    """The same limits, but the write fails and the process lives on."""
    outcomes = set()
    for size in range(0, 260_000, 5000):
        folder = tmp_path / f"full at {size}"
        shutil.copytree(three_steps, folder)

        def action(folder: Path = folder, size: int = size) -> None:
            signed = []

            def sign(position: Position) -> bytes:
                signed.append(b"signed at %d " % position.sequence + os.urandom(16))
                return signed[-1]

            with open_ledger(folder) as ledger:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                try:
                    reply = commit(ledger, 3, sign, NEW_KEYS)
                    result = "answered"
                except LedgerError:
                    reply = None
                    result = "spent" if ledger.spent() == 4 * COST else "untouched"
                waits = ledger.waiting("s", "r") is not None
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
                again = commit(ledger, 3, sign, NEW_KEYS)
                assert 1 <= len(signed) <= (2 if waits else 1)  # what was kept may have been signed
                assert again.reply == signed[-1]
                assert reply in {None, again}
                assert ledger.spent() == 4 * COST
                ledger.verify()
            (folder / "result").write_text(result)

        assert in_child(action) == 0
        outcomes.add((folder / "result").read_text())
        open_ledger(folder).close()
    assert outcomes == {"untouched", "spent", "answered"}


def test_death_while_a_ledger_is_created(tmp_path: Path) -> None:
    def create(folder: Path, fatal: int) -> int:
        countdown = Countdown(fatal, armed=True)
        folder.mkdir()

        def action() -> None:
            with pytest.MonkeyPatch.context() as patch:
                watch(countdown, patch)
                open_ledger(folder)
                countdown.armed = False
                (folder / "ticks").write_text(str(countdown.count))

        return in_child(action)

    assert create(tmp_path / "lives", 0) == 0
    ticks = int((tmp_path / "lives" / "ticks").read_text())
    assert ticks > 25
    for fatal in range(1, ticks + 1):
        folder = tmp_path / f"dies at {fatal}"
        assert os.waitstatus_to_exitcode(create(folder, fatal)) == DIED
        with open_ledger(folder) as ledger:
            commit(ledger, 0, lambda _: b"reply", NEW_KEYS)
            ledger.verify()
        with open_ledger(folder) as ledger:
            assert ledger.spent() == COST


def die_in(
    origin: Path, folder: Path, fatal: int, action: Callable[[Path], None]
) -> tuple[int, int]:
    """Die at tick `fatal` of something that a person states; return wait status and ticks."""
    shutil.copytree(origin, folder)
    countdown = Countdown(fatal, armed=True)

    def child() -> None:
        with pytest.MonkeyPatch.context() as patch:
            watch(countdown, patch)
            action(folder)
            countdown.armed = False
            (folder / "ticks").write_text(str(countdown.count))

    status = in_child(child)
    ticks = folder / "ticks"
    return status, int(ticks.read_text()) if ticks.exists() else 0


def accept(folder: Path) -> None:
    with RestoredLedger.open(
        folder / "units.ledger", population="units", clock=lambda: datetime(2025, 1, 1, tzinfo=UTC)
    ) as restored:
        restored.accept(Acceptance(user="ines", reason="the disk failed"))


def test_death_at_every_point_of_an_acceptance(three_steps: Path, tmp_path: Path) -> None:
    behind = tmp_path / "behind"
    shutil.copytree(three_steps, behind)
    backup = (behind / "units.ledger").read_bytes()
    with open_ledger(behind) as ledger:
        commit(ledger, 3, lambda _: b"reply", NEW_KEYS)
    (behind / "units.ledger").write_bytes(backup)
    _, ticks = die_in(behind, tmp_path / "lives", 0, accept)
    assert ticks > 25
    outcomes = []
    for fatal in range(1, ticks + 1):
        folder = tmp_path / f"dies at {fatal}"
        status, _ = die_in(behind, folder, fatal, accept)
        assert os.waitstatus_to_exitcode(status) == DIED
        try:
            open_ledger(folder).close()
        except LedgerError:
            outcomes.append(False)
            accept(folder)
        else:
            outcomes.append(True)
        with open_ledger(folder) as ledger:
            ledger.verify()
            assert (ledger.spent(), ledger.position().epoch) == (4 * COST, 2)
            assert ledger.run_state("s", "r") is None
            assert OLD_KEYS[:64] not in b"".join(file.read_bytes() for file in folder.iterdir())
    assert outcomes == sorted(outcomes), "before the commit refused, after it accepted"
    assert {*outcomes} == {False, True}


def split(folder: Path) -> None:
    with open_ledger(folder) as ledger:
        part = SplitPopulation("cases", folder / "cases")
        ledger.split(part, lambda: None, user="ines", reason="kept apart")


def test_death_at_many_points_of_a_split(three_steps: Path, tmp_path: Path) -> None:
    _, ticks = die_in(three_steps, tmp_path / "lives", 0, split)
    assert ticks > 50
    for fatal in range(1, ticks + 1, 3):
        folder = tmp_path / f"dies at {fatal}"
        status, _ = die_in(three_steps, folder, fatal, split)
        assert os.waitstatus_to_exitcode(status) == DIED
        if not (folder / "cases").exists():
            split(folder)
        with Ledger.open(
            folder / "cases",
            population="cases",
            limits=Limits(yearly_picomu2=LIMIT, lifetime_picomu2=LIMIT),
            clock=lambda: datetime(2025, 1, 1, tzinfo=UTC),
        ) as part:
            part.verify()
            assert (part.spent(), part.run_state("s", "r")) == (3 * COST, None)
        with open_ledger(folder) as ledger:
            ledger.verify()
            assert ledger.position().sequence == 4
            assert ledger.run_state("s", "r") == OLD_KEYS


def test_a_witness_that_cannot_be_written_holds_the_reply_back(
    three_steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(three_steps, folder)

    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with open_ledger(folder) as ledger:
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", failing)
            for _ in range(2):  # the repeat, too, may not leave before its witness
                with pytest.raises(LedgerError, match="Input/output error"):
                    commit(ledger, 3, lambda _: b"reply", NEW_KEYS)
            with pytest.raises(LedgerError, match="Input/output error"):
                ledger.stored(f"{3:064x}")
        assert ledger.spent() == 4 * COST
        assert commit(ledger, 3, lambda _: b"another", NEW_KEYS).reply == b"reply"
        assert ledger.spent() == 4 * COST

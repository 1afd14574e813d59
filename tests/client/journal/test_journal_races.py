"""Real processes and threads that share one log neither interleave lines nor fork the chain."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal, read, verify
from fieldfare.shared.errors import LedgerError

PROCESSES: Final = 4
EACH: Final = 25

# One process: opens the log together with all others and appends as fast as it can.
# argv: folder, own name, how many.
WORKER: Final = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from fieldfare.client.journal.journal import Event, Journal

folder, name, each = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
(folder / f"ready {name}").touch()
while len([*folder.glob("ready *")]) < 4:
    time.sleep(0.0002)
journal = Journal.open(folder / "log", clock=lambda: datetime.now(UTC), busy_timeout=60.0)
for step in range(each):
    entry = journal.append(Event.REQUEST, name, step=step, rule="r" * (step * 7 % 400 + 1))
    print(entry.sequence, entry.hash)
"""


def race(folder: Path) -> list[tuple[int, str]]:
    """Let all processes start at once; return what `append` returned to them."""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), f"worker{number}", str(EACH)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "error"},
        )
        for number in range(PROCESSES)
    ]
    try:
        outputs = [worker.communicate(timeout=120)[0] for worker in workers]
    finally:  # a worker that failed leaves the others waiting for it
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0] * PROCESSES
    pairs = (line.split() for output in outputs for line in output.splitlines())
    return [(int(sequence), digest) for sequence, digest in pairs]


def check(folder: Path, returned: list[tuple[int, str]], before: int) -> None:
    found = [*read(folder)]
    assert verify(folder).sequence == before + PROCESSES * EACH
    assert sorted(returned) == [(entry.sequence, entry.hash) for entry in found[before:]]
    for number in range(PROCESSES):  # each one's own entries are in its own order
        own = [entry for entry in found if entry.actor == f"worker{number}"]
        assert [entry.details["step"] for entry in own] == [*range(EACH)]


def test_processes_write_one_chain(tmp_path: Path) -> None:
    check(tmp_path / "log", race(tmp_path), 0)


def test_threads_of_one_journal_write_one_chain(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", clock=lambda: datetime.now(UTC))

    def append(step: int) -> int:
        verify(journal.folder)
        return journal.append(Event.REQUEST, "coordinator", step=step).sequence

    with ThreadPoolExecutor(8) as pool:
        sequences = sorted(pool.map(append, range(40)))
    assert sequences == [*range(1, 41)]
    assert verify(journal.folder).sequence == 40


def test_a_process_that_hangs_holds_up_nobody_for_long(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", clock=lambda: datetime.now(UTC), busy_timeout=0.02)
    with closing(sqlite3.connect(tmp_path / "log" / "log.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process holds the log"):
            journal.append(Event.RELEASE, "custodian")
    assert journal.append(Event.RELEASE, "custodian").sequence == 1


def test_a_process_that_died_with_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", clock=lambda: datetime.now(UTC))
    child = os.fork()
    if not child:
        try:
            other = sqlite3.connect(tmp_path / "log" / "log.sqlite", isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            os._exit(7)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert journal.append(Event.RELEASE, "custodian").sequence == 1

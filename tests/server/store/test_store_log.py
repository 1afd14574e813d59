"""The transcript in the store: whole appends, true hashes, one writer, and deletion dates."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from fieldfare.server.store.rows import Progress, RunStatus
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
STUDY: Final = "a" * 64
RUN: Final = "run-1"
LEAVES: Final = tuple(Leaf(LeafKind.REPLY, b"reply %d" % number) for number in range(5))
PROGRESS: Final = Progress(
    3, 40, 1, 0.5, SideCosts(all=2**60, training=7, holdout=2**61), "training", NOW
)


def blobs_of(store: RunStore, run: str) -> dict[str, bytes | None]:
    return {name: store.blob(name) for name in store.blob_names(run)}


def named(*contents: bytes) -> dict[str, bytes]:
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[RunStore]:
    with run_store(path) as opened:
        opened.create(RUN, STUDY, NOW)
        yield opened


def test_leaves_come_back_in_order_with_their_hashes(store: RunStore, path: Path) -> None:
    assert store.append(RUN, LEAVES[:2]) == 2
    assert store.append(RUN, LEAVES[2:]) == 5
    assert store.append(RUN, ()) == 5
    with run_store(path) as again:
        assert again.leaves(RUN) == LEAVES
        assert again.leaf_hashes(RUN) == tuple(leaf.hash for leaf in LEAVES)


def test_runs_keep_apart(store: RunStore) -> None:
    store.create("run-2", "b" * 64, NOW)
    store.append(RUN, LEAVES[:2], checkpoint=b"one")
    store.append("run-2", LEAVES[2:], checkpoint=b"two", blobs=named(b"vector"))
    assert store.leaves("run-2") == LEAVES[2:]
    assert (store.checkpoint(RUN), store.checkpoint("run-2")) == (b"one", b"two")
    assert (blobs_of(store, RUN), blobs_of(store, "run-2")) == ({}, named(b"vector"))


def test_what_goes_with_a_step_is_kept_with_it(store: RunStore) -> None:
    vectors = named(b"one", b"two")
    assert (store.checkpoint(RUN), store.row(RUN).progress) == (None, None)
    store.append(RUN, LEAVES, blobs=vectors, checkpoint=b"first", progress=PROGRESS)
    store.append(RUN, (), blobs=vectors, checkpoint=b"second")  # a vector may come twice
    assert store.checkpoint(RUN) == b"second"
    assert store.row(RUN).progress == PROGRESS
    assert blobs_of(store, RUN) == vectors
    assert store.blob_names(RUN) == tuple(sorted(vectors))
    assert all(store.blob(name) == content for name, content in vectors.items())
    assert store.blob("0" * 64) is None


def test_an_unknown_run_is_said(store: RunStore) -> None:
    with pytest.raises(UsageError, match="known run, found 'run-9'"):
        store.append("run-9", LEAVES)


def test_together_is_all_or_nothing(store: RunStore) -> None:
    def fail() -> None:
        with store.together():
            store.append(RUN, LEAVES[:3], checkpoint=b"lost")
            store.put_head(RUN, b"head", 3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (store.leaves(RUN), store.checkpoint(RUN), store.head(RUN)) == ((), None, None)
    with store.together():  # the size that was taken back is not remembered
        assert store.append(RUN, LEAVES[:3]) == 3
        store.put_head(RUN, b"head", 3)
        store.set_state(RUN, RunStatus.FINISHED, "", NOW)
    assert (len(store.leaves(RUN)), store.head(RUN)) == (3, b"head")
    assert store.row(RUN).state is RunStatus.FINISHED


def test_a_process_that_was_replaced_writes_no_more(store: RunStore, path: Path) -> None:
    store.append(RUN, LEAVES[:2])
    with run_store(path) as resumed:
        resumed.append(RUN, LEAVES[2:3])
        with pytest.raises(RunError, match="another process carries on this run"):
            store.append(RUN, LEAVES[2:3], checkpoint=b"stale")
        resumed.append(RUN, LEAVES[3:])
    assert store.leaves(RUN) == LEAVES
    assert store.checkpoint(RUN) is None


def test_heads_and_cosignatures_are_the_newest(store: RunStore) -> None:
    assert (store.head(RUN), dict(store.cosignatures(RUN))) == (None, {})
    for size, text in ((3, b"old"), (7, b"new")):
        store.put_head(RUN, b"head " + text, size)
        store.put_cosignature(RUN, "bank-b", b"b " + text, size)
    store.put_cosignature(RUN, "bank-a", b"a", 3)
    assert store.head(RUN) == b"head new"
    assert list(store.cosignatures(RUN).items()) == [("bank-a", b"a"), ("bank-b", b"b new")]


def test_a_purge_takes_vectors_of_runs_that_ended_long_ago(store: RunStore, path: Path) -> None:
    ages = {"old": 40, "recent": 3}
    for number, (run, days) in enumerate(ages.items()):
        store.create(run, f"{number}" * 64, NOW)
        store.append(run, LEAVES, blobs=named(run.encode() * 1000, b"both"), checkpoint=b"c")
        store.set_state(run, RunStatus.STOPPED, "", NOW - timedelta(days=days))
    store.append(RUN, (), blobs=named(b"goes on"))
    assert store.purge(NOW - timedelta(days=30)) == 2
    assert store.blob_names("old") == ()
    assert store.leaves("old") == LEAVES
    assert store.blob(hashlib.sha256(b"both").hexdigest()) == b"both"  # the other run's
    assert [store.row(run).purged for run in ("old", "recent", RUN)] == [True, False, False]
    assert (len(store.blob_names("recent")), len(store.blob_names(RUN))) == (2, 1)
    assert b"oldold" not in path.read_bytes() + path.with_name(path.name + "-wal").read_bytes()
    assert store.purge(NOW - timedelta(days=30)) == 0


WRITER = """
import hashlib, os, sys
from datetime import UTC, datetime
from pathlib import Path
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.server.store.store import Progress, run_store
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

path, run, steps = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with run_store(path) as store:
    for step in range(steps):
        vector = os.urandom(4000)
        name = hashlib.sha256(vector).hexdigest()
        leaves = [Leaf(LeafKind.REPLY, b"%d %d" % (step, i)) for i in range(3)]
        leaves.append(Leaf(LeafKind.SUM, name.encode()))
        progress = Progress(step, steps, 0, 0.1, SideCosts(all=step), "training", datetime.now(UTC))
        store.append(run, leaves, blobs={name: vector}, checkpoint=b"%d" % step * 9000,
                     progress=progress)
        print(step, flush=True)
"""


def check_steps(store: RunStore, run: str) -> int:
    """Everything of each step is there; returns the steps."""
    leaves = store.leaves(run)
    steps, rest = divmod(len(leaves), 4)
    assert rest == 0
    names = [leaf.content.decode() for leaf in leaves if leaf.kind is LeafKind.SUM]
    assert set(store.blob_names(run)) == set(names)
    assert len(names) == steps
    progress = store.row(run).progress
    assert (progress.step + 1 if progress else 0) == steps
    assert store.checkpoint(run) == (b"%d" % (steps - 1) * 9000 if steps else None)
    assert store.leaf_hashes(run) == tuple(leaf.hash for leaf in leaves)
    return steps


def test_runs_are_written_at_once_while_somebody_watches(store: RunStore, path: Path) -> None:
    runs = ("run-2", "run-3", "run-4")
    for number, run in enumerate(runs):
        store.create(run, f"{number}" * 64, NOW)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), run, "25"], stdout=subprocess.DEVNULL
        )
        for run in runs
    ]
    while any(process.poll() is None for process in started):
        sizes = [len(store.leaves(run)) for run in runs]
        assert all(size % 4 == 0 for size in sizes)
    assert [process.wait() for process in started] == [0, 0, 0]
    assert [check_steps(store, run) for run in runs] == [25, 25, 25]


def test_a_purge_does_not_keep_a_run_from_its_steps(store: RunStore, path: Path) -> None:
    for number in range(3):
        run = f"old-{number}"
        store.create(run, f"{number}" * 64, NOW)
        vectors = named(*(os.urandom(20_000) for _ in range(150)))
        store.append(run, LEAVES, blobs=vectors)
        store.set_state(run, RunStatus.FINISHED, "", NOW - timedelta(days=40))
    before = path.stat().st_size + path.with_name(path.name + "-wal").stat().st_size
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), RUN, "40"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()  # it writes
    assert store.purge(NOW) == 450
    process.stdout.read()
    assert process.wait() == 0
    assert check_steps(store, RUN) == 40
    assert store.purge(NOW) == 0  # nobody is in the way any more
    assert path.stat().st_size < before / 4


@pytest.mark.faults
def test_a_writer_killed_anywhere_leaves_whole_steps(store: RunStore, path: Path) -> None:
    counts = set()
    for number in range(12):
        run = f"killed-{number}"
        store.create(run, f"{number:02d}" * 32, NOW)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), run, "100000"], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(1 + number)]  # it writes
        time.sleep(0.0007 * number)
        os.kill(process.pid, signal.SIGKILL)
        said = [*seen, *process.stdout.read().split()]
        process.wait()
        steps = check_steps(store, run)
        assert len(said) <= steps <= len(said) + 1  # what was said to be written is
        counts.add(steps)
        store.append(run, [EndRecord(state="failed", reason="killed").leaf()])
        assert store.leaves(run)[-1].kind is LeafKind.END
    assert len(counts) > 3


@pytest.mark.faults
def test_a_writer_killed_at_any_instruction_leaves_all_or_nothing(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from fieldfare.server.store.store import run_store
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

path, fatal = Path(sys.argv[1]), int(sys.argv[2])
ticks = 0
def tick():
    global ticks
    ticks += 1
    if ticks == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return 0
with run_store(path) as store:
    store._database._connection.set_progress_handler(tick, 5)
    store.append("run-1", [Leaf(LeafKind.REPLY, b"x" * 5000)] * 3, checkpoint=b"new" * 5000)
    print(ticks)
"""
    outcomes = []
    for fatal in (0, *range(1, 60, 4)):
        path = tmp_path / f"{fatal}.sqlite"
        with run_store(path) as store:
            store.create(RUN, STUDY, NOW)
            store.append(RUN, LEAVES, checkpoint=b"old")
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(fatal)], capture_output=True, check=False
        )
        assert done.returncode in {0, -signal.SIGKILL}
        with run_store(path) as store:
            found = (len(store.leaves(RUN)), store.checkpoint(RUN))
        assert found in {(5, b"old"), (8, b"new" * 5000)}
        assert done.returncode or found[0] > 5
        outcomes.append(done.returncode == 0)
    assert True in outcomes
    assert outcomes.count(False) > 5


def test_a_full_disk_leaves_the_step_before(store: RunStore, path: Path) -> None:
    store.append(RUN, LEAVES, checkpoint=b"before")
    code = """
import os, resource, sys
from pathlib import Path
from fieldfare.server.store.store import run_store
from fieldfare.shared.errors import RunError
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

with run_store(Path(sys.argv[1])) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1))
    try:
        store.append("run-1", [Leaf(LeafKind.END, b"{}")], checkpoint=os.urandom(400_000))
    except RunError as error:
        sys.exit(str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    assert "nothing was written: " in done.stderr
    assert "resume the run" in done.stderr
    assert store.leaves(RUN) == LEAVES
    assert store.checkpoint(RUN) == b"before"

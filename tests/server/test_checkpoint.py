"""Checkpoints: what was saved comes back bit for bit, and nothing else is taken for one."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from fieldfare.server.checkpoint import FORMAT, Checkpoints
from fieldfare.shared.adam import TrainingState
from fieldfare.shared.errors import RunError

STUDY, RUN = "a" * 64, "run-1"
FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from fieldfare.shared.adam import TrainingState
from fieldfare.server.checkpoint import Checkpoints
from fieldfare.shared.errors import RunError

store = Checkpoints(Path(sys.argv[1]), "a" * 64, "run-1")
store.save(TrainingState.start(np.arange(3.0)))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.save(TrainingState.start(np.arange(100_000.0)))
except RunError as error:
    sys.exit(str(error))
"""


def state_at(step: int) -> TrainingState:
    random = np.random.default_rng(step)
    parameters, first, second, tail = random.normal(size=(4, 9)) * 10.0 ** random.integers(-9, 9)
    return TrainingState(step, parameters, first, second, 0.9**step, 0.99**step, tail, step // 2)


def same(left: TrainingState, right: TrainingState) -> bool:
    pairs = ((getattr(left, f.name), getattr(right, f.name)) for f in fields(TrainingState))
    return all(
        a.tobytes() == b.tobytes() and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b
        for a, b in pairs
    )


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run-1.safetensors", STUDY, RUN)


def test_before_the_first_step_there_is_none(store: Checkpoints) -> None:
    assert store.load() is None


@pytest.mark.parametrize("step", [0, 1, 7])
def test_a_state_comes_back_bit_for_bit(store: Checkpoints, step: int) -> None:
    state = state_at(step)
    store.save(state)
    loaded = store.load()
    assert loaded is not None
    assert same(loaded, state)


def test_the_last_state_counts_and_leaves_nothing_else_behind(store: Checkpoints) -> None:
    for step in range(4):
        store.save(state_at(step))
    loaded = store.load()
    assert loaded is not None
    assert same(loaded, state_at(3))
    assert list(store.path.parent.iterdir()) == [store.path]


def test_a_torn_file_is_no_checkpoint(store: Checkpoints) -> None:
    store.save(state_at(2))
    content = store.path.read_bytes()
    for size in (0, 4, 8, 50, len(content) // 2, len(content) - 1):
        store.path.write_bytes(content[:size])
        with pytest.raises(RunError, match="readable checkpoint expected: remove it"):
            store.load()


def test_rubbish_is_no_checkpoint(store: Checkpoints) -> None:
    for rubbish in (b"rubbish", os.urandom(4096), b"{}", b"\xff" * 100):
        store.path.write_bytes(rubbish)
        with pytest.raises(RunError, match="readable checkpoint expected"):
            store.load()
    store.path.unlink()
    store.path.mkdir()
    with pytest.raises(RunError, match="readable checkpoint expected"):
        store.load()


@pytest.mark.parametrize("missing", ["parameters", "powers", "counts"])
def test_a_file_with_a_part_missing_is_no_checkpoint(store: Checkpoints, missing: str) -> None:
    names = {"parameters", "first", "second", "tail", "powers", "counts"} - {missing}
    metadata = {"format": FORMAT, "study": STUDY, "run": RUN}
    save_file({name: np.zeros(2) for name in names}, store.path, metadata)
    with pytest.raises(RunError, match="readable checkpoint expected"):
        store.load()


def test_powers_of_another_length_are_no_checkpoint(store: Checkpoints) -> None:
    names = ("parameters", "first", "second", "tail", "powers", "counts")
    metadata = {"format": FORMAT, "study": STUDY, "run": RUN}
    save_file({name: np.zeros(3) for name in names}, store.path, metadata)
    with pytest.raises(RunError, match="readable checkpoint expected"):
        store.load()


@pytest.mark.parametrize(("study", "run"), [("b" * 64, RUN), (STUDY, "run-2")])
def test_another_study_or_run_is_refused(store: Checkpoints, study: str, run: str) -> None:
    store.save(state_at(1))
    with pytest.raises(RunError, match="this study and run expected"):
        Checkpoints(store.path, study, run).load()


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "gone" / "run.safetensors", STUDY, RUN)
    with pytest.raises(RunError, match="could not be written: No such file"):
        store.save(state_at(1))


def test_a_full_disk_leaves_the_checkpoint_before_it(store: Checkpoints) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, store.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "could not be written: File too large; the one before it stands" in done.stderr
    loaded = store.load()
    assert loaded is not None
    assert loaded.parameters.tolist() == [0.0, 1.0, 2.0]
    assert list(store.path.parent.iterdir()) == [store.path]  # no half a file either

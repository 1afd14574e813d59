"""The check at the end of all tests sees what it is there for."""

import subprocess
import sys
import uuid
from pathlib import Path
from threading import Thread

import pytest
from tests.support.system.left_behind import MARK, folders, running
from tests.support.system.processes import alive, command_line, tree, until


def test_a_process_is_seen_even_when_its_parent_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    run = str(uuid.uuid4())
    monkeypatch.setenv(MARK, run)
    sleep = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {LINE!r}])"
    subprocess.run([sys.executable, "-c", sleep], check=True)
    ((pid, command),) = running(run).items()
    assert LINE in command
    subprocess.run(["kill", str(pid)], check=True)
    until(lambda: not running(run))


LINE = "import time; time.sleep(600)"


def test_folders_of_ours_are_seen(tmp_path: Path) -> None:
    for name in ("ff-1", "ff-2", "torchinductor"):
        (tmp_path / name).mkdir()
    assert folders(tmp_path) == ["ff-1", "ff-2"]


def test_a_process_that_ends_while_somebody_looks_is_gone_and_no_error() -> None:
    """Linux says ENOENT before the file is opened, and ESRCH between that and its reading."""
    for _ in range(60):  # one in ten met the second
        process = subprocess.Popen(["true"])
        waits = Thread(target=process.wait)
        waits.start()
        while alive(process.pid):
            tree(process.pid)
            command_line(process.pid)
        waits.join()
        assert (tree(process.pid), command_line(process.pid)) == ([], b"")

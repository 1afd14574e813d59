"""What tests leave behind when they have all run: processes, and folders in the temporary root."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.support.system.processes import alive, until

MARK = "FIELDFARE_TEST_RUN"  # what is started inherits it, also what outlives its parent
PREFIX = "ff-"  # of what tests make; a command that is killed on purpose may leave its own
SECONDS_TO_END = 60.0  # on a machine with other work


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give this worker a temporary root of its own, and look into it at the end."""
    tmp_path_factory.getbasetemp()  # pytest's own folders stay where it keeps them
    with tempfile.TemporaryDirectory(prefix="ff-") as root, pytest.MonkeyPatch.context() as patch:
        Path(root).chmod(0o711)  # other users, too, reach what tests open to them
        run = str(uuid.uuid4())
        patch.setenv(MARK, run)
        patch.setenv("TMPDIR", root)
        patch.setattr(tempfile, "tempdir", root)
        yield
        with suppress(AssertionError):
            until(lambda: not running(run), SECONDS_TO_END)
        assert running(run) == {}
        assert folders(Path(root)) == []


def running(run: str) -> dict[int, str]:
    """Command lines, by process id, of what was started with this mark and still runs."""
    mark = f"{MARK}={run}".encode()
    return {
        int(entry.parent.name): _command(entry.parent)
        for entry in Path("/proc").glob("[0-9]*/environ")
        if entry.parent.name != str(os.getpid())
        and mark in _read(entry).split(b"\0")
        and alive(int(entry.parent.name))
        and "multiprocessing" not in _command(entry.parent)  # ends with this process, not before
    }


def folders(root: Path) -> list[str]:
    """Names of what a test made in the root and did not remove."""
    return sorted(path.name for path in root.iterdir() if path.name.startswith(PREFIX))


def _command(process: Path) -> str:
    return _read(process / "cmdline").replace(b"\0", b" ").decode(errors="replace")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""

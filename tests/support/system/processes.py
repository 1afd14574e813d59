"""What the system says of processes: children, sockets, whether one is still there."""

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

SECONDS = 60.0  # on a machine with other work


def until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.05)


def runs(command: Sequence[str | Path]) -> bool:
    """Say whether a command succeeds."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def children(process: "subprocess.Popen[bytes]") -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in found.split()]


def alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it ended while this was read
        return False


def tree(pid: int) -> list[int]:
    """A process and all that descend from it; nothing where it has ended."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(below for child in found.split() for below in tree(int(child)))]


def command_line(pid: int) -> bytes:
    """What a process was started as; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def listening(pid: int) -> set[str]:
    """Inodes of the sockets at which a process can be reached: TCP, UDP and unix."""
    found = {row[9] for name in ("tcp", "tcp6") for row in _rows(name) if row[3] == "0A"}
    found |= {row[9] for name in ("udp", "udp6") for row in _rows(name)}
    found |= {row[6] for row in _rows("unix") if int(row[3], 16) & 0x10000}  # __SO_ACCEPTCON
    return found & _sockets_of(pid)


def _rows(table: str) -> list[list[str]]:
    return [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]


def _sockets_of(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            found.add(str(entry.readlink()))
    return {link[8:-1] for link in found if link.startswith("socket:[")}


def core_limits(pid: int) -> list[str]:
    """The soft and the hard limit of a process's core files."""
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = (line for line in limits if line.startswith("Max core file size"))
    return line.split()[-3:-1]

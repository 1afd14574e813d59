"""A memory cgroup: what a command and everything it starts may hold together, and did hold.

Files that are mapped or cached count, and are given back under pressure; what is beyond the limit
after that is killed. Needs a group that this user may make: root's, or one that is delegated.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")
_NO_GROUP: Final = 125  # of the shell that could not enter the group


@dataclass(frozen=True)
class MemoryGroup:
    """A group of processes under one limit.

    Attributes:
        folder: of the group, in the kernel's tree.
        second: whether it is of the second version of groups.
    """

    folder: Path
    second: bool

    def run(
        self, command: Sequence[str | Path], *, seconds: float, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in the group, children included.

        Raises:
            TimeoutExpired: it took longer.
        """
        enter = f'echo $$ > "$0" || exit {_NO_GROUP}; exec "$@"'
        whole = ["sh", "-c", enter, str(self.folder / "cgroup.procs"), *map(str, command)]
        return subprocess.run(
            whole, capture_output=True, text=True, check=False, timeout=seconds, env=env
        )

    @property
    def peak(self) -> int:
        """Bytes that all processes held at most, files in memory included."""
        name = "memory.peak" if self.second else "memory.max_usage_in_bytes"
        return int((self.folder / name).read_text())

    @property
    def anonymous(self) -> int:
        """Bytes that all processes hold now, without files."""
        rows = (line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(dict(rows)["anon" if self.second else "total_rss"])

    @property
    def killed(self) -> int:
        """How many processes were killed for want of memory."""
        name = "memory.events" if self.second else "memory.oom_control"
        rows = (line.split() for line in (self.folder / name).read_text().splitlines())
        return int(dict(rows)["oom_kill"])


@contextmanager
def memory_group(limit: int) -> Iterator[MemoryGroup]:
    """Make a group that may hold `limit` bytes; it is gone afterwards.

    Raises:
        OSError: no group can be made here.
    """
    second = not _V1.is_dir()
    above = (_V2 if second else _V1) / _own(second=second).lstrip("/")
    if second and "memory" not in (above / "cgroup.subtree_control").read_text().split():
        above = _V2  # a group with processes has no limited groups below it
    try:
        folder = Path(tempfile.mkdtemp(prefix="fieldfare-", dir=above))
    except OSError as error:
        raise OSError(
            f"expected a memory cgroup that this user may make (root, or delegated), found: {error}"
        ) from None
    try:
        (folder / ("memory.max" if second else "memory.limit_in_bytes")).write_text(str(limit))
        yield MemoryGroup(folder, second)
    finally:
        os.rmdir(folder)  # noqa: PTH106 -- the kernel's files in it cannot be removed, and need not


def _own(*, second: bool) -> str:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if (second and not names) or "memory" in names.split(","):
            return path
    return "/"

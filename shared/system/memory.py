"""Whether the memory of a process that holds secrets can come onto a disk: dumps and swap.

Pages are not locked: the default limit of locked memory is 8 MiB, records and libraries need
hundreds, and where locking is promised for later pages an allocation beyond the limit fails. So
swap has to be off or encrypted, which `unencrypted_swap` looks at.
"""

import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)
ROOT: Final = Path("/")


def keep_out_of_dumps() -> None:
    """Let no crash and no other process of this user write this process's memory down.

    The limit on core files binds children too; "not dumpable" also holds where cores go through
    a pipe, which knows no limit (core(5)), and keeps debuggers of the same user out (prctl(2)).

    Raises:
        OSError: the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"expected a process without dumps: {os.strerror(number)}")


def unencrypted_swap(root: Path = ROOT) -> tuple[str, ...]:
    """Return the active swap areas that are not seen to be encrypted, as /proc/swaps names them.

    Seen is what the kernel encrypts (dm-crypt, also below other mapped devices), and what stays in
    memory (zram with no disk behind it). A drive that encrypts by itself is not.

    Raises:
        OSError: /proc/swaps cannot be read.
    """
    lines = (root / "proc/swaps").read_text("utf-8", "surrogateescape").splitlines()[1:]
    found = (line.split()[:2] for line in lines if len(line.split()) > 1)
    return tuple(name for name, kind in found if not _is_safe(root, _unescaped(name), kind))


def _unescaped(name: str) -> Path:
    """Return a path as it is: spaces and the like stand in octal there."""
    return Path(os.fsdecode(os.fsencode(name).decode("unicode_escape").encode("latin-1")))


def _is_safe(root: Path, path: Path, kind: str) -> bool:
    try:
        at = root / path.relative_to("/")
        if kind == "file":
            number = at.stat().st_dev
            place = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
        else:
            place = root / "sys/class/block" / at.resolve().name
        return _device_is_safe(place.resolve(strict=True))
    except (OSError, ValueError):  # a file system of several devices, or one that is hidden
        return False


def _device_is_safe(device: Path) -> bool:
    """Tell whether a block device keeps to memory, or lies on what the kernel encrypts."""
    if device.name.startswith("zram"):
        return _said(device / "backing_dev") in {"none", ""}
    if _said(device / "dm/uuid").startswith("CRYPT-"):
        return True
    below = list(_below(device))
    return bool(below) and all(map(_device_is_safe, below))


def _below(device: Path) -> Iterator[Path]:
    slaves = device / "slaves"
    if slaves.is_dir():
        yield from (one.resolve() for one in slaves.iterdir())


def _said(path: Path) -> str:
    return path.read_text("ascii", "replace").strip() if path.is_file() else ""

"""What a process that holds secrets keeps off disks, which swap would write it, what is loaded."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Final

import pytest

from fieldfare.shared.system.late import LateValue
from fieldfare.shared.system.memory import unencrypted_swap

TOLD: Final = """
import ctypes, resource
from fieldfare.shared.system.memory import keep_out_of_dumps
keep_out_of_dumps()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))
"""
LATE: Final = """
import sys
from fieldfare.shared.system.late import late
named = late("fieldfare.shared.quiet_hours", "QuietHours")
before = "fieldfare.shared.quiet_hours" in sys.modules
try:
    named(1, 2, 3, 4, 5, 6, 7, 8, 9)
except TypeError:
    print(before, "fieldfare.shared.quiet_hours" in sys.modules)
"""
HEAD: Final = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
BLOCK: Final = "sys/class/block"


def test_no_crash_and_no_debugger_writes_its_memory_down() -> None:
    told = subprocess.run(
        [sys.executable, "-I", "-c", TOLD], check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["0", "0", "0"]


def written(root: Path, **files: str) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def device(root: Path, name: str, *, uuid: str = "", backing: str = "", on: str = "") -> None:
    """A block device as /sys shows it, and its node."""
    written(root, **{f"{BLOCK}/{name}/size": "8", f"dev/{name}": ""})
    if uuid:
        written(root, **{f"{BLOCK}/{name}/dm/uuid": uuid})
    if backing:
        written(root, **{f"{BLOCK}/{name}/backing_dev": backing})
    if on:
        slaves = root / BLOCK / name / "slaves"
        slaves.mkdir()
        slaves.joinpath(on).symlink_to(root / BLOCK / on)


@pytest.mark.parametrize(
    ("swaps", "expected"),
    [
        ("", ()),
        ("/dev/sda2\tpartition\t8\t0\t-2\n", ("/dev/sda2",)),
        ("/dev/dm-0\tpartition\t8\t0\t-2\n", ()),
        ("/dev/dm-1\tpartition\t8\t0\t-2\n", ()),
        ("/dev/dm-2\tpartition\t8\t0\t-2\n", ("/dev/dm-2",)),
        ("/dev/zram0\tpartition\t8\t0\t-2\n", ()),
        ("/dev/zram1\tpartition\t8\t0\t-2\n", ("/dev/zram1",)),
        ("/dev/gone\tpartition\t8\t0\t-2\n", ("/dev/gone",)),
        ("/swap\\040file\tfile\t8\t0\t-2\n", ("/swap\\040file",)),
        ("/dev/dm-0\tpartition\t8\t0\t1\n/dev/sda2\tpartition\t8\t0\t2\n", ("/dev/sda2",)),
    ],
)
def test_swap_that_is_not_seen_to_be_encrypted_is_named(
    tmp_path: Path, swaps: str, expected: tuple[str, ...]
) -> None:
    device(tmp_path, "sda2")
    device(tmp_path, "dm-0", uuid="CRYPT-LUKS2-0123-swap")
    device(tmp_path, "dm-1", uuid="LVM-0123", on="dm-0")
    device(tmp_path, "dm-2", uuid="LVM-4567", on="sda2")
    device(tmp_path, "zram0", backing="none")
    device(tmp_path, "zram1", backing="/dev/sda2")
    written(tmp_path, **{"swap file": "", "proc/swaps": HEAD + swaps})
    assert unencrypted_swap(tmp_path) == expected


def test_a_swap_file_is_as_safe_as_the_disk_it_lies_on(tmp_path: Path) -> None:
    device(tmp_path, "dm-0", uuid="CRYPT-LUKS2-0123-root")
    written(tmp_path, swapfile="", **{"proc/swaps": f"{HEAD}/swapfile\tfile\t8\t0\t-2\n"})
    number = (tmp_path / "swapfile").stat().st_dev
    place = tmp_path / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    assert unencrypted_swap(tmp_path) == ("/swapfile",)
    place.parent.mkdir(parents=True)
    place.symlink_to(tmp_path / BLOCK / "dm-0")
    assert unencrypted_swap(tmp_path) == ()


def test_without_a_list_of_swap_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="swaps"):
        unencrypted_swap(tmp_path)


def test_a_module_is_loaded_at_the_first_call() -> None:
    told = subprocess.run(
        [sys.executable, "-I", "-c", LATE], check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["False", "True"]


def test_whichever_thread_asks_it_is_made_once() -> None:
    """Who decides at a desk counts wrong codes in one place: two would give twice the tries."""
    made: list[int] = []
    together = Barrier(8)

    def make() -> int:
        made.append(len(made))
        return made[-1]

    found = LateValue(make)

    def ask(_: int) -> int:
        together.wait()
        return found()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {0}
    assert made == [0]

"""The machine that figures belong to, and the state of the sources that were measured."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

LIBRARIES: Final = ("numpy", "torch", "duckdb", "pyarrow", "flwr", "opendp", "cryptography")
ROOT: Final = Path(__file__).parents[3]


def machine() -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, memory, kernel, versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gigabytes": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str:
    """Return the commit of this checkout, with a + where files differ from it; "" without git."""
    asked = ("git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty=+")
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

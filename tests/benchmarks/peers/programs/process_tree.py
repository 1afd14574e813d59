"""Processor time of a program and of all processes that it started, those that ended too."""

import os
from pathlib import Path
from typing import Final

TICK: Final = os.sysconf("SC_CLK_TCK")
TIMES: Final = slice(11, 15)  # utime, stime, cutime, cstime: proc(5), behind the name


def processor_seconds() -> float:
    """Return seconds of this process and of all below it."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        found[int(place.parent.name)] = (int(fields[1]), sum(map(int, fields[TIMES])))
    below = {os.getpid()}
    while more := {one for one, (parent, _) in found.items() if parent in below} - below:
        below |= more
    return sum(found[one][1] for one in below if one in found) / TICK

"""What a process has loaded of our own source, and the most that it may: the wall, in figures.

A ceiling only goes down: who lets a process load less lowers it here, and nobody raises one.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PACKAGE: Final = "fieldfare"
SLACK: Final = 0.03  # of a ceiling: a process that loads so much less gets a lower one
_SHOW: Final = "import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"


@dataclass(frozen=True)
class Ceiling:
    """The most that one process may load.

    Attributes:
        module: that the process begins with.
        lines: of our own source, at import.
        most: once it has served; 0: twice as many.
    """

    module: str
    lines: int
    most: int = 0

    @property
    def served(self) -> int:
        """Lines that it may have loaded after a whole run."""
        return self.most or 2 * self.lines


# Wanted: the custodian 28,000, the auditor 15,000. Desk and watch load what answers when they are
# first asked: once they have served, twice what was wanted at import, 15,000 and 8,000.
CEILINGS: Final = {
    "node": Ceiling("client.node.process", 5_900),
    "door": Ceiling("client.custodian.release", 15_000),
    "custodian": Ceiling("client.daemon.process", 32_700),
    "institution's desk": Ceiling("client.desk.process", 8_200, most=30_000),
    "a decision at it": Ceiling("client.desk.deciding", 18_050),
    "an approval at it": Ceiling("client.desk.approving", 36_700),
    "institution's console": Ceiling("client.console.process", 18_050),
    "notices": Ceiling("client.oversight.notices_process", 13_100),
    "auditor": Ceiling("shared.cli.audit", 18_100),
    "SuperLink": Ceiling("server.superlink.process", 13_400),
    "runner": Ceiling("server.service.runner_process", 22_900),
    "run": Ceiling("server.service.run_process", 11_300, most=26_500),
    "coordinator's console": Ceiling("server.console.process", 30_600),
    "coordinator's desk": Ceiling("server.desk.process", 3_500),
    "coordinator's watch": Ceiling("server.upkeep.watch_process", 5_900, most=16_000),
}


def own_lines(modules: Iterable[str]) -> int:
    """Count the lines of our own source among modules; what protoc wrote is not ours."""
    found = {_file(name) for name in modules if name.split(".")[0] == PACKAGE}
    return sum(len(path.read_bytes().splitlines()) for path in found if path is not None)


def loaded_at_import(module: str) -> list[str]:
    """Return the modules that a fresh interpreter has after one import."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _SHOW.format(module=f"{PACKAGE}.{module}")],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = json.loads(done.stdout)
    return found


def _file(name: str) -> Path | None:
    """Return a module's file in the checkout; the root name is the folder `api`."""
    parts = name.split(".")[1:]
    for folder in (ROOT, ROOT / "api"):
        place = folder.joinpath(*parts) if parts else ROOT / "api"
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file() and not path.stem.endswith("_pb2"):
                return path
    return None

"""After a whole run each process has loaded at most twice what it may load at import.

The processes are those that people start. A program in Python's place writes down, beside each,
what it has loaded so far.
"""

import json
import stat
import sys
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.beds import check_whole, running, small_bed
from tests.support.system.loaded import CEILINGS, PACKAGE, own_lines
from tests.support.system.processes import until

from fieldfare.simulations.demo.testbed import in_this_process

pytestmark = pytest.mark.faults

SERVED: Final = ("node", "custodian", "SuperLink", "runner", "run")
PROGRAM: Final = """#!{python} -I
import json, os, runpy, sys, threading, time

sys.executable = __file__  # what this process starts is written down as well
typed = sys.argv[1:]
module, given = "{package}.shared.cli.root", typed
if typed[:2] == ["-I", "-m"]:
    module, given = typed[2], typed[3:]
sys.argv = ["fieldfare", *given]


def write():
    path = os.path.join({folder!r}, f"{{os.getpid()}}.json")
    while True:
        with open(path + ".new", "w") as file:
            json.dump([module, sorted(sys.modules)], file)
        os.replace(path + ".new", path)
        time.sleep(0.2)


threading.Thread(target=write, daemon=True).start()
if module == "{package}.shared.cli.root":
    from {package}.shared.cli.root import main

    main()
else:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def recording_program(folder: Path) -> Path:
    """Write the program that starts a process and writes down what it loads."""
    path = folder / "python"
    path.write_text(PROGRAM.format(python=sys.executable, package=PACKAGE, folder=str(folder)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def loaded_lines(folder: Path) -> dict[str, int]:
    """Return the most lines that a process of each module was seen with."""
    found: dict[str, int] = {}
    for path in folder.glob("*.json"):
        module, modules = json.loads(path.read_text())
        name = module.removeprefix(f"{PACKAGE}.")
        found[name] = max(found.get(name, 0), own_lines(modules))
    return found


def test_no_process_loads_more_than_twice_its_ceiling_for_a_run(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    bed = small_bed(tmp_path, steps=2)
    bed.command, bed.program = in_this_process, recording_program(seen)
    with running(bed):
        run = bed.run(bed.agree())
        check_whole(bed, bed.until_ended(run))
        modules = {CEILINGS[name].module for name in SERVED}
        until(lambda: modules <= set(loaded_lines(seen)))
        found = loaded_lines(seen)
    for name in SERVED:
        ceiling = CEILINGS[name]
        assert 0 < found[ceiling.module] <= ceiling.served, name

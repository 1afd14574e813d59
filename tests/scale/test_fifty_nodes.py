"""Fifty deployed institutions on one host: ten steps, with two that are late and two that are lost.

Real processes, each home with its keys, its ledger that syncs, and its node behind TLS. Six without
FIELDFARE_SCALE_LONG. `pytest -s` shows what their memory came to.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Final

import pytest
from tests.support.federations.beds import STUDY, UNITS, resume_by_itself, write_records
from tests.support.federations.outages import (
    CUSTODIAN,
    NODE,
    RUN,
    SUPERLINK,
    check_run,
    kill,
    paused,
    process,
    until_step,
)
from tests.support.system.ports import free_ports
from tests.support.system.processes import tree

from fieldfare.client.home.layout import Home
from fieldfare.client.wire.admin_client import custodian_status
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.simulations.demo.testbed import COORDINATOR, Bed, in_this_process

LONG: Final = bool(os.environ.get("FIELDFARE_SCALE_LONG"))
pytestmark = [pytest.mark.promises, pytest.mark.timeout(3600 if LONG else 1200)]
INSTITUTIONS: Final = 50 if LONG else 6
STEPS: Final = 10
# Who is lost co-signs nothing, which a study with a smaller t takes for a story told to some; with
# more than 11 beyond t, an institution refuses: its masks would be all that hides its own sum.
TOLERANCE: Final = 40 if LONG else 2
DEADLINE: Final = 300.0 if LONG else 20.0  # seconds: only who is gone misses it
WAIT: Final = "wait_seconds = 90.0"
HELLO_SECONDS: Final = 900.0  # fifty custodians on two cores answer a run's first call in minutes
LATE_SECONDS: Final = 20.0 if LONG else 4.0
RUN_SECONDS: Final = 2400.0
NODE_MEGABYTES, CUSTODIAN_MEGABYTES = 100.0, 200.0


@pytest.fixture
def bed() -> Iterator[Bed]:
    """Founded institutions of which none runs yet; none does afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="ff-"))  # short: sockets lie below it
    names = [f"bank-{number + 1:02d}" for number in range(INSTITUTIONS)]
    records = {
        name: write_records(folder / f"{name}.parquet", seed=seed)
        for seed, name in enumerate(names)
    }
    text = STUDY.format(units=UNITS * len(names), steps=STEPS, deadline=DEADLINE, attempts=4)
    text = text.replace("collusion_tolerance = 1", f"collusion_tolerance = {TOLERANCE}")
    text = text.replace("institutions = 3", f"institutions = {TOLERANCE + 2}")
    text = text.replace("delta = 1e-5", "delta = 1e-5\nspare_releases = 4")
    (folder / "study.toml").write_text(text)
    made = Bed(folder / "bed", records, folder / "study.toml", command=in_this_process)
    made.ports = free_ports
    try:
        made.found()
        resume_by_itself(made, on=False)
        settings = CoordinatorHome(made.coordinator_home).settings
        text = settings.read_text()
        assert text.count(WAIT) == 1
        settings.write_text(text.replace(WAIT, f"wait_seconds = {HELLO_SECONDS}"))
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def megabytes(pid: int) -> float:
    """A process's proportional share of memory (proc_pid_smaps(5))."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
    (line,) = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) / 1000


def serves(bed: Bed, name: str, study: str) -> bool:
    """Whether a custodian has loaded what was approved; until then it does not know the study."""
    status = custodian_status(Home(bed.home(name)).admin_socket)
    return status is not None and any(one.id == study and one.serving for one in status.studies)


def memory(bed: Bed) -> dict[str, list[float]]:
    """What each process holds, by what it is."""
    found: dict[str, list[float]] = {"node": [], "custodian": [], "command": []}
    for name in bed.names:
        node, custodian = process(bed, name, NODE), process(bed, name, CUSTODIAN)
        rest = [pid for pid in tree(bed.pid(name)) if pid not in {node, custodian}]
        found["node"].append(megabytes(node))
        found["custodian"].append(megabytes(custodian))
        found["command"].append(sum(map(megabytes, rest)))
    run, link = process(bed, COORDINATOR, RUN), process(bed, COORDINATOR, SUPERLINK)
    rest = [pid for pid in tree(bed.pid(COORDINATOR)) if pid not in {run, link}]
    found |= {"run": [megabytes(run)], "SuperLink": [megabytes(link)]}
    return found | {"coordinator": [sum(map(megabytes, rest))]}


def test_fifty_nodes_finish_ten_steps_two_late_and_two_lost(bed: Bed) -> None:
    bed.start_coordinator()
    for name in bed.names:
        bed.start_institution(name)
    bed.until(lambda: set(bed.names) <= bed.connected(), "connected nodes", RUN_SECONDS)
    study = bed.agree()
    for name in bed.names:
        bed.until(partial(serves, bed, name, study), f"{name} to serve", RUN_SECONDS)
    began = time.monotonic()
    run = bed.run(study)
    until_step(bed, run, 2, RUN_SECONDS)
    held = memory(bed)
    with ExitStack() as late:
        for name in bed.names[:2]:
            late.enter_context(paused(process(bed, name, CUSTODIAN)))
        time.sleep(LATE_SECONDS)
    until_step(bed, run, 4, RUN_SECONDS)
    lost = bed.names[-2:]
    kill(*(pid for name in lost for pid in tree(bed.pid(name))))
    for name in lost:
        bed.stop_one(name)
    row = bed.until_ended(run, RUN_SECONDS)
    seconds = time.monotonic() - began

    report = check_run(bed, row, failed=len(lost))
    releases = {name: one["releases"] for name, one in report["institutions"].items()}
    assert len(releases) == INSTITUTIONS
    whole = {releases[name] for name in bed.names if name not in lost}
    assert len(whole) == 1  # who was late is in every sum
    assert all(releases[name] < min(whole) for name in lost)
    assert 1 <= report["failed_attempts"] <= len(lost)
    said = {role: (round(fmean(each)), round(max(each))) for role, each in held.items()}
    total = round(sum(map(sum, held.values())))
    print(json.dumps({"seconds": round(seconds), "total": total, "mean, most": said}))  # noqa: T201
    assert fmean(held["node"]) <= NODE_MEGABYTES
    assert fmean(held["custodian"]) <= CUSTODIAN_MEGABYTES

"""Processes that carry out runs are killed at random moments, and nobody types `run resume`."""

import os
import time
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from tests.support.federations.beds import resume_by_itself, running, small_bed
from tests.support.federations.outages import (
    RUN,
    SECONDS,
    begin,
    check_run,
    kill,
    processes,
    until_step,
)
from tests.support.system.processes import until

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.server.studies.resuming import MOST
from fieldfare.simulations.demo.testbed import COORDINATOR, Bed

pytestmark = pytest.mark.promises  # one of its kind stands in `make faults`: test_faults_kills

# One of two kills; `make nightly PART=attacks` takes six of three.
LONG: Final = "FIELDFARE_RESUME_SEEDS" in os.environ
SEEDS: Final = range(int(os.environ.get("FIELDFARE_RESUME_SEEDS", "1")))
RUNNER: Final = "server.service.runner_process"
KILLS: Final = 3 if LONG else 2  # of five that a run may go on after; pauses are 1, 4 and 16 s
STEPS: Final = 40 if LONG else 28


def victims(bed: Bed, random: np.random.Generator) -> list[int]:
    """The processes of one kind, as soon as one runs: after a kill there may be none."""
    found: list[list[int]] = []

    def seen() -> bool:
        found[:] = filter(None, (processes(bed, COORDINATOR, module) for module in (RUN, RUNNER)))
        return bool(found)

    until(seen, SECONDS)
    return found[random.integers(len(found))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_ends_by_itself_whatever_is_killed(seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    with running(small_bed(tmp_path)) as bed:
        resume_by_itself(bed, on=True)
        bed.until_connected()
        run = begin(bed, "by-itself", steps=STEPS)
        for step in range(1, KILLS + 1):
            until_step(bed, run, step)
            time.sleep(random.uniform(0, 2))
            kill(*victims(bed, random))
        until(lambda: bed.row(run).state is RunStatus.FINISHED, 3 * SECONDS)
        check_run(bed, bed.row(run))
        with run_store(CoordinatorHome(bed.home(COORDINATOR)).runs_database) as store:
            assert 1 <= store.restarts(run).automatic <= MOST
            assert [row.run for row in store.rows()] == [run]

"""Processes of a federation that are killed in the middle of a run: it ends as if they were not.

One coordinator and three institutions of which none can be missed; every test runs its own study.
"""

import time
from collections.abc import Iterator
from typing import Final

import pytest
from tests.support.federations.beds import running, small_bed
from tests.support.federations.outages import (
    CUSTODIAN,
    LEASE_SECONDS,
    NODE,
    RUN,
    SUPERLINK,
    admissions,
    begin,
    check_run,
    kill,
    kill_everything,
    paused,
    picture,
    process,
    resume,
    until_step,
)
from tests.support.system.processes import alive

from fieldfare.simulations.demo.testbed import COORDINATOR, Bed, in_this_process

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("kills")]

VICTIM: Final = "bank-a"
ASKED_SECONDS: Final = 2.0


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    bed = small_bed(tmp_path_factory.mktemp("kills"))
    bed.command = in_this_process
    with running(bed) as started:
        yield started


@pytest.fixture
def bed(everything: Bed) -> Bed:
    """All of it, whatever the test before left."""
    everything.until_connected()
    return everything


def test_a_custodian_is_killed(bed: Bed) -> None:
    run = begin(bed, "custodian")
    until_step(bed, run, 2)
    custodian = process(bed, VICTIM, CUSTODIAN)
    kill(custodian)
    check_run(bed, bed.until_ended(run), failed=1)  # its keys are gone: the run is opened anew
    assert process(bed, VICTIM, CUSTODIAN) != custodian


def test_a_run_s_process_is_killed_and_the_run_resumed(bed: Bed) -> None:
    run = begin(bed, "serverapp")
    for step in (1, 4):
        until_step(bed, run, step)
        kill(process(bed, COORDINATOR, RUN))
        resume(bed, run)
    check_run(bed, bed.until_ended(run))


def test_a_superlink_is_killed_and_started_again(bed: Bed) -> None:
    run = begin(bed, "superlink")
    until_step(bed, run, 2)
    superlink, task = process(bed, COORDINATOR, SUPERLINK), process(bed, COORDINATOR, RUN)
    kill(superlink)
    check_run(bed, bed.until_ended(run))
    assert process(bed, COORDINATOR, SUPERLINK) != superlink
    assert alive(task) or picture(bed, run)["state"] == "finished"


def test_a_node_is_killed_in_the_middle_of_a_step_and_is_back_after_its_lease(bed: Bed) -> None:
    run = begin(bed, "node", deadline=LEASE_SECONDS)
    until_step(bed, run, 2)
    before = admissions(bed)
    with paused(process(bed, VICTIM, CUSTODIAN)):
        time.sleep(ASKED_SECONDS)  # the node has the request, and waits for its custodian
        kill(process(bed, VICTIM, NODE))
    check_run(bed, bed.until_ended(run, LEASE_SECONDS))
    assert admissions(bed) == before | {VICTIM: before[VICTIM] + 1}


def test_the_whole_host_is_killed_and_brought_up_again(bed: Bed) -> None:
    run = begin(bed, "host")
    until_step(bed, run, 2)
    before = admissions(bed)
    kill_everything(bed)
    bed.start_coordinator()
    for name in bed.names:
        bed.start_institution(name)
    # The SuperLink holds the dead nodes for connected until their leases end.
    bed.until(lambda: all(admissions(bed)[n] > before[n] for n in before), "nodes", LEASE_SECONDS)
    resume(bed, run)
    check_run(bed, bed.until_ended(run), failed=1)

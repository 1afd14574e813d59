"""What a federation loses in the middle of a run, for a while or for good: it ends as it should.

A coordinator and four institutions, of which one can be missed; the coordinator's files lie on a
disk of their own, and a line that can be cut leads to it. Every test runs a study of its own.
"""

import json
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.support.federations.beds import small_bed, vouch_elsewhere
from tests.support.federations.outages import (
    CUSTODIAN,
    LEASE_SECONDS,
    RUN,
    SECONDS,
    begin,
    check_run,
    kill,
    paused,
    picture,
    process,
    processes,
    resume,
    until_step,
)
from tests.support.network.cut_network import Way, way_to
from tests.support.system.processes import runs, tree, until
from tests.support.system.skewed_clock import SkewedClock, skewed_clock

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.rows import RunStatus
from fieldfare.shared.errors import RunError
from fieldfare.simulations.demo.testbed import (
    COMMAND,
    COORDINATOR,
    Bed,
    edit,
    in_this_process,
)

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("losses")]

BANKS: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
LAST: Final = BANKS[-1]
DISK_MIB: Final = 24
CUT_SECONDS: Final = 30.0
SKEW_SECONDS: Final = 600
DEADLINE: Final = 15.0  # seconds: somebody misses it, and nobody else on a machine with other work


@dataclass(frozen=True)
class Place:
    """A bed, the way to its coordinator, the disk of that, and the last bank's clock."""

    bed: Bed
    way: Way
    disk: Path | None
    clock: SkewedClock | None


def own_disk(folder: Path, stack: ExitStack) -> Path | None:
    """A small disk at a folder, where this user may mount one."""
    folder.mkdir(parents=True)
    size = f"size={DISK_MIB}m,mode=700"
    if os.geteuid() != 0 or not runs(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder]):
        return None
    stack.callback(runs, ["umount", "--lazy", folder])
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        bed = small_bed(tmp_path_factory.mktemp("losses"), names=BANKS)
        bed.command = in_this_process
        disk = own_disk(bed.coordinator_home, stack)
        bed.found()
        vouch_elsewhere(*map(bed.home, BANKS))  # one is gone for good while another starts
        port = load_settings(CoordinatorHome(bed.coordinator_home)).bind_port
        way = stack.enter_context(way_to(port))
        for name in BANKS:
            edit(bed.home(name) / "node.toml", f"127.0.0.1:{port}", f"127.0.0.1:{way.port}")
        stack.callback(bed.stop)
        clock = skewed_clock(tmp_path_factory.mktemp("clock"))
        bed.start_coordinator()
        for name in BANKS[:-1]:
            bed.start_institution(name)
        with pytest.MonkeyPatch.context() as environment:
            for variable, value in (clock.environment if clock else {}).items():
                environment.setenv(variable, value)
            bed.start_institution(LAST)
        bed.until_connected()
        yield Place(bed, way, disk, clock)


@pytest.fixture
def bed(place: Place) -> Bed:
    """All of it, whatever the test before left."""
    place.bed.until_connected()
    return place.bed


def fill(file: Path) -> None:
    """Let a file take all that its disk has left."""
    with file.open("ab", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))


def said(bed: Bed, name: str) -> str:
    return bed.log(name).read_text()


def clock_check(bed: Bed, clock: SkewedClock) -> dict[str, str]:
    """What `institution check` says of the clock, at the last bank."""
    done = subprocess.run(
        [COMMAND, "institution", "check", "--home", bed.home(LAST), "--skip-records", "--json"],
        env=os.environ | clock.environment,
        capture_output=True,
        check=False,
    )
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["topic"] == "clock"]
    return dict(found)


@pytest.mark.promises
def test_a_slow_institution_misses_the_deadline_and_the_others_go_on(bed: Bed) -> None:
    run = begin(bed, "slow", deadline=DEADLINE)
    until_step(bed, run, 2)
    with paused(process(bed, LAST, CUSTODIAN)):
        row = bed.until_ended(run)
    report = check_run(bed, row, failed=1)
    assert report["failed_attempts"] == 1
    assert report["institutions"][LAST]["releases"] < report["institutions"]["bank-a"]["releases"]


def test_a_network_cut_of_30_seconds_is_waited_for(bed: Bed, place: Place) -> None:
    run = begin(bed, "cut", deadline=90.0)
    until_step(bed, run, 2)
    with place.way.cut():
        time.sleep(CUT_SECONDS)
        assert not bed.row(run).state.ended
    report = check_run(bed, bed.until_ended(run))
    assert report["failed_attempts"] == 0


def test_a_clock_that_jumps_ten_minutes_is_named_and_the_others_go_on(
    bed: Bed, place: Place
) -> None:
    if place.clock is None:
        pytest.skip("a clock of its own for one institution needs a C compiler (cc)")
    run = begin(bed, "clock", deadline=DEADLINE)
    until_step(bed, run, 2)
    place.clock.set(SKEW_SECONDS)
    check_run(bed, bed.until_ended(run), failed=1)
    until(lambda: "does not take this node's signature: the clock" in said(bed, LAST), SECONDS)
    assert clock_check(bed, place.clock)["outcome"] == "fail"
    place.clock.set(0)
    bed.until(lambda: LAST in bed.connected(), "a node whose clock is right", LEASE_SECONDS)
    assert clock_check(bed, place.clock)["outcome"] == "pass"


def test_a_full_disk_ends_the_run_with_a_reason_and_room_lets_it_go_on(
    bed: Bed, place: Place
) -> None:
    if place.disk is None:
        pytest.skip("a small disk can be mounted by root alone")
    run = begin(bed, "disk", steps=8)
    until_step(bed, run, 2)
    filler = place.disk / "filler"
    fill(filler)
    until(lambda: not processes(bed, COORDINATOR, RUN), SECONDS)
    fill(filler)  # what the process that has ended gave back
    with pytest.raises(RunError, match="free some space on the disk"):
        bed.coordinator("runs")
    until(lambda: "free some space on the disk, then resume the run" in said(bed, COORDINATOR))
    filler.unlink()
    resume(bed, run)
    check_run(bed, bed.until_ended(run))


@pytest.mark.promises
def test_a_run_that_may_write_no_more_ends_with_a_reason_and_goes_on_later(bed: Bed) -> None:
    """As a quota does it, which takes no root to set: the SuperLink goes on meanwhile."""
    run = begin(bed, "quota", steps=8)
    until_step(bed, run, 2)
    resource.prlimit(process(bed, COORDINATOR, RUN), resource.RLIMIT_FSIZE, (0, 0))
    until(lambda: picture(bed, run)["life"] == "interrupted", SECONDS)
    assert "look at the disk's space, quotas and health" in picture(bed, run)["note"]
    resume(bed, run)
    check_run(bed, bed.until_ended(run))


def test_an_institution_that_is_gone_for_good_is_gone_on_without(bed: Bed) -> None:
    run = begin(bed, "gone", deadline=DEADLINE, steps=8)
    until_step(bed, run, 2)
    kill(*tree(bed.pid(LAST)))
    bed.stop_one(LAST)
    until_step(bed, run, 4)
    kill(process(bed, COORDINATOR, RUN))
    resume(bed, run)
    report = check_run(bed, bed.until_ended(run), failed=1)
    assert report["failed_attempts"] == 1
    assert set(report["institutions"]) == set(BANKS)


@pytest.mark.promises
def test_fewer_than_the_study_wants_end_the_run_until_they_are_back(place: Place) -> None:
    bed = place.bed
    bed.stop_one(LAST)  # nothing, where it is gone for good
    bed.until_connected(BANKS[:3])
    # The last bank is gone, and the run would wait for it before it opens.
    settings = CoordinatorHome(bed.coordinator_home).settings
    edit(settings, "wait_seconds = 90.0", "wait_seconds = 10.0")
    run = begin(bed, "few", deadline=DEADLINE)
    until_step(bed, run, 2)
    bed.stop_one("bank-c")
    row = bed.until_ended(run)
    assert row.state is RunStatus.FAILED
    assert (
        "expected at least 3 institutions, found 2 left (bank-c: no answer in time)" in row.reason
    )
    bed.start_institution("bank-c")
    bed.until_connected(BANKS[:3])
    edit(settings, "wait_seconds = 10.0", "wait_seconds = 90.0")
    resume(bed, run)
    check_run(bed, bed.until_ended(run), failed=1)

"""A custodian over workers: one debit and one noise a release, whoever dies; own records."""

import os
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from tests.client.sums.test_local_workers import workers_of
from tests.support.federations.bench import NAMES, MakeBench, OpenedVector
from tests.support.homes.institutions import Coordinator, OpenCustody, home_study, loaded
from tests.support.homes.journals import logged

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.noise_stock import NoiseStock
from fieldfare.client.journal.decisions import JournalDecisions
from fieldfare.client.journal.journal import Journal
from fieldfare.client.sums import local_workers
from fieldfare.client.sums.partitioned_sums import PartitionedSums, WholeUnits, Workplace
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import Refusal, ReleaseKind
from fieldfare.shared.study.study import Study


class CountedNoise:
    """How often noise was drawn; none is drawn ahead."""

    protection = Protection.EXACT

    def __init__(self) -> None:
        self.source, self.drawn = ExactNoise(), 0

    def sample(self, entries: int, scale: float) -> np.ndarray:
        self.drawn += 1
        return self.source.sample(entries, scale)


def made_up(study: Study, units: int) -> WholeUnits:
    random = np.random.default_rng(9)
    positions = random.integers(0, [[3 * 256 + 1], [4]], (2, units)).astype(np.uint16)
    data = EncodedUnits(positions, random.integers(0, 2, units).astype(np.uint8))
    order = random.integers(0, 2**64 - 1, units, dtype=np.uint64)
    return WholeUnits(data, random.random(units) < study.evaluation.holdout, order)


@pytest.mark.faults
def test_a_worker_that_dies_in_a_release_costs_no_second_debit_and_no_second_noise(
    make_bench: MakeBench, tmp_path: Path
) -> None:
    bench = make_bench()
    name, custodian = NAMES[0], bench.custodian(NAMES[0])
    sums = made_up(bench.study, 900).sums(bench.study, Workplace(tmp_path / "spill", workers=2))
    local = workers_of(sums)
    custodian.approve(bench.study, lambda: sums)
    noise = CountedNoise()
    custodian._door._noise = NoiseStock(noise)
    run = bench.open_run()
    run.everybody(run.request(ReleaseKind.REHEARSAL))
    sums.vector(ReleaseKind.TRAINING, np.zeros(sums.gradients.entries))
    stopped = local.processes[0]
    os.kill(stopped, signal.SIGSTOP)
    request, answers = run.request(), list[object]()
    asking = threading.Thread(target=lambda: answers.append(run.ask(name, request)))
    asking.start()
    time.sleep(0.3)
    assert asking.is_alive()
    os.kill(stopped, signal.SIGKILL)
    asking.join(60)
    assert isinstance(answers[0], OpenedVector)
    assert stopped not in local.processes
    assert noise.drawn == 1
    assert bench.ledger(name).spent() == bench.plan.training.cost
    again = run.ask(name, request)
    assert isinstance(again, OpenedVector)
    assert (again.reply, again.vector) == (answers[0].reply, answers[0].vector)
    assert bench.ledger(name).spent() == bench.plan.training.cost
    local.close()


@pytest.mark.faults
def test_workers_that_die_are_a_refusal_that_the_institutions_own_log_has(
    make_bench: MakeBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed again and again, as for want of memory; nothing is paid for, and a repeat is free."""
    monkeypatch.setattr(local_workers, "MOST_DEATHS", 1)
    bench = make_bench()
    name, folder = NAMES[0], tmp_path / "log"
    sums = made_up(bench.study, 900).sums(bench.study, Workplace(tmp_path / "spill", workers=2))
    local = workers_of(sums)
    decisions = JournalDecisions(Journal.open(folder, clock=lambda: datetime.now(UTC)))
    custodian = Custodian(bench.party(name), bench.ledger(name), ExactNoise(), decisions)
    custodian.approve(bench.study, lambda: sums)
    bench.remembers(name, custodian)
    run = bench.open_run()
    sums.vector(ReleaseKind.TRAINING, np.zeros(sums.gradients.entries))
    os.kill(local.processes[0], signal.SIGKILL)
    request = run.request()
    assert run.ask(name, request) == Refusal(RefusalCode.LEDGER_UNAVAILABLE)
    assert bench.ledger(name).spent() == 0
    (refusal,) = (one for one in logged(folder) if one["event"] == "refusal")
    assert refusal["details"]["code"] == "ledger_unavailable"
    assert "expected a worker that adds records up" in refusal["details"]["rule"]
    assert isinstance(run.ask(name, request), OpenedVector)
    assert bench.ledger(name).spent() == bench.plan.training.cost
    local.close()


def test_a_small_home_sums_in_its_own_process(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    found = loaded(custody_of(), home_study()).sums
    assert isinstance(found, StudySums)
    assert not coordinator.homes[NAMES[0]].spill.exists()


@pytest.mark.faults
def test_a_home_says_how_many_workers_sum_its_records(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    home, study = coordinator.homes[NAMES[0]], home_study()
    one = loaded(custody_of(), study).sums
    with home.settings.open("a") as file:
        file.write("\n[partitions]\nworkers = 3\nmemory = 256\n")
    found = loaded(custody_of(NAMES[0]), study).sums
    assert isinstance(found, PartitionedSums)
    assert (found.split, found.study.id) == (one.split, study.id)
    at = np.linspace(-1.0, 1.0, found.gradients.entries)
    for kind in (ReleaseKind.TRAINING, ReleaseKind.EVALUATION):
        assert found.vector(kind, at).tolist() == one.vector(kind, at).tolist()
    assert len(workers_of(found).processes) == 3
    assert list(home.spill.iterdir()) == []
    workers_of(found).close()

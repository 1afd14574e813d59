"""What a run's own sums say of its noise, and the lower bound from one run."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom
from tests.simulations.conftest import SimulationFolder
from tests.support.rows import night

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource, SimulatedNoise
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import LocalFederation, noise_source
from fieldfare.simulations.federation.noise_audit import (
    NoiseAudit,
    WatchedRecord,
    WatchedSums,
    audited,
)
from fieldfare.simulations.federation.one_run import chance_of_right, one_run
from fieldfare.simulations.federation.population import RecordsChoice, load_population
from fieldfare.simulations.report.audit import audit_sentences


class Less:
    """Noise that is too small by a factor."""

    protection = Protection.SIMULATED

    def __init__(self, stream: int, factor: float) -> None:
        self._source = SimulatedNoise(np.random.default_rng(stream))
        self._factor = factor

    def sample(self, entries: int, scale: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        if not self._factor:
            return np.zeros(entries, dtype=np.int64)
        return np.asarray(self._source.sample(entries, scale * self._factor))


def run(work: SimulationFolder, study: Study, factor: float = 1.0) -> NoiseAudit:
    choice = RecordsChoice((str(work.records_file),), institution_column="bank")
    population = load_population(study, choice, seed=0)
    sums: Mapping[str, WatchedSums] = {
        name: WatchedSums.of(StudySums.prepare(study, one.data, population.holdout[name]))
        for name, one in population.records.items()
    }
    sources: Mapping[str, NoiseSource] = {
        name: Less(stream, factor) for stream, name in enumerate(sums)
    }
    with LocalFederation(study, sums, Protection.SIMULATED, seed=0, sources=sources) as federation:
        job = federation.job()
        job.record = record = WatchedRecord(federation.plan, sums)
        federation.run(job)
    found = audited(record, np.random.default_rng(0))
    assert found is not None
    return found


@pytest.fixture
def study(work: SimulationFolder) -> Study:
    return work.write_study(training={"steps": "40"}, evaluation={"score_bins": "64"})


def test_honest_noise_is_what_was_debited(work: SimulationFolder, study: Study) -> None:
    found = run(work, study)
    assert not found.flagged
    assert {one.kind for one in found.kinds} == {"training", "evaluation"}
    low, high = found.epsilon_interval
    assert low < found.claimed_epsilon < high
    assert low < found.epsilon < high
    assert found.claimed_epsilon < study.privacy.epsilon
    assert "debited" in audit_sentences({"audit": found.as_dict()})[0]


def test_less_noise_costs_more_and_is_flagged(work: SimulationFolder, study: Study) -> None:
    found = run(work, study, 0.5)
    assert found.flagged
    assert found.epsilon_interval[0] > found.claimed_epsilon
    assert audit_sentences({"audit": found.as_dict()})[0].startswith("AUDIT")


def test_no_noise_at_all_has_no_epsilon(work: SimulationFolder, study: Study) -> None:
    found = run(work, study, 0.0)
    assert found.flagged
    assert math.isinf(found.epsilon)
    assert found.as_dict()["epsilon"] is None
    assert audit_sentences({"audit": found.as_dict()})


def test_of_local_steps_the_evaluation_alone_is_looked_into(work: SimulationFolder) -> None:
    """What steps inside added lies within a sum."""
    data = work.write_study().model_dump(mode="json")
    data["training"] = {"mode": "local", "steps": 3, "local_steps": 2}
    found = run(work, Study.model_validate(data))
    assert [one.kind for one in found.kinds] == ["evaluation"]
    assert not found.flagged


def test_nothing_is_said_where_nothing_was_audited() -> None:
    assert audit_sentences({"audit": None}) == []


@pytest.mark.promises
def test_the_noise_is_the_same_in_real_runs(work: SimulationFolder, study: Study) -> None:
    """Watching changes no sum: two sources of one seed give the one model."""
    choice = RecordsChoice((str(work.records_file),), institution_column="bank")
    population = load_population(study, choice, seed=0)
    plain = {
        name: StudySums.prepare(study, one.data, population.holdout[name])
        for name, one in population.records.items()
    }
    models = []
    for sums in (plain, {name: WatchedSums.of(one) for name, one in plain.items()}):
        with LocalFederation(study, sums, Protection.SIMULATED, seed=0) as federation:
            models.append(federation.run(federation.job()).parameters)
    assert (models[0] == models[1]).all()
    assert noise_source(Protection.SIMULATED, seed=0, stream=0).protection is Protection.SIMULATED


@pytest.mark.parametrize("epsilon", [2.0, *night(0.5, 5.0)])
def test_the_bound_holds_for_the_best_mechanism(epsilon: float) -> None:
    """Randomised response spends all of its epsilon, and is bounded below it in 19 of 20."""
    random, above = np.random.default_rng(1), 0
    for _ in range(200):
        coins = random.integers(0, 2, 400).astype(bool)
        told = np.where(random.uniform(size=400) < 1 / (1 + math.exp(epsilon)), ~coins, coins)
        found = one_run(told + random.uniform(size=400) / 2, coins, 0.0)
        assert found is not None
        above += found.epsilon > epsilon
    assert above <= binom.ppf(1 - 1e-4, 200, 0.05)


def test_the_bound_is_a_binomial_tail_and_a_correction() -> None:
    assert chance_of_right(100, 20, 0, 1.0, 1e-5) == 1
    assert chance_of_right(100, 20, 20, 0.0, 0.0) == pytest.approx(2.0**-20)
    assert chance_of_right(100, 20, 18, 1.0, 1e-3) > chance_of_right(100, 20, 18, 1.0, 0.0)
    assert one_run(np.zeros(10), np.zeros(10, dtype=bool), 0.0) is None
    found = one_run(np.arange(200.0), np.arange(200) >= 100, 1e-5)
    assert found is not None
    assert found == replace(found, guesses=40, right=40)
    assert 2 < found.epsilon < 4

"""A white-box canary audit of the whole path: the claimed epsilon is the one that is measured.

Orthogonal unit gradients of norm C are put into one institution's sums, each in or out by a fair
coin. An adversary who knows all other units, and the noise of the t members that collude, scores
each canary on the decoded sums; how far "in" and "out" lie apart is mu (Gaussian DP: Dong, Roth
and Su 2019; the audit: Andrew et al. 2024, arXiv 2302.03098; Steinke, Nasr and Jagielski 2023).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.linalg import hadamard
from scipy.stats import kstest
from tests.support.federations.bench import MakeBench, seeds_in

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.evaluation.score_table import prevalence_log_odds
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import UnitSums, model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.plan import COUNT_GAMMA_BITS, plan_for
from fieldfare.shared.ring import centre
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.study.study import Study
from fieldfare.shared.study.training_section import TrainingSection
from fieldfare.simulations.attacks.canaries import OverheardNoise, ScaledNoise
from fieldfare.simulations.federation.federation import LocalFederation, noise_source

NAMES: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
HOST: Final = "bank-a"
COLLUDER: Final = "bank-d"
STEPS: Final = 3
BLOCK: Final = 1024  # canaries of a block are rows of a Hadamard matrix: exact on the grid
BLOCKS: Final = 4
STUDY: Final = Study.model_validate(
    {
        "name": "audit",
        "purpose": "tests",
        "records": {"label": "reported", "units": 20_000, "prevalence": 0.1},
        "features": [
            {"name": f"f{i}", "kind": "categorical", "levels": [f"l{j}" for j in range(512)]}
            for i in range(8)
        ],
        "training": {"steps": STEPS},
        "evaluation": {"score_bins": 512, "spare_releases": 0},
        # All but a hundredth of the claim is spent on what is audited.
        "privacy": {
            "epsilon": 8.0,
            "delta": 1e-5,
            "spare_releases": 0,
            "clipping_norm": 1.0,
        },
    }
)
SCALE: Final = 28  # the additive model's grid
# Exact noise cannot be seeded: a sound system fails one of these tests once in ten million runs.
UNLIKELY: Final = 1e-8
# Of an audited epsilon, whose standard error is below 3 %; wrong noise is off by 38 % and more.
SLACK: Final = 0.2


def make_sums(seed: int, study: Study = STUDY) -> StudySums:
    random = np.random.default_rng(seed)
    positions = random.integers(0, 514, (8, 300)).astype(np.uint16)
    labels = random.integers(0, 2, 300).astype(np.uint8)
    return StudySums.prepare(study, EncodedUnits(positions, labels), random.uniform(size=300) < 0.2)


@dataclass(frozen=True)
class CanarySums:
    """An institution's sums with the canaries that are in."""

    units: UnitSums
    canaries: NDArray[np.int64]

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        return self.units.gradient_sum(parameters) + self.canaries

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


def directions(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scalar product of every canary, at norm 1, with a vector (float64 (4113,))."""
    blocks = vector[1 : 1 + BLOCK * BLOCKS].reshape(BLOCKS, BLOCK)
    scores: NDArray[np.float64] = (blocks @ hadamard(BLOCK) / np.sqrt(BLOCK)).ravel()
    return scores


def canary_sum(coins: NDArray[np.bool_], entries: int) -> NDArray[np.int64]:
    """The sum of the canaries that are in, each of norm C, in units of gamma."""
    step = round(STUDY.privacy.clipping_norm * 2**SCALE / np.sqrt(BLOCK))
    total = np.zeros(entries, dtype=np.int64)
    rows = coins.reshape(BLOCKS, BLOCK).astype(np.int64) @ hadamard(BLOCK, dtype=np.int64)
    total[1 : 1 + BLOCK * BLOCKS] = step * rows.ravel()
    return total


@dataclass(frozen=True, eq=False)
class Audit:
    """What the adversary has in the end.

    Attributes:
        noise: float64 (steps, entries): decoded sums minus everything that was exact.
        seen: the same, canaries left in, the colluder's noise taken out.
        coins: bool (canaries,): which are in.
    """

    federation: LocalFederation
    noise: NDArray[np.float64]
    seen: NDArray[np.float64]
    coins: NDArray[np.bool_]

    @property
    def mu(self) -> float:
        """How many standard deviations "in" and "out" lie apart over all steps."""
        scores = sum(directions(step) for step in self.seen)
        assert isinstance(scores, np.ndarray)
        inside, outside = scores[self.coins], scores[~self.coins]
        spread = np.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / 2)
        return float((inside.mean() - outside.mean()) / spread)

    @property
    def epsilon(self) -> float:
        return self.federation.plan.epsilon(self.mu**2)


def audit(protection: Protection, folder: Path, *, factor: float = 1.0) -> Audit:
    """Run a whole federation and attack what its coordinator decodes."""
    entries = model_for(STUDY).vectors.entries
    coins = np.random.default_rng(7).integers(0, 2, BLOCK * BLOCKS).astype(bool)
    canaries = canary_sum(coins, entries)
    honest = {name: make_sums(seed) for seed, name in enumerate(NAMES)}
    host = replace(honest[HOST], training=CanarySums(honest[HOST].training, canaries))
    sources: dict[str, NoiseSource] = {
        name: ScaledNoise(noise_source(protection, seed=5, stream=stream), factor)
        for stream, name in enumerate(NAMES)
    }
    colluder = OverheardNoise(sources[COLLUDER])
    sources[COLLUDER] = colluder
    residuals: list[NDArray[np.float64]] = []
    parameters = [model_for(STUDY).initial(prevalence_log_odds(STUDY))]

    def on_step(state: TrainingState, total: DecodedSum) -> None:
        exact = sum(part.training.gradient_sum(parameters[-1]) for part in honest.values())
        residuals.append(total.values - np.ldexp(np.asarray(exact, dtype=np.float64), -SCALE))
        parameters.append(state.parameters)

    with LocalFederation(
        STUDY, {**honest, HOST: host}, protection, seed=5, directory=folder, sources=sources
    ) as federation:
        job = federation.job()
        job.on_step = on_step
        federation.run(job)
    known = np.ldexp(np.stack(colluder.drawn[:STEPS]).astype(np.float64), -SCALE)
    seen = np.stack(residuals)
    noise = seen - np.ldexp(canaries.astype(np.float64), -SCALE)
    return Audit(federation, noise, seen - known, coins)


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[Protection, float], Audit]:
    return {
        (protection, factor): audit(protection, tmp_path_factory.mktemp("audit"), factor=factor)
        for protection in Protection
        for factor in (1.0, 0.5)
    }


Audits = Mapping[tuple[Protection, float], Audit]


@pytest.mark.parametrize("protection", Protection)
def test_the_audit_recovers_the_claimed_epsilon(protection: Protection, audits: Audits) -> None:
    assert audits[protection, 1.0].epsilon == pytest.approx(STUDY.privacy.epsilon, rel=SLACK)


@pytest.mark.parametrize("protection", Protection)
def test_the_audit_flags_half_the_noise(protection: Protection, audits: Audits) -> None:
    found = audits[protection, 0.5]
    assert found.epsilon > 1.5 * STUDY.privacy.epsilon
    assert found.mu == pytest.approx(2 * audits[protection, 1.0].mu, rel=SLACK)


@pytest.mark.parametrize("protection", Protection)
def test_the_sums_noise_has_the_plans_sigma_and_that_of_the_colluders(
    protection: Protection, audits: Audits
) -> None:
    found = audits[protection, 1.0]
    assert ks_pvalue(found.noise, full_sigma(found)) > UNLIKELY
    for wrong in (2 / 3, 3 / 2):
        assert ks_pvalue(found.noise, wrong * full_sigma(found)) < 1e-12
    halved = audits[protection, 0.5]
    assert ks_pvalue(halved.noise, full_sigma(halved)) < 1e-12
    assert ks_pvalue(halved.noise, full_sigma(halved) / 2) > UNLIKELY


@pytest.mark.parametrize("protection", Protection)
def test_against_the_colluder_the_noise_is_exactly_the_claim(
    protection: Protection, audits: Audits
) -> None:
    found = audits[protection, 1.0]
    canaries = np.ldexp(canary_sum(found.coins, found.seen.shape[1]).astype(np.float64), -SCALE)
    left = found.seen - canaries
    sigma = found.federation.plan.training.sigma
    assert ks_pvalue(left, sigma) > UNLIKELY
    assert ks_pvalue(left, sigma * 2 / 3) < 1e-12


def full_sigma(found: Audit) -> float:
    """n shares of sigma / sqrt(n - t) each."""
    n, t = len(NAMES), STUDY.privacy.collusion_tolerance
    return float(found.federation.plan.training.sigma * np.sqrt(n / (n - t)))


def ks_pvalue(values: NDArray[np.float64], sigma: float) -> float:
    result: Any = kstest(values.ravel(), "norm", args=(0.0, sigma))
    return float(result.pvalue)


@pytest.mark.promises
def test_the_evaluations_noise_has_the_plans_sigma(make_bench: MakeBench) -> None:
    """Over six whole runs: what is evaluated is the model that follows from their sums."""
    privacy = STUDY.privacy.model_copy(update={"spare_releases": 5 * STEPS})
    evaluation = STUDY.evaluation.model_copy(update={"spare_releases": 5})
    study = STUDY.model_copy(update={"privacy": privacy, "evaluation": evaluation})
    sums = {name: make_sums(seed, study) for seed, name in enumerate(NAMES)}
    bench = make_bench(study, sums)
    terms = bench.plan.evaluation
    noise = []
    for run in [bench.open_run() for _ in range(6)]:
        parameters = np.frombuffer(run.parameters(terms.kind, STEPS))
        exact = sum(part.vector(terms.kind, parameters) for part in sums.values())
        found = run.everybody(run.request(terms.kind, STEPS))
        total = add_words(found.vectors, terms.word_bits, terms.vectors.entries, seeds_in(found))
        noise.append(np.ldexp((centre(total, terms.word_bits) - exact) * 1.0, -COUNT_GAMMA_BITS))
    sigma = terms.sigma * np.sqrt(len(NAMES) / (len(NAMES) - 1))
    assert ks_pvalue(np.stack(noise), sigma) > UNLIKELY
    for wrong in (2 / 3, 3 / 2):
        assert ks_pvalue(np.stack(noise), wrong * sigma) < 1e-12


@pytest.mark.parametrize("protection", Protection)
def test_no_two_steps_and_no_two_entries_share_noise(
    protection: Protection, audits: Audits
) -> None:
    """Correlations of 4113 pairs have a standard error of .016; of shared noise it would be 1."""
    noise = audits[protection, 1.0].noise
    for other in (noise[1], np.roll(noise[0], 1), noise[2]):
        assert abs(np.corrcoef(noise[0], other)[0, 1]) < 0.1


def local_mu(protection: Protection, folder: Path, *, factor: float = 1.0) -> float:
    """Attack one institution in local mode, where all others collude and tell their noise."""
    training = TrainingSection(mode="local", steps=STEPS, local_steps=1)
    study = STUDY.model_copy(update={"training": training})
    coins = np.random.default_rng(7).integers(0, 2, BLOCK * BLOCKS).astype(bool)
    canaries = canary_sum(coins, model_for(study).vectors.entries)
    honest = {name: make_sums(seed, study) for seed, name in enumerate(NAMES)}
    host = replace(honest[HOST], training=CanarySums(honest[HOST].training, canaries))
    sources = {
        name: OverheardNoise(ScaledNoise(noise_source(protection, seed=5, stream=stream), factor))
        for stream, name in enumerate(NAMES)
    }
    rate = 0.5 / (0.1 * 0.9) * len(NAMES) / study.training_units
    parameters = [model_for(study).initial(prevalence_log_odds(study))]
    seen: list[NDArray[np.float64]] = []

    def on_step(state: TrainingState, total: DecodedSum) -> None:
        exact = sum(part.training.gradient_sum(parameters[-1]) for part in honest.values())
        heard = sum(source.drawn[-1] for name, source in sources.items() if name != HOST)
        known = np.ldexp(np.asarray(exact + heard, dtype=np.float64), -SCALE)
        seen.append(total.values / -rate - known)
        parameters.append(state.parameters)

    with LocalFederation(
        study, {**honest, HOST: host}, protection, seed=5, directory=folder, sources=sources
    ) as federation:
        job = federation.job()
        job.on_step = on_step
        federation.run(job)
    return Audit(federation, np.stack(seen), np.stack(seen), coins).mu


@pytest.mark.promises
@pytest.mark.parametrize("protection", Protection)
def test_in_local_mode_the_claim_holds_where_all_others_collude(
    protection: Protection, tmp_path: Path
) -> None:
    epsilon = plan_for(STUDY).epsilon(local_mu(protection, tmp_path) ** 2)
    assert epsilon == pytest.approx(STUDY.privacy.epsilon, rel=SLACK)


@pytest.mark.promises
@pytest.mark.parametrize(("factor", "least"), [(2 / 3, 1.4), (3 / 2, 0.0)])
def test_the_local_audit_sees_wrong_noise(factor: float, least: float, tmp_path: Path) -> None:
    mu = local_mu(Protection.SIMULATED, tmp_path, factor=factor)
    epsilon = plan_for(STUDY).epsilon(mu**2)
    assert epsilon != pytest.approx(STUDY.privacy.epsilon, rel=SLACK)
    assert epsilon > least * STUDY.privacy.epsilon


def test_canaries_are_orthogonal_and_of_norm_c_exactly() -> None:
    entries = model_for(STUDY).vectors.entries
    for place in (0, 1, BLOCK - 1, BLOCK * BLOCKS - 1):
        coins = np.zeros(BLOCK * BLOCKS, dtype=bool)
        coins[place] = True
        canary = np.ldexp(canary_sum(coins, entries).astype(np.float64), -SCALE)
        assert np.linalg.norm(canary) == STUDY.privacy.clipping_norm
        expected = np.zeros(BLOCK * BLOCKS)
        expected[place] = STUDY.privacy.clipping_norm
        assert directions(canary) == pytest.approx(expected, abs=1e-12)

"""Audit the whole path with records that a coin puts in or out: estimate the actual epsilon.

    python -m fieldfare.simulations.attacks.canaries [--epsilon 1] [--canaries 60000]
        [--halve-noise]

Canaries are records of their own kind in the files of four institutions. Everything is real:
files are read, units split, sums clipped, the door's exact noise and masks, ledgers on disk, a
whole training run; the coordinator's decoded sums are what the attacker has. One of the four
institutions is with it and tells its noise (t = 1), so that what is left is the claim and not
more.

The attacker of differential privacy knows every record but one. For each canary it takes all
others out of each sum, by its own arithmetic, and projects what is left on the canary's own
vector, over all steps (the best test between two normal distributions: Neyman and Pearson).
Where the canary is out that is noise, where it is in it is noise plus the canary. How many
standard deviations the two lie apart is mu (Gaussian differential privacy: Dong, Roth and Su
2019, arXiv 1905.02383); many canaries in one run estimate it (Andrew et al. 2024, arXiv
2302.03098; Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).

The claim is what the ledgers debited for training. The interval is normal: the two means' error
is computed from the canaries' own vectors, that of the spread from the entries they span. A sound
system is outside one 95 % interval in twenty. Ends with 1 where the claim is outside, or where a
sum without its noise is not what the auditor's own arithmetic gives.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import norm

from fieldfare.client.records import holdout_mask
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.protocol.plan import PICOMU2, Plan
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import LocalFederation, holdout_key
from fieldfare.simulations.federation.population import RecordsChoice, load_population

BANKS: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
COLLUDER: Final = "bank-d"
FEATURES: Final = 15  # with the bias a canary's vector has 16 equal entries: its norm is exact
CLIPPING_NORM: Final = 2.0**-8  # so small that nearly every canary is clipped in every step
DELTA: Final = 1e-5
RESIDUAL_BITS: Final = 20
CONFIDENCE: Final = 0.95
LEAST_CANARIES: Final = 1000
MOST_ERROR: Final = 0.05  # of the claim: what lies outside a wider interval is hardly a finding
MOST_EPSILON: Final = 100.0  # a study's

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]


@dataclass(frozen=True)
class Design:
    """The design of an audit.

    Attributes:
        epsilon: of the study.
        canaries: records that a coin puts in or leaves out.
        steps: of training; all of its releases are in the attacker's hands.
        levels: of each feature; the canaries span 15 * levels + 1 entries.
        factor: of the noise that each institution draws: 1, or a defect.
        seed: of canaries and coins; noise is the operating system's.
    """

    epsilon: float = 1.0
    canaries: int = 60_000
    steps: int = 40
    levels: int = 256
    factor: float = 1.0
    seed: int = 0

    @cached_property
    def study(self) -> Study:
        """All but a hundredth of the promise is spent on the audited steps."""
        levels = [f"l{index}" for index in range(self.levels)]
        features = [
            {"name": f"f{index}", "kind": "categorical", "levels": levels}
            for index in range(FEATURES)
        ]
        return Study.model_validate(
            {
                "name": "canaries",
                "purpose": "an audit of the noise",
                "records": {
                    "unit": "unit",
                    "label": "label",
                    "units": max(1000, self.canaries // 2),
                    "prevalence": 0.5,
                },
                "features": features,
                # Slow, so that no canary is learned so well that it is not clipped any more.
                "training": {"steps": self.steps, "learning_rate": 0.01},
                "evaluation": {"holdout": 0.01, "score_bins": 4, "spare_releases": 0},
                "privacy": {
                    "epsilon": self.epsilon,
                    "delta": DELTA,
                    "clipping_norm": CLIPPING_NORM,
                    "spare_releases": 0,
                },
            }
        )


@dataclass
class Scaled:
    """A source whose noise is wrong by a factor, as a defect would make it."""

    source: NoiseSource
    factor: float

    @property
    def protection(self) -> Protection:
        """Return the source's."""
        return self.source.protection

    def sample(self, entries: int, scale: float) -> Sums:
        """Return int64 (entries,) noise of `factor` times the scale."""
        return self.source.sample(entries, scale * self.factor)


@dataclass
class Overheard:
    """The noise of a member that colludes: it knows its own noise."""

    source: NoiseSource
    drawn: list[Sums] = field(default_factory=list)

    @property
    def protection(self) -> Protection:
        """Return the source's."""
        return self.source.protection

    def sample(self, entries: int, scale: float) -> Sums:
        """Return int64 (entries,) noise, and keep it."""
        self.drawn.append(self.source.sample(entries, scale))
        return self.drawn[-1]


@dataclass(frozen=True, eq=False)
class Canaries:
    """Records with coins, and the auditor's own arithmetic on them.

    Attributes:
        units: their ids.
        levels: int64 (canaries, features).
        labels: int64 (canaries,), 0 or 1.
        coins: bool (canaries,): which are in the files.
        width: entries of a feature: its levels, "other" and "missing".
    """

    units: list[str]
    levels: Sums
    labels: Sums
    coins: NDArray[np.bool_]
    width: int

    @classmethod
    def draw(cls, design: Design) -> "Canaries":
        """Draw canaries and coins; who would be held out is none: it is in no training sum."""
        generator = np.random.default_rng([design.seed, design.canaries])
        units = [f"canary-{index}" for index in range(design.canaries)]
        share = design.study.evaluation.holdout
        trains = ~holdout_mask(units, key=holdout_key(design.seed), share=share)
        shape = (design.canaries, FEATURES)
        levels = generator.integers(0, design.levels, shape)
        labels, coins = generator.integers(0, 2, (2, design.canaries))
        kept = [unit for unit, stays in zip(units, trains, strict=True) if stays]
        coins, width = coins[trains].astype(bool), design.levels + 2
        return cls(kept, levels[trains], labels[trains], coins, width)

    def write(self, folder: Path) -> RecordsChoice:
        """Write those that are in to one file for each institution."""
        banks, found = np.arange(len(self.units)) % len(BANKS), []
        for index, bank in enumerate(BANKS):
            rows = np.flatnonzero(self.coins & (banks == index))
            columns: dict[str, Any] = {
                "unit": [self.units[row] for row in rows],
                "label": self.labels[rows],
            }
            for feature in range(FEATURES):
                columns[f"f{feature}"] = [f"l{level}" for level in self.levels[rows, feature]]
            pq.write_table(pa.table(columns), folder / f"{bank}.parquet")
            found.append(f"{bank}={folder / f'{bank}.parquet'}")
        return RecordsChoice(tuple(found))

    @cached_property
    def slots(self) -> Sums:
        """int64 (canaries, 16): the entries of each canary's vector; the bias comes first."""
        offsets = 1 + self.width * np.arange(FEATURES)
        bias = np.zeros((len(self.units), 1), dtype=np.int64)
        return np.concatenate([bias, self.levels + offsets], axis=1)

    def residuals(self, parameters: Vector) -> Vector:
        """Return float64 (canaries,): each canary's addition to its entries, clipped to C.

        The norm of 16 equal entries is four times one of them: a quarter of C is the most.
        """
        scores = np.zeros(len(self.units))
        for column in self.slots.T:
            scores += parameters[column]
        exact = 1 / (1 + np.exp(-scores)) - self.labels
        most = CLIPPING_NORM / np.sqrt(FEATURES + 1)
        grid = 2.0**RESIDUAL_BITS
        return np.asarray(np.clip(np.trunc(exact * grid) / grid, -most, most))

    def added(self, weights: Vector, entries: int) -> Vector:
        """Return float64 (entries,): the canaries' 0-1 vectors, each times its weight."""
        flat = np.repeat(weights, self.slots.shape[1])
        total = np.bincount(self.slots.ravel(), weights=flat, minlength=entries)
        return np.asarray(total, dtype=np.float64)


@dataclass(eq=False)
class CanaryAttack:
    """The sums that the attacker gathers step by step.

    Attributes:
        noise: float64 (canaries,): each one's vectors times what is left of the sums, added up.
        squared: float64 (canaries,): squared length of each one's vectors, added up.
        vectors: residuals of each step, for the error of the means.
        differs: the largest entry by which a sum without noise was not the auditor's own, in C.
    """

    canaries: Canaries
    noise: Vector
    squared: Vector
    vectors: list[Vector] = field(default_factory=list)
    differs: float = 0.0

    def step(self, parameters: Vector, left: Vector, exact: Vector) -> None:
        """Take one step's sum without the colluder's noise and the exact sum of the software."""
        own, canaries = self.canaries.residuals(parameters), self.canaries
        known = canaries.added(np.where(canaries.coins, own, 0.0), len(left))
        self.differs = max(self.differs, float(np.abs(exact - known).max()) / CLIPPING_NORM)
        self.noise += own * (left - known)[canaries.slots].sum(axis=1)
        self.squared += own**2 * (FEATURES + 1)
        self.vectors.append(own)

    def found(self, entries: int) -> "Found":
        """Return mu and its standard error."""
        coins, lengths = self.canaries.coins, np.sqrt(self.squared)
        # All other records were taken out: a canary that is in is still there.
        scores = self.noise / lengths + np.where(coins, lengths, 0.0)
        spread = _spread(scores, coins, self.canaries.labels)
        mu = float(scores[coins].mean() - scores[~coins].mean()) / spread
        weights = np.where(coins, 1 / coins.sum(), -1 / (~coins).sum()) / lengths
        means = sum(
            float((self.canaries.added(weights * own, entries) ** 2).sum()) for own in self.vectors
        )
        # As many independent scores as entries that the canaries span, fewer with few canaries.
        independent = 1 / (1 / entries + 1 / len(coins))
        return Found(mu, float(np.sqrt(means + mu**2 / (2 * independent))), spread)


def _spread(scores: Vector, coins: NDArray[np.bool_], labels: Sums) -> float:
    """Return the standard deviation of scores around the mean of their coin and label.

    Within a label all vectors share the bias, and so a part of the noise: the mean takes it out.
    That part is 1 of 16 equal entries.
    """
    groups = [scores[(coins == coin) & (labels == label)] for coin in (0, 1) for label in (0, 1)]
    total = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
    within = total / (len(scores) - len(groups))
    return float(np.sqrt(within * (FEATURES + 1) / FEATURES))


@dataclass(frozen=True)
class Found:
    """Mu, its standard error, and the noise that is left in the attacker's scores."""

    mu: float
    error: float
    spread: float

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of mu."""
        half = float(norm.ppf((1 + CONFIDENCE) / 2)) * self.error
        return max(0.0, self.mu - half), self.mu + half


@dataclass(frozen=True)
class CanaryReport:
    """The results of an audit, as `--json` prints them.

    Attributes:
        claimed_mu, claimed_epsilon: what the ledgers debited for training.
        mu, epsilon: measured; with 95 % intervals.
        standard_error: of the measured mu, as a share of the claimed one.
        sigmas: noise left against the colluder, in the plan's sigma.
        reach: length of the longest vector of a canary, in C.
        clipped: share of canaries, over all steps, that were clipped.
        differs: the largest entry by which a sum without noise was not the auditor's own, in C.
        holds: whether the interval holds the claim.
    """

    design: dict[str, Any]
    present: int
    absent: int
    promised_epsilon: float
    delta: float
    claimed_mu: float
    claimed_epsilon: float
    mu: float
    mu_interval: tuple[float, float]
    epsilon: float
    epsilon_interval: tuple[float, float]
    standard_error: float
    sigmas: float
    reach: float
    clipped: float
    differs: float
    holds: bool
    seconds: float

    @property
    def sound(self) -> bool:
        """Return whether nothing contradicts the claim."""
        return self.holds and self.differs == 0


def audit(design: Design) -> CanaryReport:
    """Run the whole path once and attack it."""
    started, canaries = time.perf_counter(), Canaries.draw(design)
    study = design.study
    with TemporaryDirectory(prefix="fieldfare-canaries-") as folder:
        population = load_population(study, canaries.write(Path(folder)), seed=design.seed)
        sums = {
            name: StudySums.prepare(study, records.data, population.holdout[name])
            for name, records in population.records.items()
        }
        attack, plan, spent = _attacked(design, canaries, sums, Path(folder))
    found = attack.found(plan.training.vectors.entries)
    claimed = spent / PICOMU2
    low, high = found.interval
    vectors = np.abs(np.stack(attack.vectors)) * np.sqrt(FEATURES + 1) / CLIPPING_NORM
    return CanaryReport(
        design=asdict(design),
        present=int(canaries.coins.sum()),
        absent=int((~canaries.coins).sum()),
        promised_epsilon=design.epsilon,
        delta=DELTA,
        claimed_mu=claimed**0.5,
        claimed_epsilon=plan.epsilon(claimed),
        mu=found.mu,
        mu_interval=found.interval,
        epsilon=plan.epsilon(max(0.0, found.mu) ** 2),
        epsilon_interval=(plan.epsilon(low**2), plan.epsilon(high**2)),
        standard_error=found.error / claimed**0.5,
        sigmas=found.spread / plan.training.sigma,
        reach=float(vectors.max()),
        clipped=float((vectors >= 1 - 2.0**-RESIDUAL_BITS).mean()),
        differs=attack.differs,
        holds=low <= claimed**0.5 <= high,
        seconds=time.perf_counter() - started,
    )


def _attacked(
    design: Design, canaries: Canaries, sums: Mapping[str, StudySums], folder: Path
) -> tuple[CanaryAttack, Plan, int]:
    """Train through the door; returns the attacker's sums, the plan, and the cost of training."""
    study, count = design.study, len(canaries.units)
    sources: dict[str, NoiseSource] = {name: Scaled(ExactNoise(), design.factor) for name in BANKS}
    colluder = Overheard(sources[COLLUDER])
    sources[COLLUDER] = colluder
    attack = CanaryAttack(canaries, np.zeros(count), np.zeros(count))
    parameters = [initial_state(study).parameters]

    def on_step(state: TrainingState, total: DecodedSum) -> None:
        """Set what was decoded beside the sum that is known."""
        gamma = federation.plan.training.gamma
        raw = sum(part.training.gradient_sum(parameters[-1]) for part in sums.values())
        known = colluder.drawn[len(parameters) - 1].astype(np.float64) * gamma
        exact = np.asarray(raw, dtype=np.float64) * gamma
        attack.step(parameters[-1], total.values - known, exact)
        parameters.append(state.parameters)

    with LocalFederation(
        study, sums, Protection.EXACT, seed=design.seed, directory=folder, sources=sources
    ) as federation:
        job = federation.job()
        job.on_step = on_step
        federation.run(job)
        study_id = federation.plan.study_id
        spent = {ledger.costs(study_id).training for ledger in federation.ledgers.values()}
        return attack, federation.plan, max(spent)


def lines(report: CanaryReport) -> Iterator[str]:
    """Return the results for a screen."""
    design = Design(**report.design)
    low, high = report.epsilon_interval
    mu_low, mu_high = report.mu_interval
    noise = "" if design.factor == 1 else f"   DEFECT PUT IN: noise times {design.factor:g}"
    same = "as the auditor's own arithmetic gives, to the last bit"
    yield f"Canary audit, study of epsilon {design.epsilon:g} at delta {report.delta:g}{noise}"
    yield (
        f"records   {report.present:,} canaries in the files of {len(BANKS)} institutions, "
        f"{report.absent:,} out by a coin"
    )
    yield f"path      read, split, summed, noised, masked, debited, decoded: {design.steps} steps"
    yield f"sums      {same if report.differs == 0 else f'WRONG by up to {report.differs:.3g} C'}"
    yield f"clipped   {report.clipped:.2%} of vectors; the longest is {report.reach:.6f} C"
    yield f"noise     {report.sigmas:.3f} sigma against the coordinator and {COLLUDER}"
    yield f"claim     epsilon {report.claimed_epsilon:.3f}, mu {report.claimed_mu:.4f}: the debits"
    yield (
        f"measured  epsilon {report.epsilon:.3f} [{low:.3f}, {high:.3f}], "
        f"mu {report.mu:.4f} [{mu_low:.4f}, {mu_high:.4f}]"
    )
    coarse = ": take more canaries" if report.standard_error > MOST_ERROR else ""
    yield f"error     {report.standard_error:.1%} of the claimed mu{coarse}; intervals are 95 %"
    yield f"verdict   the claim is {'inside' if report.holds else 'OUTSIDE'} the interval"
    yield f"took      {report.seconds:.0f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit, print, and return 1 where the claim does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m fieldfare.simulations.attacks.canaries",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--epsilon", type=float, default=1.0, help="of the study (1)")
    parser.add_argument("--canaries", type=int, default=60_000, help="records with a coin (60000)")
    parser.add_argument("--steps", type=int, default=40, help="of training (40)")
    parser.add_argument("--seed", type=int, default=0, help="of records and coins; noise has none")
    parser.add_argument("--halve-noise", action="store_true", help="put the defect in")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(arguments)
    if options.canaries < LEAST_CANARIES:
        parser.error(f"--canaries: expected {LEAST_CANARIES} or more, found {options.canaries}")
    if options.steps < 1 or not 0 < options.epsilon <= MOST_EPSILON:
        parser.error("expected --steps of 1 or more and --epsilon above 0, up to 100, found others")
    design = Design(
        epsilon=options.epsilon,
        canaries=options.canaries,
        steps=options.steps,
        factor=0.5 if options.halve_noise else 1.0,
        seed=options.seed,
    )
    try:
        report = audit(design)
    except FieldfareError as error:
        parser.error(str(error))
    text = json.dumps(asdict(report), indent=2) if options.json else "\n".join(lines(report))
    print(text)  # noqa: T201
    return int(not report.sound)


if __name__ == "__main__":
    sys.exit(main())

"""Audit the whole path with records that a coin puts in or out: estimate the actual epsilon.

    python -m fieldfare.simulations.attacks.canaries [--epsilon 1] [--canaries 60000]
        [--form training|asked|moments|start|local] [--halve-noise]

Canaries are records of their own kind in the files of four institutions. Everything is real:
files are read, units split, sums clipped, the door's exact noise and masks, ledgers on disk, a
whole training run; the coordinator's decoded sums are what the attacker has. One of the four
institutions is with it and tells its noise (t = 1), so that what is left is the claim and not
more; where an institution steps by itself, all others are with it.

No study has every kind of release: each form of the canaries' study has some of them, and all
forms have all (`canary_study.py`). A canary is attacked by all releases that read its side:
questions, moments, steps and the guard, or questions, the table of scores and counts by group.

The attacker of differential privacy knows every record but one. For each canary it takes all
others out of each sum, by its own arithmetic, and projects what is left on the canary's own
vector, over all releases (the best test between two normal distributions: Neyman and Pearson).
Where the canary is out that is noise, where it is in it is noise plus the canary. How many
standard deviations the two lie apart is mu (Gaussian differential privacy: Dong, Roth and Su
2019, arXiv 1905.02383); many canaries in one run estimate it (Andrew et al. 2024, arXiv
2302.03098; Steinke, Nasr and Jagielski 2023, arXiv 2305.08846).

The claim is what the ledgers debited for the canaries' side, questions included. The interval is
normal: the two means' error is computed from the canaries' own vectors, that of the noise from the
entries of the sums. A sound system is outside one 95 % interval in twenty. Ends with 1 where the
claim is outside, or where a sum without its noise is not what the auditor's own arithmetic gives.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from fieldfare.server.run.record import DecodedSum
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.privacy.sides import Side, SideCosts, largest
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import PICOMU2, SIDES, Plan, ReleaseTerms, plan_for
from fieldfare.simulations.attacks.audited_record import AuditedRecord
from fieldfare.simulations.attacks.canary_study import BANKS, DELTA, AuditForm, Canaries, Design
from fieldfare.simulations.attacks.canary_vectors import CanaryVectors, OwnArithmetic
from fieldfare.simulations.federation.federation import LocalFederation
from fieldfare.simulations.federation.noise_audit import WatchedSums
from fieldfare.simulations.federation.population import load_population, prepared_sums

COLLUDER: Final = "bank-d"
CONFIDENCE: Final = 0.95
LEAST_CANARIES: Final = 1000
MOST_ERROR: Final = 0.05  # of the claim: what lies outside a wider interval is hardly a finding
MOST_EPSILON: Final = 100.0  # a study's
# A start's sums have 16 entries: so many runs tell their noise as well as one run of others.
STARTED: Final = {"canaries": 4000, "steps": 1, "levels": 16, "runs": 60}
REACHED: Final = 0.995  # of C: caps are whole steps, so that a clipped vector may fall just short

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass
class ScaledNoise:
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
class OverheardNoise:
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
        return self.drawn[-1].copy()  # what is used is wiped


@dataclass(frozen=True, eq=False)
class _CanaryTrace:
    """What one release told of some canaries.

    Attributes:
        vectors: of all canaries.
        of: bool (canaries,): whom it told of.
        sigma: of the noise that the claim is about, in the sum's own unit.
        noise: mean square of what was left, in sigma squared.
        entries: of the sum.
        clipping_norm: C.
    """

    vectors: CanaryVectors
    of: Mask
    sigma: float
    noise: float
    entries: int
    clipping_norm: float


@dataclass(eq=False)
class CanaryAttack:
    """The sums that the attacker gathers in one run, for canaries of one side.

    Attributes:
        canaries: all of them.
        side: whose are attacked.
        along: float64 (canaries,): each one's vectors times the noise that is left, in sigmas.
        squared: float64 (canaries,): squared length of each one's vectors, in sigmas.
    """

    canaries: Canaries
    side: Side
    heard: list[_CanaryTrace] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.along, self.squared = np.zeros((2, len(self.canaries.units)))

    @property
    def attacked(self) -> Mask:
        """Bool (canaries,): those of the side."""
        held = self.canaries.held
        return held if self.side is Side.HOLDOUT else ~held

    def take(self, terms: ReleaseTerms, vectors: CanaryVectors, left: Vector, of: Mask) -> None:
        """Take what is left of one sum without all canaries and without what colluders told."""
        if terms.side not in {self.side, Side.ALL}:
            return
        sigma, norm = terms.sigma, terms.vectors.clipping_norm
        self.along += np.where(of, vectors.along(left), 0.0) / sigma**2
        self.squared += np.where(of, vectors.squared, 0.0) / sigma**2
        noise = float(left @ left) / len(left) / sigma**2
        self.heard.append(_CanaryTrace(vectors, of, sigma, noise, len(left), norm))

    def found(self) -> "CanarySeparation":
        """Return how far the coins lie apart in one run, and the noise that this is measured in."""
        chosen, coins = self.attacked, self.canaries.coins
        inside, outside = chosen & coins, chosen & ~coins
        lengths = np.sqrt(np.where(chosen, self.squared, 1.0))
        # All records were taken out: a canary that is in is still there.
        scores = self.along / lengths + np.where(coins, lengths, 0.0)
        weights = np.where(coins, 1 / inside.sum(), -1 / outside.sum()) * chosen / lengths
        means = spread = shaky = 0.0
        for one in self.heard:
            mixed = one.vectors.added(np.where(one.of, weights, 0.0), one.entries)
            means += float(mixed @ mixed) / one.sigma**2
            squared = np.where(one.of, one.vectors.squared, 0.0) / one.sigma**2
            share = float((squared / lengths**2)[chosen].mean())
            spread += share * one.noise
            shaky += share**2 * one.noise**2 * 2 / one.entries
        apart = float(scores[inside].mean() - scores[outside].mean())
        return CanarySeparation(apart, means, spread, shaky)

    @property
    def reaches(self) -> Vector:
        """Return float64 (vectors,): the length of every vector of the canaries, in C."""
        chosen = self.attacked
        return np.concatenate(
            [
                np.sqrt(one.vectors.squared[one.of & chosen]) / one.clipping_norm
                for one in self.heard
            ]
        )


@dataclass
class CanaryRecord(AuditedRecord):
    """The account of a run whose sums are the attacker's, with the noise that it was told."""

    attacks: tuple[CanaryAttack, ...] = ()
    sources: dict[str, OverheardNoise] = field(default_factory=dict)

    def sift(
        self, terms: ReleaseTerms, vectors: CanaryVectors, left: Vector, total: DecodedSum
    ) -> None:
        """Attack with what is left, once colluders have told their own noise."""
        del total
        told = {name: source.drawn[-1] * terms.gamma for name, source in self.sources.items()}
        banks = self.own.canaries.banks
        if not terms.local_steps:
            everybody = np.ones(len(banks), np.bool_)
            for attack in self.attacks:
                attack.take(terms, vectors, left - told[COLLUDER], everybody)
            return
        for index, name in enumerate(BANKS):  # its own noise stands between it and all others
            alone = left - sum(noise for other, noise in told.items() if other != name)
            for attack in self.attacks:
                attack.take(terms, vectors, alone, banks == index)


@dataclass(frozen=True)
class CanarySeparation:
    """How far coins lie apart, and the noise in the attacker's scores, in the plan's sigma.

    Attributes:
        apart: the two means' difference.
        means: variance of it, in that of the noise.
        spread: variance of the noise.
        shaky: variance of that one.
    """

    apart: float
    means: float
    spread: float
    shaky: float

    @property
    def mu(self) -> float:
        """How many standard deviations "in" and "out" lie apart."""
        return self.apart / math.sqrt(self.spread)

    @property
    def error(self) -> float:
        """The standard error of mu."""
        return math.sqrt(self.means + self.mu**2 / 4 * self.shaky / self.spread**2)

    @property
    def interval(self) -> tuple[float, float]:
        """Return the 95 % interval of mu."""
        half = float(norm.ppf((1 + CONFIDENCE) / 2)) * self.error
        return max(0.0, self.mu - half), self.mu + half

    @classmethod
    def pooled(cls, runs: Sequence["CanarySeparation"]) -> "CanarySeparation":
        """Return what several runs found together: of a ratio, both parts are averaged."""
        apart, means, spread, shaky = np.array([astuple(one) for one in runs]).mean(axis=0)
        return cls(float(apart), means / len(runs), float(spread), shaky / len(runs))


@dataclass(frozen=True)
class CanaryReport:
    """The results of an audit, as `--json` prints them.

    Attributes:
        side: whose canaries were attacked.
        claimed_mu, claimed_epsilon: what the ledgers debited for that side, with questions.
        mu, epsilon: measured; with 95 % intervals.
        standard_error: of the measured mu, as a share of the claimed one.
        sigmas: noise left against who colludes, in the plan's sigma.
        reach: length of the longest vector of a canary, in C.
        clipped: share of the canaries' vectors that are as long as C allows.
        differs: the largest entry by which a sum without noise was not the auditor's own, in C.
        holds: whether the interval holds the claim.
    """

    design: dict[str, Any]
    side: str
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
    holds: bool
    differs: float = 0.0
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Return whether nothing contradicts the claim."""
        return self.holds and self.differs == 0


def audit(design: Design) -> tuple[CanaryReport, ...]:
    """Run the whole path and attack it; one report for each side whose releases are audited."""
    started, canaries = time.perf_counter(), Canaries.draw(design)
    plan = plan_for(design.study)
    own = OwnArithmetic(canaries, plan, design.form)
    read = {SIDES[kind] for kind in design.form.kinds}
    sides = [side for side in (Side.TRAINING, Side.HOLDOUT) if side in read]
    runs = []
    with TemporaryDirectory(prefix="fieldfare-canaries-") as folder:
        population = load_population(design.study, canaries.write(Path(folder)), seed=design.seed)
        sums = {
            name: WatchedSums.of(part)
            for name, part in prepared_sums(design.study, population, seed=design.seed).items()
        }
        for run in range(design.runs):
            attacks = tuple(CanaryAttack(canaries, side) for side in sides)
            place = Path(folder) / str(run)
            place.mkdir()
            spent = _attacked(
                design, CanaryRecord(plan, sums=sums, own=own, attacks=attacks), place
            )
            runs.append(attacks)
    seconds = time.perf_counter() - started
    by_side = zip(*runs, strict=True)
    return tuple(
        replace(_report(design, plan, attacks, spent), differs=own.most, seconds=seconds)
        for attacks in by_side
    )


def _report(
    design: Design, plan: Plan, attacks: Sequence[CanaryAttack], spent: SideCosts
) -> CanaryReport:
    first = attacks[0]
    found = CanarySeparation.pooled([one.found() for one in attacks])
    claimed = (spent.all + getattr(spent, first.side.value)) / PICOMU2
    low, high = found.interval
    reaches = np.concatenate([one.reaches for one in attacks])
    coins = first.canaries.coins[first.attacked]
    return CanaryReport(
        design=asdict(design) | {"form": design.form.value},
        side=first.side.value,
        present=int(coins.sum()),
        absent=int((~coins).sum()),
        promised_epsilon=design.epsilon,
        delta=DELTA,
        claimed_mu=claimed**0.5,
        claimed_epsilon=plan.epsilon(claimed),
        mu=found.mu,
        mu_interval=found.interval,
        epsilon=plan.epsilon(max(0.0, found.mu) ** 2),
        epsilon_interval=(plan.epsilon(low**2), plan.epsilon(high**2)),
        standard_error=found.error / claimed**0.5,
        sigmas=math.sqrt(found.spread),
        reach=float(reaches.max()),
        clipped=float((reaches >= REACHED).mean()),
        holds=low <= claimed**0.5 <= high,
    )


def _attacked(design: Design, record: CanaryRecord, folder: Path) -> SideCosts:
    """Carry a run out through the door; returns what its releases cost."""
    record.sources = {
        name: OverheardNoise(ScaledNoise(ExactNoise(), design.factor)) for name in BANKS
    }
    with LocalFederation(
        design.study,
        record.sums,
        Protection.EXACT,
        seed=design.seed,
        directory=folder,
        sources=record.sources,
    ) as federation:
        job = federation.job()
        job.record = record
        federation.run(job)
        study_id = federation.plan.study_id
        return largest(ledger.costs(study_id) for ledger in federation.ledgers.values())


def lines(report: CanaryReport) -> Iterator[str]:
    """Return the results for a screen."""
    design = Design(**report.design | {"form": AuditForm(report.design["form"])})
    low, high = report.epsilon_interval
    mu_low, mu_high = report.mu_interval
    noise = "" if design.factor == 1 else f"   DEFECT PUT IN: noise times {design.factor:g}"
    same = "as the auditor's own arithmetic gives, to the last bit"
    yield f"Canary audit, study of epsilon {design.epsilon:g} at delta {report.delta:g}{noise}"
    yield (
        f"records   {report.present:,} canaries in the files of {len(BANKS)} institutions, "
        f"{report.absent:,} out by a coin"
    )
    yield f"path      read, split, summed, noised, masked, debited, decoded: {_releases(design)}"
    yield f"sums      {same if report.differs == 0 else f'WRONG by up to {report.differs:.3g} C'}"
    yield f"reach     {report.clipped:.2%} of vectors have C; the longest is {report.reach:.6f} C"
    who = "everybody else" if design.form is AuditForm.LOCAL else COLLUDER
    yield f"noise     {report.sigmas:.3f} sigma against the coordinator and {who}"
    yield (
        f"claim     epsilon {report.claimed_epsilon:.3f}, mu {report.claimed_mu:.4f}: "
        f"the debits, {report.side}"
    )
    yield (
        f"measured  epsilon {report.epsilon:.3f} [{low:.3f}, {high:.3f}], "
        f"mu {report.mu:.4f} [{mu_low:.4f}, {mu_high:.4f}]"
    )
    coarse = ": take more canaries" if report.standard_error > MOST_ERROR else ""
    yield f"error     {report.standard_error:.1%} of the claimed mu{coarse}; intervals are 95 %"
    yield f"verdict   the claim is {'inside' if report.holds else 'OUTSIDE'} the interval"
    yield f"took      {report.seconds:.0f} s"


def _releases(design: Design) -> str:
    """Say which releases were audited, and how many runs there were."""
    others = [kind.value for kind in design.form.kinds if kind is not ReleaseKind.TRAINING]
    runs = "" if design.runs == 1 else f"; {design.runs} runs"
    return ", ".join([f"{design.steps} steps", *others]) + runs


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
    forms = [form.value for form in AuditForm]
    parser.add_argument("--form", choices=forms, default="training", help="of the study (training)")
    parser.add_argument("--seed", type=int, default=0, help="of records and coins; noise has none")
    parser.add_argument("--halve-noise", action="store_true", help="put the defect in")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(arguments)
    if options.canaries < LEAST_CANARIES:
        parser.error(f"--canaries: expected {LEAST_CANARIES} or more, found {options.canaries}")
    if options.steps < 1 or not 0 < options.epsilon <= MOST_EPSILON:
        parser.error("expected --steps of 1 or more and --epsilon above 0, up to 100, found others")
    form = AuditForm(options.form)
    sizes = {"canaries": options.canaries, "steps": options.steps}
    design = Design(
        epsilon=options.epsilon,
        factor=0.5 if options.halve_noise else 1.0,
        seed=options.seed,
        form=form,
        **sizes | (STARTED if form is AuditForm.START else {}),
    )
    try:
        reports = audit(design)
    except FieldfareError as error:
        parser.error(str(error))
    for report in reports:
        text = json.dumps(asdict(report), indent=2) if options.json else "\n".join(lines(report))
        print(text)  # noqa: T201
    return int(not all(report.sound for report in reports))


if __name__ == "__main__":
    sys.exit(main())

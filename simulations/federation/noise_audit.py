"""What a run's own sums say of its noise: an audit in every simulation, at no cost.

A simulation knows what no attacker does: every institution's exact sum. What is left of a decoded
sum is noise. Two figures follow, for the coordinator and t members that tell their own noise:

- the noise's standard deviation, as a share of the plan's, for each kind of release. Squares of
  independent normal entries add up to a chi-square, so the interval is exact. The epsilon that
  belongs to it is what this noise costs (Gaussian DP: Dong, Roth and Su 2019, arXiv 1905.02383,
  section 2; many canaries in one run estimate the same number: Andrew et al. 2024, arXiv
  2302.03098, section 3).
- a lower bound that supposes nothing of the noise: one run, a canary for each entry of the
  parameters, of length C along that entry in every training step, in or out by a coin. Whoever
  knows all units guesses the coins from the sums (Steinke, Nasr and Jagielski 2023, arXiv
  2305.08846, theorem 5.2, algorithm 1). It is far below the truth, and a proof where it is above
  the claim.

Canaries are added where a sum has been decoded, so they disturb no model. What the door does to
*records* (clipping, counting, who is in) is not seen here: `fieldfare attack door` sends canaries
in as records, and computes what the sums should be by its own arithmetic.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.record import DecodedSum, Record
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import PICOMU2, Plan, ReleaseTerms
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.simulations.federation.one_run import OneRun, one_run

LEVEL: Final = 1e-4  # an honest run is flagged at most so often, whatever it releases

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class WatchedSums(StudySums):
    """An institution's sums, which the one process of a simulation may look at.

    Attributes:
        raw: int64 (entries,), the newest sum of each kind, before noise and masks.
    """

    raw: dict[ReleaseKind, Sums] = field(default_factory=dict)

    @classmethod
    def of(cls, sums: StudySums) -> Self:
        """Watch an institution's sums."""
        own = {one.name: getattr(sums, one.name) for one in fields(StudySums)}
        return cls(**own)

    def vector(
        self, kind: ReleaseKind, parameters: Vector, geometry: Geometry | None = None
    ) -> Sums:
        """Return the sum that is asked for, and keep it."""
        self.raw[kind] = super().vector(kind, parameters, geometry)
        return self.raw[kind]

    def answers(self, questions: QuestionGroup) -> Sums:
        """Return the sum of a group of questions, and keep it."""
        self.raw[ReleaseKind.QUERY] = super().answers(questions)
        return self.raw[ReleaseKind.QUERY]


@dataclass
class NoiseTally:
    """What the releases of one kind left.

    Attributes:
        terms: of the kind.
        releases, entries: how many so far.
        squares: of entries of noise, in the standard deviations that the plan means, added up.
        along: float64 (entries,), noise in the same unit times C in that unit, added up over
            releases; None where they are not of one length.
        reach: squared length of a canary over all of them, in the same unit.
    """

    terms: ReleaseTerms
    releases: int = 0
    entries: int = 0
    squares: float = 0.0
    along: Vector | None = None
    reach: float = 0.0

    def add(self, noise: Vector, length: float) -> None:
        """Add the noise of one release, and C, in the standard deviations that the plan means."""
        fits = self.along is None or len(self.along) == len(noise)
        before = 0.0 if self.along is None else self.along
        self.along = before + length * noise if fits else None
        self.releases += 1
        self.entries += len(noise)
        self.squares += float(noise @ noise)
        self.reach += length**2


@dataclass
class NoiseTallies:
    """What the noise of a run's releases was.

    Attributes:
        plan: of the study.
        tallies: by kind.
    """

    plan: Plan
    tallies: dict[ReleaseKind, NoiseTally] = field(default_factory=dict, kw_only=True)

    def take(self, terms: ReleaseTerms, left: Vector, participants: int) -> None:
        """Tally what is left of a sum without the institutions' own sums.

        Args:
            terms: of the release; one that costs nothing, or of local steps, leaves none.
            left: float64 (entries,), in the sum's own unit.
            participants: how many are in it.
        """
        if terms.cost and not terms.local_steps:
            self.tally(terms, left, participants)

    def tally(self, terms: ReleaseTerms, left: Vector, participants: int) -> None:
        """Tally noise: as `take`, of whatever release it is."""
        tally = self.tallies.setdefault(terms.kind, NoiseTally(terms))
        deviation = deviation_of(self.plan, terms, participants)
        tally.add(left / deviation, terms.vectors.clipping_norm / deviation)


@dataclass
class WatchedRecord(NoiseTallies, Record):
    """The account of a run whose exact sums are known: it keeps what its noise was.

    Attributes:
        sums: watched, by institution.
    """

    sums: Mapping[str, WatchedSums] = field(default_factory=dict)

    def keep_sum(self, total: DecodedSum) -> None:
        """Look into a sum while the run still stands before it, and keep it."""
        release = self.run.expected()
        if release is not None and release.terms.cost:
            self.look(release.kind.release, release.terms, total)
        super().keep_sum(total)

    def look(self, kind: ReleaseKind, terms: ReleaseTerms, total: DecodedSum) -> None:
        """Tally what is left of a sum without the institutions' own; local changes have no sum."""
        exact = self.exact(kind, terms, total.participants)
        self.take(terms, np.asarray(total.values - exact), len(total.participants))

    def exact(self, kind: ReleaseKind, terms: ReleaseTerms, participants: Iterable[str]) -> Vector:
        """Return float64 (entries,): the institutions' own sum before noise, in its own unit."""
        raw = sum(self.sums[name].raw[kind] for name in participants)
        return np.ldexp(np.asarray(raw, dtype=np.float64), -terms.vectors.gamma_bits)


def deviation_of(plan: Plan, terms: ReleaseTerms, participants: int) -> float:
    """Return the standard deviation of all shares together, in the sum's own unit."""
    share = terms.share(participants, plan.study.privacy.collusion_tolerance)
    return share * terms.gamma * math.sqrt(participants)


@dataclass(frozen=True, kw_only=True)
class KindNoise:
    """The noise of one kind of release.

    Attributes:
        kind: of release.
        releases, entries: measured.
        factor: standard deviation found, in the plan's: 1 is right.
        interval: of it, at 95 %.
        chance: that honest noise lies as far from 1, on either side.
    """

    kind: str
    releases: int
    entries: int
    factor: float
    interval: tuple[float, float]
    chance: float

    @classmethod
    def of(cls, kind: ReleaseKind, tally: NoiseTally) -> Self:
        """Measure a tally: the squares of n standard normal entries are chi-square with n."""
        found, count = tally.squares, tally.entries
        ends = (0.975, 0.025)
        low, high = (math.sqrt(found / float(chi2.ppf(end, count))) for end in ends)
        return cls(
            kind=kind.value,
            releases=tally.releases,
            entries=count,
            factor=math.sqrt(found / count),
            interval=(low, high),
            chance=float(chance_of(np.array(found), count)),
        )


def chance_of(squares: Vector, entries: int) -> Vector:
    """Return how often squares of honest noise lie as far from the middle, on either side.

    Args:
        squares: float64 (tests,), each a sum of squares of standard normal entries.
        entries: of each sum.
    """
    tail = np.minimum(chi2.cdf(squares, entries), chi2.sf(squares, entries))
    return np.asarray(np.minimum(1.0, 2 * tail), dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class NoiseAudit:
    """What a run's own sums say of its noise.

    Attributes:
        kinds: the noise of each kind.
        claimed_epsilon: what the measured releases were debited for.
        epsilon: what they cost with the noise that was found.
        epsilon_interval: of it, at 95 %.
        lower_bound: epsilon is at least this, at 95 %, whatever the noise is; None without
            training steps or with too few canaries.
        canaries, guesses, right: of the lower bound.
        flagged: whether some kind's noise is further from the plan's than honest noise would be in
            one run in 10,000, all kinds together.
    """

    kinds: tuple[KindNoise, ...]
    claimed_epsilon: float
    epsilon: float
    epsilon_interval: tuple[float, float]
    lower_bound: float | None
    canaries: int
    guesses: int
    right: int
    flagged: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it for results.json: None where noise was absent, and epsilon has no bound."""
        found = asdict(self, dict_factory=_for_json)
        found["epsilon"] = _finite(self.epsilon)
        found["epsilon_interval"] = [_finite(end) for end in self.epsilon_interval]
        return found


def _for_json(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(found) if isinstance(found, tuple) else found for name, found in pairs}


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def audited(record: NoiseTallies, generator: np.random.Generator) -> NoiseAudit | None:
    """Audit a finished run; None where nothing was released that can be looked into.

    Args:
        record: of the run's noise.
        generator: of the coins.
    """
    found = {kind: KindNoise.of(kind, tally) for kind, tally in record.tallies.items()}
    if not found:
        return None
    low = _epsilon(record, {kind: noise.interval[1] for kind, noise in found.items()})
    high = _epsilon(record, {kind: noise.interval[0] for kind, noise in found.items()})
    bound = _one_run(record, generator)
    return NoiseAudit(
        kinds=tuple(found.values()),
        claimed_epsilon=_epsilon(record, dict.fromkeys(found, 1.0)),
        epsilon=_epsilon(record, {kind: noise.factor for kind, noise in found.items()}),
        epsilon_interval=(low, high),
        lower_bound=bound.epsilon if bound else None,
        canaries=bound.canaries if bound else 0,
        guesses=bound.guesses if bound else 0,
        right=bound.right if bound else 0,
        flagged=any(noise.chance < LEVEL / len(found) for noise in found.values()),
    )


def _epsilon(record: NoiseTallies, factors: Mapping[ReleaseKind, float]) -> float:
    """Return what the measured releases cost where each kind's noise is a factor of the plan's."""
    if min(factors.values()) <= 0:
        return math.inf
    costs = SideCosts.of(
        (tally.terms.side, math.ceil(tally.terms.cost * tally.releases / factors[kind] ** 2))
        for kind, tally in record.tallies.items()
    )
    return record.plan.epsilon(costs.total / PICOMU2)


def _one_run(record: NoiseTallies, generator: np.random.Generator) -> OneRun | None:
    """Guess coins of canaries that lie along the entries of training's vectors.

    Nobody tells any noise here: all n shares of it hide the canaries.
    """
    tally = record.tallies.get(ReleaseKind.TRAINING)
    if tally is None or tally.along is None:
        return None
    length, coins = math.sqrt(tally.reach), generator.integers(0, 2, len(tally.along)).astype(bool)
    scores = tally.along / length + np.where(coins, length, 0.0)
    return one_run(scores, coins, record.plan.study.privacy.delta)

"""Inversion of one reply: what does somebody who holds one institution's reply find in it?

The attacker has one reply of one institution, the first that reads its training units, and knows
everything but those records: the study, the parameters, how large the institution is, and how the
levels and cases of everybody are spread. Two questions, under each of four covers:

- **cases by level**: at the first step all units have one score, so that each entry of the sum is
  n0 r0 + n1 r1, with two known residuals and two unknown counts. The attacker takes the likeliest
  pair of whole numbers (least squares on the entry, and on what it supposed before). Error 0: all
  counts are rebuilt; 1: as good as guessing by everybody's shares. Of studies of levels alone.
- **is this unit in it?** The attacker knows all other units of the institution. The projection on
  the unit's own vector is the best test there is (Neyman and Pearson 1933) against normal noise.

Sum, share of the noise, masks and ring are those that a custodian's door puts together; the pair
keys are fresh at every reply. With masks a reply has to be uniform in its ring to everybody
without one honest pair's key (docs/design.md, "The secure sum"): its highest and its lowest
bytes are counted, and flagged where uniform bytes would be as uneven once in 10,000 replies.

Gradients that give records back: Zhu, Liu and Han 2019, NeurIPS, arXiv 1906.08935, section 3.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from fieldfare.client.sums.study_sums import StudySums
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.features import CategoricalFeature
from fieldfare.shared.models.additive import AdditiveSums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.protocol.secure_sum import KEY_BYTES, RunKeys
from fieldfare.shared.ring import Word, WordBits, add, centre, decode, encode, to_ring
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.attacks.ceilings import told
from fieldfare.simulations.attacks.finding import Finding, MeasuredFigure
from fieldfare.simulations.federation.federation import noise_source
from fieldfare.simulations.federation.noise_audit import LEVEL

LEAST_UNITS: Final = 30
LEAST_TRIALS: Final = 40
REBUILT: Final = 10  # replies whose counts are rebuilt
RESAMPLES: Final = 400
BYTES: Final = 256
OWN: Final = "institution-01"
STREAM: Final = 2**20  # far from those of simulated noise
SOURCE: Final = (
    "Zhu, Liu and Han 2019, NeurIPS, arXiv 1906.08935, section 3; ceilings: Dong, Roth and Su "
    "2019, arXiv 1905.02383, equation 6"
)

Vector = NDArray[np.float64]
Sums = NDArray[np.int64]


class Cover(Enum):
    """What stands before an institution's sum."""

    NONE = "no noise, no masks"
    NOISE = "noise, no masks"
    MASKS = "masks, no noise"
    BOTH = "noise and masks"

    @property
    def noised(self) -> bool:
        """Whether its share of the noise is added."""
        return self in (Cover.NOISE, Cover.BOTH)

    @property
    def masked(self) -> bool:
        """Whether its masks are added."""
        return self in (Cover.MASKS, Cover.BOTH)


@dataclass(frozen=True, kw_only=True)
class InversionTask:
    """The inputs of an attack.

    Attributes:
        study: that trains, without local steps.
        units: of everybody, dealt to institutions; the first is attacked.
        institutions: n, of one attempt.
        trials: replies for "is this unit in it?", each with a coin.
        protection: exact noise, or simulated noise.
        seed: of deals, coins, keys and simulated noise.
    """

    study: Study
    units: EncodedUnits
    institutions: int = 3
    trials: int = 1000
    protection: Protection = Protection.SIMULATED
    seed: int = 0


def inversion(task: InversionTask) -> tuple[Finding, ...]:
    """Attack one institution's reply under each cover.

    Raises:
        UsageError: too few units, institutions or trials, or a study of local steps.
        AccountingError: n - t < 2.
    """
    if len(task.units) < LEAST_UNITS * task.institutions or task.trials < LEAST_TRIALS:
        raise UsageError(
            f"expected {LEAST_UNITS} units or more for each institution and {LEAST_TRIALS} trials "
            f"or more, found {len(task.units)} units, {task.institutions} institutions and "
            f"{task.trials} trials"
        )
    if not task.study.trains or plan_for(task.study).training.local_steps:
        raise UsageError(
            "expected a study that trains by sums, found one that asks or takes local steps"
        )
    victim = AttackedInstitution.drawn(task)
    return tuple(_under(victim, cover) for cover in Cover)


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class AttackedInstitution:
    """The attacked institution, as the attack sees it and as it is."""

    task: InversionTask
    plan: Plan
    own: EncodedUnits
    target: int  # whose presence is in question

    @classmethod
    def drawn(cls, task: InversionTask) -> "AttackedInstitution":
        """Deal units to institutions; the unit in question is a case, where the first has one."""
        generator = np.random.default_rng([task.seed, STREAM])
        owners = generator.permutation(len(task.units)) % task.institutions
        own = task.units.select(owners == 0)
        return cls(task, plan_for(task.study), own, int(np.argmax(own.labels)))

    def sum(self, units: EncodedUnits) -> Sums:
        """Return int64 (entries,): the raw sum of the first reply that reads training units."""
        sums = StudySums.prepare(self.task.study, units, np.zeros(len(units), dtype=np.bool_))
        return sums.vector(self.terms.kind, initial_state(self.task.study).parameters)

    @cached_property
    def terms(self) -> ReleaseTerms:
        """Of that reply: of the moments that coordinates follow from, or of the first step."""
        turned = self.task.study.geometry is not None
        return self.plan.terms(ReleaseKind.MOMENTS if turned else ReleaseKind.TRAINING)

    @cached_property
    def whole(self) -> Sums:
        """The institution's sum."""
        return self.sum(self.own)

    @cached_property
    def without(self) -> Sums:
        """The same without the unit in question."""
        return self.sum(self.own.select(np.arange(len(self.own)) != self.target))

    @cached_property
    def share(self) -> float:
        """Its share of the noise, in units of gamma."""
        return self.terms.share(self.task.institutions, self.task.study.privacy.collusion_tolerance)

    @property
    def mu(self) -> float:
        """What a reply costs whoever sees it with this share of the noise alone."""
        honest = self.task.institutions - self.task.study.privacy.collusion_tolerance
        return math.sqrt(self.terms.mu2 * honest)


@dataclass(eq=False)
class Replies:
    """Replies of one institution under one cover, as the door puts them together."""

    victim: AttackedInstitution
    cover: Cover

    def __post_init__(self) -> None:
        """Begin the streams of noise and keys."""
        task = self.victim.task
        self._noise = noise_source(task.protection, seed=task.seed, stream=0)
        self._random = np.random.default_rng([task.seed, STREAM + 1, [*Cover].index(self.cover)])

    def reply(self, raw: Sums) -> Word:
        """Return uint64 (entries,): what leaves for a raw sum, with fresh noise and keys."""
        bits, words = self.bits, to_ring(raw, self.bits)
        if self.cover.noised:
            drawn = self._noise.sample(len(raw), self.victim.share)
            words = add(words, to_ring(drawn, bits), bits)
        if self.cover.masked:
            others = range(2, self.victim.task.institutions + 1)
            peers = {f"institution-{place:02d}": self._random.bytes(KEY_BYTES) for place in others}
            asked = self._random.bytes(KEY_BYTES).hex()
            mask = RunKeys(0, peers).mask(OWN, frozenset(peers), asked, len(raw), bits)
            words = add(words, mask, bits)
        return decode(encode(words, bits), bits, len(raw))

    @property
    def bits(self) -> WordBits:
        """The ring."""
        return self.victim.terms.word_bits

    @property
    def spread(self) -> float:
        """The standard deviation that the attacker supposes of an entry, in units of gamma."""
        if self.cover.masked:
            return 2.0**self.bits.value / math.sqrt(12)
        return self.victim.share if self.cover.noised else 0.5


def _under(victim: AttackedInstitution, cover: Cover) -> Finding:
    """Attack replies under one cover."""
    replies = Replies(victim, cover)
    presence, words = _presence(replies)
    chance = uniform_chance(words, replies.bits)
    uneven = cover.masked and chance < LEVEL
    return Finding(
        attack=f"inversion of one reply: {cover.value}",
        figures=(
            *_rebuilt(replies),
            *presence,
            MeasuredFigure(name="chance of bytes as uneven, were they uniform", value=chance),
        ),
        sees="one reply of one institution, by somebody who knows all of its units but one, or how "
        "everybody's are spread",
        misses="replies of other steps, which add up to the study's mu; whoever has the keys of "
        "all other members sees noise alone",
        source=SOURCE,
        flagged=("a masked reply is not uniform in its ring",) if uneven else (),
    )


def _presence(replies: Replies) -> tuple[tuple[MeasuredFigure, ...], Word]:
    """Tell by a reply whether the unit is in it; returns the figures, and all replies' words."""
    victim, cover = replies.victim, replies.cover
    towards = victim.whole - victim.without
    length = float(towards.astype(np.float64) @ towards)
    coins = np.random.default_rng([victim.task.seed, STREAM + 2]).uniform(size=victim.task.trials)
    inside, scores, words = coins < 0.5, np.zeros(len(coins)), []  # noqa: PLR2004
    for place, coin in enumerate(inside):
        words.append(replies.reply(victim.whole if coin else victim.without))
        seen = (centre(words[-1], replies.bits) - victim.without).astype(np.float64)
        scores[place] = seen @ towards / length - 0.5 if length else 0.0
    mu = 0.0 if cover.masked else victim.mu if cover.noised else math.inf
    return told(scores, inside, mu), np.concatenate(words)


def uniform_chance(words: Word, bits: WordBits) -> float:
    """Return how often uniform words would have bytes as unevenly spread (Pearson 1900).

    Of the highest and of the lowest byte, the smaller chance, twice (Bonferroni).

    Args:
        words: uint64 (words,), of Z_2^k.
        bits: k.
    """
    chances = []
    for shift in (bits.value - 8, 0):
        found = (words >> np.uint64(shift)).astype(np.int64) % BYTES
        counts = np.bincount(found, minlength=BYTES)
        mean = len(words) / BYTES
        chances.append(float(chi2.sf(((counts - mean) ** 2 / mean).sum(), BYTES - 1)))
    return min(1.0, 2 * min(chances))


# -- counts ---------------------------------------------------------------------------------------


def _rebuilt(replies: Replies) -> Iterator[MeasuredFigure]:
    """Yield by how much a reply's counts of cases by level beat guessing."""
    victim, levels = replies.victim, _Levels.of(replies.victim)
    if levels is None:
        return
    found = np.stack([levels.cases(replies.reply(victim.whole), replies) for _ in range(REBUILT)])
    errors, guessed = (found - levels.true) ** 2, (levels.expected[1] - levels.true) ** 2
    generator = np.random.default_rng([victim.task.seed, STREAM + 3])
    places = generator.integers(0, len(guessed), (RESAMPLES, len(guessed)))
    drawn = np.sqrt(errors.mean(axis=0)[places].sum(axis=1) / guessed[places].sum(axis=1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    value = math.sqrt(float(errors.mean(axis=0).sum() / guessed.sum()))
    yield MeasuredFigure(
        name="error in cases by level, of guessing's",
        value=value,
        interval=(float(low), float(high)),
    )


@dataclass(frozen=True, eq=False)
class _Levels:
    """What the attacker knows of an institution's counts by level, and what is true.

    Attributes:
        residuals: of a unit without a label and of a case, in units of gamma.
        expected: float64 (2, slots), units and cases that everybody's shares let expect.
        true: float64 (slots,), cases.
    """

    residuals: tuple[int, int]
    expected: Vector
    true: Vector

    @classmethod
    def of(cls, victim: AttackedInstitution) -> "_Levels | None":
        """Return it; None where features are not levels, or sums not of plain gradients."""
        study, everybody = victim.task.study, victim.task.units
        prepared = StudySums.prepare(study, victim.own, np.zeros(len(victim.own), dtype=np.bool_))
        level = all(isinstance(one, CategoricalFeature) for one in study.features)
        if not level or not isinstance(prepared.training, AdditiveSums) or study.geometry:
            return None
        probes = [
            EncodedUnits(victim.own.positions[:, :1], np.array([y], np.uint8)) for y in (0, 1)
        ]
        weights = [int(victim.sum(one)[0]) for one in probes]
        shares = np.stack([_counts(study, everybody, label) for label in (0, 1)])
        expected = shares * (len(victim.own) / len(everybody))
        return cls((weights[0], weights[1]), expected, _counts(study, victim.own, 1))

    def cases(self, words: Word, replies: Replies) -> Vector:
        """Return float64 (slots,): the likeliest number of cases with each level."""
        seen = centre(words, replies.bits)[1:].astype(np.float64)
        return np.array(
            [
                _likeliest(one, self.residuals, self.expected[:, slot], replies.spread)
                for slot, one in enumerate(seen)
            ]
        )


def _counts(study: Study, units: EncodedUnits, label: int) -> Vector:
    """Return float64 (slots,): units with this label by level, features one after the other."""
    parts = []
    for feature, column in zip(study.features, units.positions, strict=True):
        slots = feature.slots if isinstance(feature, CategoricalFeature) else 0
        parts.append(np.bincount(column[units.labels == label], minlength=slots))
    return np.concatenate(parts).astype(np.float64)


def _likeliest(seen: float, residuals: tuple[int, int], expected: Vector, spread: float) -> float:
    """Return n1 of the likeliest pair (n0, n1) with n0 r0 + n1 r1 = seen, up to noise."""
    zero, one = residuals
    supposed = np.maximum(expected, 1.0)  # variance of counts of many rare events (Poisson)
    reach = math.ceil(expected[1] + 12 * math.sqrt(supposed[1]) + 12)
    cases = np.arange(max(0, math.floor(expected[1] - 12 * math.sqrt(supposed[1]))), reach + 1)
    weight = zero**2 / spread**2
    left = (seen - cases * one) * zero / spread**2 + expected[0] / supposed[0]
    others = np.maximum(0.0, np.rint(left / (weight + 1 / supposed[0])))
    misfit = ((seen - others * zero - cases * one) / spread) ** 2
    misfit += (others - expected[0]) ** 2 / supposed[0] + (cases - expected[1]) ** 2 / supposed[1]
    return float(cases[np.argmin(misfit)])

"""What average precision a study may expect, by public numbers: a curve fitted to measured trials.

On the scale of log-odds a ranking lifts average precision above chance (the prevalence p). Of the
lift that all records together would give without privacy, a share is left under noise, which
depends on the strength of the signal (strength.py), and an institution alone reaches a share, which
depends on how many cases it has:

    logit(AP) = logit(p) + lift * share,  share = s^k / (s^k + s0^k)

The lift is the data's own: its mean over sets is a guess, and most of the interval's width. A
released average precision of an earlier run of the same study says it (`anchored`). What the trials
were and how far off the curve was for the set that it had not seen stands in trials.toml, which
tests/benchmarks/learning/expectations.py writes; a test fits it anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from tomllib import loads
from typing import Annotated, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fieldfare.shared.joining.strength import PublicNumbers

_ROOM: Final = "fieldfare.shared.joining"
LEAST_SHARE: Final = 0.01
COVERED: Final = 0.8  # of other sets: so few tell no more
START: Final = (0.0, 0.8, 3.0, 0.8)  # log of s0, k; log of the cases at half, k
REACH: Final = 1.25  # beyond a trial's range by more: nobody measured it

Rate = Annotated[float, Field(gt=0, lt=1)]


class Trial(BaseModel):
    """One measured trial.

    Attributes:
        set: of records.
        units, prevalence: in training.
        together: average precision of the model learned under the promise.
        pooled: of all records without privacy.
        alone: of an institution alone, in the mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    set: str
    units: int
    prevalence: Rate
    entries: int
    institutions: int
    epsilon: float
    strength: float
    together: Rate
    pooled: Rate
    alone: Rate

    @property
    def cases(self) -> float:
        """Positive units of an institution in training, in the mean."""
        return self.units * self.prevalence / self.institutions

    def share(self, precision: float) -> float:
        """Return which share of the lift an average precision is."""
        base = logit(self.prevalence)
        return (logit(precision) - base) / max(logit(self.pooled) - base, LEAST_SHARE)


@dataclass(frozen=True)
class LiftCurve:
    """The fitted curve.

    Attributes:
        half, bend: strength at which half of the lift is left, and k.
        alone_half, alone_bend: cases of an institution at which half is reached alone, and k.
        lift, slope: of the lift over log-odds of the prevalence: lift + slope * logit(p).
    """

    half: float
    bend: float
    alone_half: float
    alone_bend: float
    lift: float
    slope: float

    def share(self, strength: float) -> float:
        """Return which share of the lift is left under noise."""
        return _saturating(strength, self.half, self.bend)

    def share_alone(self, cases: float) -> float:
        """Return which share an institution with so many cases reaches alone."""
        return _saturating(cases, self.alone_half, self.alone_bend)

    def lift_at(self, prevalence: float) -> float:
        """Return the lift that is to be expected where nothing is known of the data."""
        return self.lift + self.slope * logit(prevalence)


def logit(rate: float) -> float:
    """Return log(p / (1 - p))."""
    return math.log(rate / (1 - rate))


def rate_of(log_odds: float) -> float:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + math.exp(-log_odds))


def _saturating(value: float, half: float, bend: float) -> float:
    if value <= 0:
        return 0.0
    return float(1 / (1 + (half / value) ** bend))


@cache
def trials() -> tuple[Trial, ...]:
    """Return the trials that ship with Fieldfare."""
    text = files(_ROOM).joinpath("trials.toml").read_text("utf-8")
    return tuple(map(Trial.model_validate, loads(text)["trials"]))


def fitted(rows: Sequence[Trial]) -> LiftCurve:
    """Fit the curve by least squares on shares, each set counting alike.

    Args:
        rows: of two sets or more.
    """
    names = [row.set for row in rows]
    weights = np.sqrt([1 / names.count(name) for name in names])
    together = np.array([row.share(row.together) for row in rows])
    alone = np.array([row.share(row.alone) for row in rows])
    strengths, cases = ([row.strength for row in rows], [row.cases for row in rows])

    def off(found: np.ndarray) -> np.ndarray:
        """Return how far a curve's points are from those measured."""
        half, bend, alone_half, alone_bend = np.exp(found[0]), found[1], np.exp(found[2]), found[3]
        shared = [_saturating(s, half, bend) for s in strengths]
        own = [_saturating(c, alone_half, alone_bend) for c in cases]
        return np.concatenate([weights * (shared - together), weights * (own - alone)])

    bounds = ([-6, 0.2, -6, 0.2], [8, 4, 10, 4])
    from scipy.optimize import least_squares  # noqa: PLC0415 -- 40 MB, for who asks only

    found = least_squares(off, START, bounds=bounds).x
    odds = np.array([logit(row.prevalence) for row in rows])
    lifts = np.array([logit(row.pooled) for row in rows]) - odds
    columns = np.stack([np.ones_like(odds), odds], axis=1) * weights[:, None]
    lift, slope = np.linalg.lstsq(columns, lifts * weights, rcond=None)[0]
    return LiftCurve(
        half=float(np.exp(found[0])),
        bend=float(found[1]),
        alone_half=float(np.exp(found[2])),
        alone_bend=float(found[3]),
        lift=float(lift),
        slope=float(slope),
    )


@dataclass(frozen=True)
class CurveMisses:
    """How far off the curve was for sets that it had not seen, on the scale of log-odds.

    Attributes:
        guessed: root of the mean square where the lift is guessed too.
        anchored: the same where the set's own lift is known.
        precision: mean absolute error of average precision itself, lift guessed.
        anchored_precision: the same, lift known.
        sets: how many.
    """

    guessed: float
    anchored: float
    precision: float
    anchored_precision: float
    sets: int


def left_out(rows: Sequence[Trial]) -> CurveMisses:
    """Leave each set out in turn, and return how far off the curve of the others is."""
    names, found = sorted({row.set for row in rows}), list[list[float]]()
    for name in names:
        curve = fitted([row for row in rows if row.set != name])
        own = [row for row in rows if row.set == name]
        offs = [_off(curve, row) for row in own]
        squares = [np.mean([one[place] ** 2 for one in offs]) for place in (0, 1)]
        errors = [np.mean([abs(one[place]) for one in offs]) for place in (2, 3)]
        found.append([float(one) for one in (*squares, *errors)])
    means = np.mean(found, axis=0).tolist()
    return CurveMisses(
        guessed=math.sqrt(means[0]),
        anchored=math.sqrt(means[1]),
        precision=means[2],
        anchored_precision=means[3],
        sets=len(names),
    )


def _off(curve: LiftCurve, row: Trial) -> tuple[float, float, float, float]:
    base, share = logit(row.prevalence), curve.share(row.strength)
    guess = base + curve.lift_at(row.prevalence) * share
    known = base + (logit(row.pooled) - base) * share
    truth = logit(row.together)
    return (
        guess - truth,
        known - truth,
        rate_of(guess) - row.together,
        rate_of(known) - row.together,
    )


@cache
def calibration() -> tuple[LiftCurve, CurveMisses]:
    """Return the curve of all shipped trials, and how far off it was for sets left out."""
    return fitted(trials()), left_out(trials())


# -- expectations ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExpectedPrecision:
    """What may be expected at one epsilon and window.

    Attributes:
        numbers: public ones.
        strength: of the signal.
        share: of the lift that is left under noise.
        value, low, high: average precision, and an interval of 80 % for another set of records.
        alone: average precision of an institution alone, in the mean.
        beyond: what no trial came near, in words; empty inside the range.
    """

    numbers: PublicNumbers
    strength: float
    share: float
    value: float
    low: float
    high: float
    alone: float
    beyond: tuple[str, ...]

    @property
    def helps(self) -> bool:
        """Whether more is expected of learning together than of an institution alone."""
        return self.value > self.alone


@dataclass(frozen=True)
class Anchor:
    """An average precision that an earlier run released, and its numbers."""

    numbers: PublicNumbers
    precision: float

    @property
    def lift(self) -> float:
        """The data's lift, as the curve explains what was released."""
        share = max(calibration()[0].share(self.numbers.strength), LEAST_SHARE)
        return (logit(self.precision) - logit(self.numbers.prevalence)) / share


def expected(numbers: PublicNumbers, anchor: Anchor | None = None) -> ExpectedPrecision:
    """Say what average precision may be expected.

    Args:
        numbers: public ones of the study.
        anchor: an earlier run over such records; None: the lift is guessed.

    Raises:
        AccountingError: an epsilon that leaves nothing to spend.
    """
    from scipy.stats import t  # noqa: PLC0415 -- see `least_squares`

    curve, errors = calibration()
    strength, base = numbers.strength, logit(numbers.prevalence)
    lift = curve.lift_at(numbers.prevalence) if anchor is None else anchor.lift
    share, own = curve.share(strength), curve.share_alone(numbers.cases / numbers.institutions)
    spread = errors.guessed if anchor is None else errors.anchored
    half = (
        spread * math.sqrt(1 + 1 / errors.sets) * float(t.ppf((1 + COVERED) / 2, errors.sets - 1))
    )
    middle = base + lift * share
    return ExpectedPrecision(
        numbers=numbers,
        strength=strength,
        share=share,
        value=rate_of(middle),
        low=rate_of(middle - half),
        high=rate_of(middle + half),
        alone=rate_of(base + lift * own),
        beyond=beyond(numbers, strength),
    )


def beyond(numbers: PublicNumbers, strength: float) -> tuple[str, ...]:
    """Return which numbers of a study no trial came near, in words."""
    asked = {
        "strength of signal": (strength, [row.strength for row in trials()]),
        "prevalence": (numbers.prevalence, [row.prevalence for row in trials()]),
        "units": (numbers.units, [float(row.units) for row in trials()]),
        "entries": (float(numbers.entries), [float(row.entries) for row in trials()]),
        "institutions": (float(numbers.institutions), [float(r.institutions) for r in trials()]),
    }
    return tuple(
        f"{name} {value:.3g} (trials: {min(seen):.3g} to {max(seen):.3g})"
        for name, (value, seen) in asked.items()
        if not min(seen) / REACH <= value <= max(seen) * REACH
    )

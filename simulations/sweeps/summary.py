"""Means and intervals over seeds, and where joining starts to pay.

Seeds split the same records anew, so their hold-outs overlap and plain intervals would be too
narrow: the variance of the mean is (1/k + h/(1 - h)) times that of a value, for k seeds and a
hold-out of h (Nadeau and Bengio 2003, "Inference for the generalization error").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any, Final

from scipy.stats import t as student

from fieldfare.simulations.sweeps.measuring import ALL
from fieldfare.simulations.sweeps.plan import AXES, Learner

METRIC: Final = "average_precision"
LEVEL: Final = 0.975  # of two sides
PAYS, COSTS, OPEN = "pays", "costs", "not known"

Rows = Sequence[Mapping[str, Any]]
Place = tuple[Any, ...]  # a value for each of AXES


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with its interval of 95 %; without bounds where there is one seed.

    Attributes:
        seeds: how many.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float], holdout: float) -> "Estimate | None":
        """Take one value for each seed; None without any.

        Args:
            values: one for each seed.
            holdout: share of the units that is held out.
        """
        if not values:
            return None
        mean, count = fmean(values), len(values)
        if count == 1:
            return cls(mean, None, None, 1)
        spread = math.sqrt((1 / count + holdout / (1 - holdout)) * variance(values))
        reach = float(student.ppf(LEVEL, count - 1)) * spread
        return cls(mean, mean - reach, mean + reach, count)

    @property
    def word(self) -> str:
        """Whether a gain pays: its interval lies above 0, below, or neither."""
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return OPEN
        return PAYS if self.low > 0 else COSTS


@dataclass(frozen=True)
class Summary:
    """What a sweep's table says.

    Attributes:
        rows: of the table.
        holdout: share of the units that is held out.
    """

    rows: Rows
    holdout: float

    @property
    def varied(self) -> dict[str, list[Any]]:
        """The axes that have more than one value, each with its values in the order of the grid."""
        found = {name: list(dict.fromkeys(row[name] for row in self.rows)) for name in AXES}
        return {name: values for name, values in found.items() if len(values) > 1}

    @property
    def places(self) -> list[Place]:
        """The points, without their seeds."""
        return list(dict.fromkeys(place_of(row) for row in self.rows))

    @property
    def joined(self) -> Learner:
        """The model that somebody has who joined: used at home where that was measured."""
        there = {row["learner"] for row in self.rows}
        return Learner.AT_HOME if Learner.AT_HOME.value in there else Learner.FEDERATED

    @property
    def seeds(self) -> list[int]:
        """All seeds."""
        return sorted({row["seed"] for row in self.rows})

    def failed(self, place: Place) -> int:
        """Return how many runs of a point did not end."""
        return len({r["point"] for r in self.rows if place_of(r) == place and not r["finished"]})

    def mean(
        self, place: Place, learner: Learner, institution: str = "", metric: str = METRIC
    ) -> Estimate | None:
        """Return a metric of one learner, of own held-out units; empty: mean of institutions."""
        found = self._by_seed(place, learner, institution, metric)
        return Estimate.of(list(found.values()), self.holdout)

    def gain(self, place: Place, institution: str = "", metric: str = METRIC) -> Estimate | None:
        """Return joined minus alone, paired by seed; None where either was not measured."""
        joined = self._by_seed(place, self.joined, institution, metric)
        alone = self._by_seed(place, Learner.ALONE, institution, metric)
        both = [joined[seed] - alone[seed] for seed in joined if seed in alone]
        return Estimate.of(both, self.holdout)

    def fact(self, place: Place, name: str) -> float | None:
        """Return the mean of a fact of runs, `rounds` or bytes, over seeds."""
        found = {r["point"]: r[name] for r in self.rows if place_of(r) == place}
        values = [value for value in found.values() if value is not None]
        return fmean(values) if values else None

    def institutions(self, place: Place) -> list[str]:
        """Return the names of a point's institutions."""
        names = dict.fromkeys(r["institution"] for r in self.rows if place_of(r) == place)
        return sorted(name for name in names if name)

    def starts_to_pay(self, axis: str) -> list[tuple[Place, Any]]:
        """Return, for each place along the other axes, from which value on joining always pays.

        The place has None on the axis; the value is None where it is not known to pay at the last.
        """
        at, found = AXES.index(axis), dict[Place, Any]()
        for place in sorted(self.places, key=lambda place: place[at]):
            rest = (*place[:at], None, *place[at + 1 :])
            gain = self.gain(place)
            if gain is None or gain.word != PAYS:
                found[rest] = None
            elif found.get(rest) is None:
                found[rest] = place[at]
        return list(found.items())

    def _by_seed(
        self, place: Place, learner: Learner, institution: str, metric: str
    ) -> dict[int, float]:
        return {
            row["seed"]: row[metric]
            for row in self.rows
            if row["learner"] == learner.value
            and row["institution"] == institution
            and row["held"] != ALL
            and row[metric] is not None
            and place_of(row) == place
        }


def place_of(row: Mapping[str, Any]) -> Place:
    """Return where on the grid a row stands, its seed aside."""
    return tuple(row[name] for name in AXES)


def said(place: Place, names: Sequence[str]) -> str:
    """Say a place by some of its axes: `epsilon 1, 5 institutions`."""
    return ", ".join(_said(name, place[AXES.index(name)]) for name in names) or "this study"


def _said(name: str, value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else f"{value}"
    if name in {"institutions", "units", "steps", "slots"}:
        return f"{'all' if value is None else text} {name}"
    return f"{name.replace('_', ' ')} {text}"

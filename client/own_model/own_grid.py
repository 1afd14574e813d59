"""What an institution's own models are chosen from, and how: cross-validation on training units.

The settings stand in own_grid.toml; held-out units choose nothing. The same units give the same
choice, bit for bit: folds are dealt by a seed of that file.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from tomllib import loads
from typing import Annotated, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from fieldfare.shared.features.basis import EncodedUnits

Vector = NDArray[np.float64]
Labels = NDArray[np.uint8]

_Some = Annotated[tuple[int, ...], Field(min_length=1)]
_Rates = Annotated[tuple[float, ...], Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Spreads(_Section):
    """Log-odds that a parameter may move, for models of features and of rows."""

    features: _Rates
    rows: _Rates


class WarmStart(_Section):
    """Steps from the shared model."""

    steps: _Some


class Boosting(_Section):
    """Settings of the trees."""

    rate: float
    rounds: _Some
    least_in_leaf: int
    ridge: float
    leaves: _Some


class RandomForest(_Section):
    """Settings of the random forest."""

    trees: int
    least_in_leaf: int
    draws: int
    leaves: int


class Stack(_Section):
    """When own labels weigh.

    Attributes:
        least: own positives; with fewer there is no stack.
    """

    least: int


class Grid(_Section):
    """All settings of own_grid.toml."""

    folds: int = Field(ge=2)
    seed: int
    most: int
    spreads: Spreads
    warm: WarmStart
    boosting: Boosting
    forest: RandomForest
    stack: Stack


@cache
def own_grid() -> Grid:
    """Return the grid that ships with Fieldfare."""
    place = files("fieldfare.client.own_model").joinpath("own_grid.toml")
    return Grid.model_validate(loads(place.read_text("utf-8")))


def folds_of(labels: Labels, grid: Grid) -> NDArray[np.int64]:
    """Return int64 (units,): each unit's fold; each class is dealt evenly."""
    generator = np.random.default_rng(grid.seed)
    found = np.empty(len(labels), dtype=np.int64)
    for value in (0, 1):
        places = generator.permutation(np.flatnonzero(labels == value))
        found[places] = np.arange(len(places)) % grid.folds
    return found


def thinned(data: EncodedUnits, grid: Grid) -> tuple[EncodedUnits, float]:
    """Return at most `grid.most` units with all positives, and what to add to their log-odds.

    Negatives are left out at random, which raises log-odds by the log of one over the kept share;
    one in a hundred stays, however many positives there are.
    """
    if len(data) <= grid.most:
        return data, 0.0
    negatives = np.flatnonzero(data.labels == 0)
    room = max(grid.most - (len(data) - len(negatives)), len(negatives) // 100)
    kept = np.random.default_rng(grid.seed).permutation(negatives)[:room]
    mask = data.labels == 1
    mask[kept] = True
    return data.select(mask), math.log(max(1, len(kept)) / max(1, len(negatives)))


def log_losses(scores: Vector, labels: Labels) -> Vector:
    """Return float64 (units,): the log loss of each unit."""
    return np.asarray(np.logaddexp(0.0, scores) - labels * scores, dtype=np.float64)


def own_log_odds(labels: Labels) -> float:
    """Return log-odds of the positives' share, finite where a class is missing."""
    positives = float(labels.sum())
    return math.log((positives + 0.5) / (len(labels) - positives + 0.5))


class FittedModel(Protocol):
    """A fitted model."""

    def scores(self, data: EncodedUnits) -> Vector:
        """Return float64 (units,): log-odds."""
        ...


F_co = TypeVar("F_co", bound=FittedModel, covariant=True)
Fit = Callable[[EncodedUnits], Sequence[F_co]]  # one fitted model for each setting of the grid


@dataclass(frozen=True, eq=False)
class ChosenModel(Generic[F_co]):
    """A kind of model under the setting that cross-validation chose.

    Attributes:
        apart: float64 (units,), out of fold: scores by a model that had not seen the unit.
        fitted: on all units.
    """

    apart: Vector
    fitted: F_co


def choose(fit: Fit[F_co], data: EncodedUnits, folds: NDArray[np.int64]) -> ChosenModel[F_co]:
    """Choose a setting by log loss out of fold, and fit it on all units.

    Args:
        fit: fits every setting.
        data: training units of both classes in every fold.
        folds: int64 (units,).
    """
    columns: dict[int, Vector] = {}
    for fold in range(int(folds.max()) + 1):
        held = folds == fold
        seen, unseen = data.select(~held), data.select(held)
        for setting, fitted in enumerate(fit(seen)):
            columns.setdefault(setting, np.empty(len(data)))[held] = fitted.scores(unseen)
    losses = [float(log_losses(column, data.labels).mean()) for column in columns.values()]
    best = int(np.argmin(losses))
    return ChosenModel(columns[best], fit(data)[best])

"""The sparse basis: records as positions, positions as exact hat weights.

A numeric value becomes one small integer, its *position*: 256 steps between two
neighbouring knots, then one position per special value, then one for missing.
A category's position is its slot. Where knots are asked for, positions are places of a
grid that does not depend on them (`knot_places`), and a model's parameters end with the
knots. A feature's contribution is then a table look-up, and the sum of all units'
gradients a histogram over positions; both are folded to slots by a fixed matrix whose
entries are multiples of 2^-8. That is what keeps every product exact (docs/design.md, "Integers").

The same code serves training and scoring.

Units of several rows each, as features encode them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.features import CategoricalFeature, Feature, NumericFeature, Scale
from fieldfare.shared.features.knots import (
    PLACES,
    Places,
    asked_features,
    even_places,
    knots_at,
    places_in,
)
from fieldfare.shared.features.rows import UnitRows, joined


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class UnitTables:
    """The rows of some units, unit after unit.

    Attributes:
        starts: int64 (units + 1,): where each unit's rows begin.
        positions: uint16 (features, rows).
    """

    starts: NDArray[np.int64]
    positions: NDArray[np.uint16]

    def __len__(self) -> int:
        """Count the units."""
        return len(self.starts) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 (units,): rows of each."""
        found: NDArray[np.int64] = np.diff(self.starts)
        return found

    def select(self, mask: NDArray[np.bool_]) -> "UnitTables":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        counts = self.counts
        kept = np.ascontiguousarray(self.positions[:, np.repeat(mask, counts)])
        return UnitTables(_starts(counts[mask]), kept)

    @classmethod
    def joined(cls, parts: Sequence["UnitTables"]) -> "UnitTables":
        """Return all units of `parts`, in order."""
        counts = np.concatenate([part.counts for part in parts])
        positions = np.concatenate([part.positions for part in parts], axis=1)
        return cls(_starts(counts), np.ascontiguousarray(positions))


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


# -- basis ----------------------------------------------------------------------------------------

WEIGHT_BITS: Final = 8  # basis values are multiples of 2^-8
WEIGHT_STEPS: Final = 1 << WEIGHT_BITS
MISSING_CODE: Final = -1  # of a category, before encoding

Positions = NDArray[np.uint16]


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class EncodedUnits:
    """Units of one institution, ready for sums.

    Attributes:
        positions: uint16 (features, units), C-contiguous.
        labels: uint8 (units,), 0 or 1.
        rows: of texts or vectors; None where the model reads features.
        order: uint64 (units,), a hash of each id, where a model sums in buckets.
        tables: where units have several rows each; `positions` then has no features.
    """

    positions: Positions
    labels: NDArray[np.uint8]
    rows: UnitRows | None = None
    order: NDArray[np.uint64] | None = None
    tables: UnitTables | None = None

    def __len__(self) -> int:
        """Count the units."""
        return int(self.labels.shape[0])

    def select(self, mask: NDArray[np.bool_]) -> "EncodedUnits":
        """Return the units where `mask` (bool (units,)) holds, in the same order."""
        return EncodedUnits(
            np.ascontiguousarray(self.positions[:, mask]),
            self.labels[mask],
            None if self.rows is None else self.rows.select(mask),
            None if self.order is None else self.order[mask],
            None if self.tables is None else self.tables.select(mask),
        )


def concatenate(parts: Sequence[EncodedUnits]) -> EncodedUnits:
    """Return all units of `parts`, in order (simulations and baselines only)."""
    rows = [p.rows for p in parts if p.rows is not None]
    orders = [p.order for p in parts if p.order is not None]
    tables = [p.tables for p in parts if p.tables is not None]
    return EncodedUnits(
        np.ascontiguousarray(np.concatenate([p.positions for p in parts], axis=1)),
        np.concatenate([p.labels for p in parts]),
        joined(rows) if rows else None,
        np.concatenate(orders) if orders else None,
        UnitTables.joined(tables) if tables else None,
    )


def table_size(feature: Feature) -> int:
    """Return how many positions a feature has."""
    if isinstance(feature, CategoricalFeature):
        return feature.slots
    return len(feature.curves) * _curve_size(feature)


def _curve_size(feature: NumericFeature) -> int:
    """Return how many positions one curve has: steps, special values, missing."""
    return _steps(feature) + 1 + len(feature.special) + 1


def _steps(feature: NumericFeature) -> int:
    """Return how many steps lie between the first and the last position of a number."""
    return PLACES if feature.knots_from is not None else (len(feature.knots) - 1) * WEIGHT_STEPS


def encode_numeric(feature: NumericFeature, values: NDArray[np.float64]) -> Positions:
    """Turn values into positions, elementwise: a unit's position depends on its value alone.

    Args:
        feature: the public declaration.
        values: float64 (units,); NaN is missing. Infinities are settled at load.

    Returns:
        uint16 (units,). Values outside the bounds are clamped to them (docs/design.md, "Refusals");
        beyond the outermost knots the outermost hat holds.
    """
    asked = feature.knots_from is not None
    ends = (feature.lower, feature.upper)
    knots = np.asarray(ends if asked else feature.knots, dtype=np.float64)
    clamped = np.clip(values, feature.lower, feature.upper)
    if feature.scale is Scale.LOG1P:
        knots, scaled = np.log1p(knots), np.log1p(clamped)
    else:
        scaled = clamped
    grid = np.arange(len(knots), dtype=np.float64) * (PLACES if asked else WEIGHT_STEPS)
    missing = np.isnan(values)
    place = np.interp(np.where(missing, knots[0], scaled), knots, grid)
    positions = np.rint(place).astype(np.uint16)
    first_slot = _steps(feature) + 1
    for index, special in enumerate(feature.special):
        positions[values == special] = first_slot + index
    positions[missing] = first_slot + len(feature.special)
    return positions


def encode_by(feature: NumericFeature, positions: Positions, codes: NDArray[np.int64]) -> Positions:
    """Move positions to the curve of each unit's level, elementwise.

    Args:
        feature: the public declaration, with `by`.
        positions: uint16 (units,), as `encode_numeric` gives them.
        codes: int64 (units,); as of `encode_categorical`.

    Returns:
        uint16 (units,): at most 10 curves of at most 2,826 positions.
    """
    levels = len(feature.levels)
    curves = np.where((codes >= 0) & (codes < levels), codes, levels)
    curves = np.where(codes == MISSING_CODE, levels + 1, curves)
    return (curves * _curve_size(feature) + positions).astype(np.uint16)


def encode_categorical(feature: CategoricalFeature, codes: NDArray[np.int64]) -> Positions:
    """Turn level indices into positions.

    Args:
        feature: the public declaration.
        codes: int64 (units,); 0.. for declared levels, -1 for missing, anything else is other.

    Returns:
        uint16 (units,).
    """
    levels = len(feature.levels)
    known = (codes >= 0) & (codes < levels)
    positions = np.where(known, codes, levels)
    return np.where(codes == MISSING_CODE, levels + 1, positions).astype(np.uint16)


def fold_matrix(feature: Feature, places: Places | None = None) -> NDArray[np.int64]:
    """Return int64 (positions, slots): each position's slot weights in units of 2^-8.

    Args:
        feature: the public declaration.
        places: of the knots, where they are asked for; evenly spaced if None.
    """
    if isinstance(feature, CategoricalFeature):
        return np.eye(feature.slots, dtype=np.int64) * WEIGHT_STEPS
    hats = len(feature.knots)
    shape = _curve_size(feature), len(feature.curve_names)
    matrix = np.zeros(shape, dtype=np.int64)
    place = np.arange(_steps(feature) + 1)
    if feature.knots_from is None:
        left, fraction = place >> WEIGHT_BITS, place & (WEIGHT_STEPS - 1)
    else:
        left, fraction = _between(place, np.array(places or even_places(hats), dtype=np.int64))
    matrix[place, left] = WEIGHT_STEPS - fraction
    inner = fraction > 0
    matrix[place[inner], left[inner] + 1] = fraction[inner]
    first_slot = len(place)
    for index in range(len(feature.special) + 1):
        matrix[first_slot + index, hats + index] = WEIGHT_STEPS
    if feature.by is None:
        return matrix
    return np.kron(np.eye(len(feature.curves), dtype=np.int64), matrix)


def _between(
    place: NDArray[np.int64], knots: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the knot left of each place, and the steps of 256 from it to the next one.

    Beyond the outermost knots the outermost hat holds.
    """
    inside = np.clip(place, knots[0], knots[-1])
    left = np.searchsorted(knots, inside, side="right") - 1
    gap = np.append(np.diff(knots), 1)[left]
    return left, WEIGHT_STEPS * (inside - knots[left]) // gap


@dataclass(frozen=True)
class Basis:
    """The whole basis of a study: the bias, then every feature's slots in order.

    Attributes:
        features: of the study.
        knots: places of each feature's that asks for its knots; none: evenly spaced.
    """

    features: tuple[Feature, ...]
    knots: tuple[Places, ...] = ()

    def with_knots_in(self, parameters: NDArray[np.float64]) -> "Basis":
        """Return the basis on the knots that a model's parameters end with.

        Raises:
            ProtocolError: no knots of these features.
        """
        if not self.asked:
            return self
        knots = places_in(self.features, parameters[self.entries :])
        return self if knots == self.knots else basis_of(self.features, knots)

    @cached_property
    def asked(self) -> tuple[NumericFeature, ...]:
        """The features whose knots are asked for."""
        return asked_features(self.features)

    def shown_features(self, parameters: NDArray[np.float64]) -> tuple[Feature, ...]:
        """Return the features with their knots as values, also those that were asked for."""
        places = iter(self.with_knots_in(parameters).knots)
        return tuple(
            feature.model_copy(update={"knots": knots_at(feature, next(places))})
            if isinstance(feature, NumericFeature) and feature.knots_from is not None
            else feature
            for feature in self.features
        )

    @cached_property
    def even(self) -> NDArray[np.float64]:
        """float64 (knots of all asked features,): even knots, in use before an answer."""
        places = [even_places(len(feature.knots)) for feature in self.asked]
        return np.array([place for one in places for place in one], dtype=np.float64)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Index of each feature's first slot in a parameter vector; the bias is entry 0."""
        starts = np.cumsum([1, *(feature.slots for feature in self.features)])
        return tuple(int(start) for start in starts[:-1])

    @cached_property
    def entries(self) -> int:
        """Length of a sum and of the learned parameters, bias included, without asked knots."""
        return 1 + sum(feature.slots for feature in self.features)

    @cached_property
    def folds(self) -> tuple[NDArray[np.int64], ...]:
        """One fold matrix per feature."""
        knots = dict(zip((feature.name for feature in self.asked), self.knots, strict=False))
        return tuple(fold_matrix(feature, knots.get(feature.name)) for feature in self.features)

    @cached_property
    def weights(self) -> tuple[NDArray[np.float64], ...]:
        """The fold matrices as the real numbers that they stand for (float64)."""
        return tuple(fold.astype(np.float64) * (1.0 / WEIGHT_STEPS) for fold in self.folds)

    @cached_property
    def norms(self) -> tuple[NDArray[np.int64], ...]:
        """Per feature and position: squared norm of the slot weights, in units of 2^-16."""
        return tuple((fold * fold).sum(axis=1) for fold in self.folds)

    def slices(self) -> tuple[slice, ...]:
        """Return each feature's slice of a parameter vector."""
        return self._slices

    @cached_property
    def _slices(self) -> tuple[slice, ...]:
        pairs = zip(self.offsets, self.features, strict=True)
        return tuple(slice(start, start + feature.slots) for start, feature in pairs)

    def tables(self, parameters: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Return each feature's contribution to the score, by position (float64, log-odds)."""
        basis = self.with_knots_in(parameters)
        return [
            weights @ parameters[part]
            for weights, part in zip(basis.weights, self.slices(), strict=True)
        ]

    def scores(self, parameters: NDArray[np.float64], positions: Positions) -> NDArray[np.float64]:
        """Return float64 (units,): bias plus every feature's table value, added in order.

        Elementwise in the units, so a unit's score does not depend on other units.
        """
        total = np.full(positions.shape[1], parameters[0], dtype=np.float64)
        for table, column in zip(self.tables(parameters), positions, strict=True):
            total += table[column]
        return total


@lru_cache(maxsize=8)
def basis_of(features: tuple[Feature, ...], knots: tuple[Places, ...] = ()) -> Basis:
    """Return the basis of these features, one and the same for every institution of a process.

    Its matrices take 5 MB at 40 features of 8 knots: 1,000 institutions each with their own, 6 GB.
    """
    return Basis(features, knots)

"""The additive model: a logistic generalised additive model on public knots.

Glass-box: each feature's curve can be drawn and every score decomposes exactly.
A unit's gradient is (sigmoid(score) - label) * basis. Its norm is therefore
|residual| * |basis|, a closed formula, and clipping is a bound on the residual.

Exactness (docs/design.md, "Integers"): basis values are multiples of 2^-8, clipped residuals
are truncated towards zero to multiples of 2^-20, so every product is a multiple of
2^-28 and sums are integers that do not depend on order, chunks or threads. Float64
carries the histogram of residuals exactly while its entries stay below 2^53.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import (
    WEIGHT_BITS,
    WEIGHT_STEPS,
    Basis,
    EncodedUnits,
    Positions,
    basis_of,
    table_size,
)
from fieldfare.shared.features.features import Feature
from fieldfare.shared.models.clipping import (
    RESIDUAL_BITS,
    RESIDUAL_STEPS,
    clip_residuals,
    residual_caps,
)
from fieldfare.shared.models.interface import GridVectors, check_count

GAMMA_BITS: Final = RESIDUAL_BITS + WEIGHT_BITS
EXACT_BITS: Final = 53  # float64 holds whole numbers below 2^53
MAX_EXACT_UNITS: Final = 1 << (EXACT_BITS - RESIDUAL_BITS)  # |residual| <= 1: sums stay below 2^53
CHUNK_UNITS: Final = 1 << 15  # keeps a chunk's residuals and positions in cache


@dataclass(frozen=True)
class AdditiveModel:
    """Logistic generalised additive model over a study's declared features."""

    features: tuple[Feature, ...]
    clipping_norm: float

    @property
    def basis(self) -> Basis:
        """The sparse basis of the declared features."""
        return basis_of(self.features)

    @property
    def vectors(self) -> GridVectors:
        """Exact on 2^-28, so no rounding term: sensitivity is exactly C."""
        return GridVectors(
            entries=self.basis.entries,
            clipping_norm=self.clipping_norm,
            gamma_bits=GAMMA_BITS,
            rounded_entries=0,
        )

    def initial(self, log_odds: float) -> NDArray[np.float64]:
        """Return float64: zeros, the bias at the public log-odds, evenly spaced asked knots."""
        basis = self.basis
        parameters = np.concatenate([np.zeros(basis.entries), basis.even])
        parameters[0] = log_odds
        return parameters

    def prepare(self, data: EncodedUnits) -> "AdditiveSums | KnottedSums":
        """Return the units ready for sums.

        Raises:
            RecordsError: more units than exact float64 sums can carry (2^33).
        """
        check_count(data, MAX_EXACT_UNITS)
        sums = self.prepare_on(self.basis, data)
        return KnottedSums(self, sums) if self.basis.asked else sums

    def prepare_on(self, basis: Basis, data: EncodedUnits) -> "AdditiveSums":
        """Return the units ready for sums on the knots of `basis`."""
        caps = np.empty(len(data), dtype=np.int32)
        for start in range(0, len(data), CHUNK_UNITS):
            chunk = data.positions[:, start : start + CHUNK_UNITS]
            norms = np.full(chunk.shape[1], 1 << (2 * WEIGHT_BITS), dtype=np.int64)
            for column, norm in zip(chunk, basis.norms, strict=True):
                norms += norm[column]
            caps[start : start + CHUNK_UNITS] = residual_caps(norms, self.clipping_norm)
        return AdditiveSums(basis, data, caps)

    def scores(self, parameters: NDArray[np.float64], data: EncodedUnits) -> NDArray[np.float64]:
        """Return float64 (units,): log-odds."""
        return self.basis.scores(parameters, data.positions)


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class AdditiveSums:
    """Units of one institution with their clipping caps, computed once."""

    basis: Basis
    data: EncodedUnits
    caps: NDArray[np.int32]

    @cached_property
    def _folds_as_floats(self) -> bool:
        """Tell whether no sum of products in `_fold` reaches 2^53, so that float64 is exact too.

        Weights are folds over 2^8; compiled routines multiply floats, not integers.
        """
        largest = max((int(np.abs(fold).max(initial=0)) for fold in self.basis.folds), default=0)
        return len(self.data) * RESIDUAL_STEPS * largest < 1 << EXACT_BITS

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return int64 (entries,): the sum of clipped unit gradients in units of 2^-28.

        Args:
            parameters: float64 (entries,), finite; magnitudes are bounded in the request.

        Formal Guarantees:
            Adding or removing one unit moves the result by at most C * 2^28 in L2,
            exactly, whatever the order, the chunking or the other units.

        Edge cases:
            | input | result |
            |---|---|
            | no units | zeros |
            | one unit, one class | as any other: no refusal depends on records |
            | scores beyond the range of exp | residual 0 or 1, finite |

        Source: docs/design.md, "Integers"; clipping as in Abadi et al. 2016, section 3.
        """
        return self._fold(self._histograms(parameters, clip=True))

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        histograms = self._histograms(parameters, clip=False)
        parts = [
            histogram @ (fold * (1.0 / WEIGHT_STEPS))
            for histogram, fold in zip(histograms[1:], self.basis.folds, strict=True)
        ]
        return np.concatenate([histograms[0], *parts]) / RESIDUAL_STEPS

    def _histograms(
        self, parameters: NDArray[np.float64], *, clip: bool
    ) -> list[NDArray[np.float64]]:
        """Sum residuals (in units of 2^-20) by position; the bias comes first."""
        basis = self.basis
        tables = basis.tables(parameters)
        totals = [np.zeros(1), *(np.zeros(table_size(f)) for f in basis.features)]
        for start in range(0, len(self.data), CHUNK_UNITS):
            stop = start + CHUNK_UNITS
            columns = self.data.positions[:, start:stop]
            residuals = self._residuals(parameters[0], tables, columns, start)
            if clip:
                clip_residuals(residuals, self.caps[start:stop])
            totals[0] += residuals.sum()
            for index, column in enumerate(columns, start=1):
                size = len(totals[index])
                totals[index] += np.bincount(column, weights=residuals, minlength=size)
        return totals

    def _residuals(
        self,
        bias: np.float64,
        tables: list[NDArray[np.float64]],
        columns: Positions,
        start: int,
    ) -> NDArray[np.float64]:
        """Return (sigmoid(score) - label) * 2^20, elementwise in the units."""
        scores = np.full(columns.shape[1], bias)
        for table, column in zip(tables, columns, strict=True):
            scores += table.take(column)
        # exp of at most 500 neither overflows nor loses a residual that 2^-20 could show.
        np.clip(scores, -500.0, 500.0, out=scores)
        np.negative(scores, out=scores)
        np.exp(scores, out=scores)
        scores += 1.0
        np.reciprocal(scores, out=scores)
        scores -= self.data.labels[start : start + columns.shape[1]]
        scores *= RESIDUAL_STEPS
        return scores

    def _fold(self, histograms: list[NDArray[np.float64]]) -> NDArray[np.int64]:
        """Fold exact residual histograms to slots, in int64 units of 2^-28."""
        if self._folds_as_floats:
            folded = [
                h @ weights for h, weights in zip(histograms[1:], self.basis.weights, strict=True)
            ]
            return (np.concatenate([histograms[0], *folded]) * WEIGHT_STEPS).astype(np.int64)
        exact = [histogram.astype(np.int64) for histogram in histograms]
        parts = [h @ fold for h, fold in zip(exact[1:], self.basis.folds, strict=True)]
        return np.concatenate([exact[0] * WEIGHT_STEPS, *parts])


class KnottedSums:
    """Units of one institution where parameters end with the knots that they are about."""

    def __init__(self, model: AdditiveModel, sums: AdditiveSums) -> None:
        """Begin on evenly spaced knots."""
        self._model, self._sums = model, sums

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return int64 (entries,) as `AdditiveSums.gradient_sum`, on the parameters' own knots.

        Formal Guarantees:
            Clipping caps are computed for these knots, so that the bound of C holds for any.

        Raises:
            ProtocolError: parameters that do not end with knots of these features.
        """
        return self._on(parameters).gradient_sum(parameters)

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        return self._on(parameters).plain_gradient(parameters)

    def _on(self, parameters: NDArray[np.float64]) -> AdditiveSums:
        basis = self._sums.basis.with_knots_in(parameters)
        if basis is not self._sums.basis:  # once a run: its knots do not change
            self._sums = self._model.prepare_on(basis, self._sums.data)
        return self._sums

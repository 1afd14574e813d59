"""The linear model: logistic regression on rows of L2 norm at most 1 (texts, vectors).

A unit's gradient is residual * (1, x), with residual = sigmoid(score) - label. Its norm is
|residual| * sqrt(1 + |x|^2), a closed formula, and clipping is a bound on the residual, exactly
as in the additive model (docs/design.md, "Integers").

Exactness: entries of x are multiples of 2^-10, clipped residuals are truncated towards zero to
multiples of 2^-20, so every product is a multiple of 2^-30 and sums are integers that depend on
no order. Scores are exact too: weights are read on multiples of 2^-20, and by Cauchy-Schwarz
every partial sum of a score stays below 2^49 in units of 2^-30. A unit's vector is therefore
bit-identical in every batch and with every library that multiplies.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import ROW_BITS, ROW_STEPS, UnitRows
from fieldfare.shared.models.additive import MAX_EXACT_UNITS
from fieldfare.shared.models.clipping import RESIDUAL_BITS, RESIDUAL_STEPS, clip_residuals, row_caps
from fieldfare.shared.models.interface import GridVectors, check_count

GAMMA_BITS: Final = RESIDUAL_BITS + ROW_BITS
WEIGHT_BITS: Final = 20  # of a weight, when a score is computed
LARGEST_WEIGHT: Final = float(1 << 14)  # no request has one; coordinates that are crafted may
LARGEST_SCORE: Final = 500.0  # exp of it neither overflows nor hides a residual of 2^-20


def rows_of(data: EncodedUnits, columns: int) -> UnitRows:
    """Return the rows of units.

    Raises:
        RecordsError: units without rows, or rows of another length.
    """
    if data.rows is None or data.rows.columns != columns:
        found = "none" if data.rows is None else f"{data.rows.columns}"
        raise RecordsError(f"expected rows of {columns} entries for this model, found {found}")
    return data.rows


@dataclass(frozen=True)
class LinearModel:
    """Logistic regression over rows.

    Attributes:
        columns: length of a row.
        clipping_norm: C.
    """

    columns: int
    clipping_norm: float

    @property
    def vectors(self) -> GridVectors:
        """Exact on 2^-30, so no rounding term: sensitivity is exactly C."""
        return GridVectors(
            entries=1 + self.columns,
            clipping_norm=self.clipping_norm,
            gamma_bits=GAMMA_BITS,
            rounded_entries=0,
        )

    def initial(self, log_odds: float) -> NDArray[np.float64]:
        """Return float64 (1 + columns,): zeros, and the bias at the public log-odds."""
        parameters = np.zeros(1 + self.columns, dtype=np.float64)
        parameters[0] = log_odds
        return parameters

    def prepare(self, data: EncodedUnits) -> "LinearSums":
        """Return the units ready for sums.

        Raises:
            RecordsError: no rows of this model's length, or more units than exact sums
                can carry (2^33).
        """
        check_count(data, MAX_EXACT_UNITS)
        rows = rows_of(data, self.columns)
        caps = row_caps(rows.squared_norms(), self.clipping_norm).astype(np.int32)
        return LinearSums(rows, data.labels, caps)

    def scores(self, parameters: NDArray[np.float64], data: EncodedUnits) -> NDArray[np.float64]:
        """Return float64 (units,): log-odds, exact but for the one addition of the bias."""
        return row_scores(parameters, rows_of(data, self.columns))


def row_scores(parameters: NDArray[np.float64], rows: UnitRows) -> NDArray[np.float64]:
    """Return float64 (units,): bias + x . w, with w read on multiples of 2^-20.

    Args:
        parameters: float64 (1 + columns,); weights beyond +-2^14 count as that, so that |w| < 2^20
            in L2 for up to 2^11 columns, products stay below 2^53 and are exact.
        rows: of the units.
    """
    bounded = np.clip(parameters[1:], -LARGEST_WEIGHT, LARGEST_WEIGHT)
    weights = np.rint(np.ldexp(bounded, WEIGHT_BITS))
    scores = np.empty(len(rows), dtype=np.float64)
    for part, chunk in rows.chunks():
        scores[part] = chunk @ weights
    scaled: NDArray[np.float64] = np.ldexp(scores, -(WEIGHT_BITS + ROW_BITS)) + parameters[0]
    return scaled


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class LinearSums:
    """Units of one institution with their clipping caps, computed once."""

    rows: UnitRows
    labels: NDArray[np.uint8]
    caps: NDArray[np.int32]

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return int64 (1 + columns,): the sum of clipped unit gradients in units of 2^-30.

        Args:
            parameters: float64 (1 + columns,), finite; magnitudes are bounded in the request.

        Formal Guarantees:
            Adding or removing one unit moves the result by at most C * 2^30 in L2,
            exactly, whatever the order, the chunking or the other units.

        Edge cases:
            | input | result |
            |---|---|
            | no units | zeros |
            | a row of zeros | the bias's entry alone |
            | scores beyond the range of exp | residual 0 or 1, finite |

        Source: docs/design.md, "Integers"; clipping as in Abadi et al. 2016, section 3.
        """
        residuals = self._residuals(parameters)
        clip_residuals(residuals, self.caps)
        total = np.zeros(1 + self.rows.columns, dtype=np.int64)
        # Of one chunk, 2^12 units * 2^20 * 2^10 = 2^42 at most: float64 carries it exactly.
        for part, chunk in self.rows.chunks():
            total[0] += int(residuals[part].sum()) * ROW_STEPS
            total[1:] += (chunk.T @ residuals[part]).astype(np.int64)
        return total

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return float64 (1 + columns,): the same sum without clipping (baselines only)."""
        residuals = self._residuals(parameters) / RESIDUAL_STEPS
        total = np.zeros(1 + self.rows.columns, dtype=np.float64)
        total[0] = residuals.sum()
        for part, chunk in self.rows.chunks():
            total[1:] += (chunk.T @ residuals[part]) / ROW_STEPS
        return total

    def _residuals(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (sigmoid(score) - label) * 2^20, elementwise in the units."""
        scores = np.clip(row_scores(parameters, self.rows), -LARGEST_SCORE, LARGEST_SCORE)
        return (1.0 / (1.0 + np.exp(-scores)) - self.labels) * RESIDUAL_STEPS

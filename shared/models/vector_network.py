"""The network model: one hidden layer over rows of L2 norm at most 1, with exact sums.

    z = W x + b      h = min(max(z, 0), 8)      score = w h + c

A unit's gradient is an outer product in every layer, so its norm follows from a few sums of
squares (book-keeping: Bu et al. 2023) and clipping is one factor on the backward signal; no
gradient of a unit is ever written out, and memory does not grow with units times parameters.

Exactness (docs/design.md, "Integers"): entries of x and h are multiples of 2^-10, the backward
signal is scaled to the clipping norm and truncated towards zero to multiples of 2^-24, so a unit's
gradient lies on multiples of 2^-34 and sums are integers that depend on no order. The way forward
is exact too: weights are read on multiples of 2^-20, and no partial sum reaches 2^53 in units of
2^-30. A unit's vector is therefore bit-identical in every batch and with every library that
multiplies.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import ROW_BITS, ROW_STEPS, UnitRows
from fieldfare.shared.models.interface import GridVectors, check_count
from fieldfare.shared.models.linear import LARGEST_SCORE, rows_of

FLOW_BITS: Final = 24  # of what flows back
GAMMA_BITS: Final = FLOW_BITS + ROW_BITS
WEIGHT_BITS: Final = 20  # of a weight, on the way forward
CAP: Final = 8.0  # of a hidden value
MAX_UNITS: Final = 1 << 22  # of sums in int64: 2^(24 + 3 + 13 + 22) stays below 2^63
SLACK: Final = 1.0 - 2.0**-40  # more than float64 may be off in a norm
START: Final = b"fieldfare.network-start.v1"

Values = NDArray[np.float64]


@dataclass(frozen=True)
class VectorLayers:
    """Parameters taken apart.

    Attributes:
        offset: c, of the score.
        biases: float64 (hidden,), b.
        heads: float64 (hidden,), w.
        weights: float64 (hidden, columns), W.
    """

    offset: float
    biases: Values
    heads: Values
    weights: Values

    @classmethod
    def of(cls, parameters: Values, hidden: int, columns: int) -> "VectorLayers":
        """Take apart float64 (1 + hidden * (columns + 2),): c, then b, w, and W by rows."""
        biases, heads = parameters[1 : 1 + hidden], parameters[1 + hidden : 1 + 2 * hidden]
        weights = parameters[1 + 2 * hidden :].reshape(hidden, columns)
        return cls(float(parameters[0]), _on_grid(biases), _on_grid(heads), _on_grid(weights))

    def forward(self, chunk: Any) -> tuple[Values, Values]:
        """Return float64 (units, hidden): z, and h in whole steps of 2^-10.

        Args:
            chunk: float64 (units, columns), whole numbers in units of 2^-10.
        """
        scaled = chunk @ np.ldexp(self.weights, WEIGHT_BITS).T
        before = np.ldexp(scaled, -(WEIGHT_BITS + ROW_BITS)) + self.biases
        return before, np.floor(np.clip(before, 0.0, CAP) * ROW_STEPS)

    def scores(self, hidden: Values) -> Values:
        """Return float64 (units,), log-odds, from h in whole steps."""
        scaled: Values = hidden @ np.ldexp(self.heads, WEIGHT_BITS)
        return np.ldexp(scaled, -(WEIGHT_BITS + ROW_BITS)) + self.offset


def _on_grid(values: Values) -> Values:
    return np.ldexp(np.rint(np.ldexp(values, WEIGHT_BITS)), -WEIGHT_BITS)


@dataclass(frozen=True)
class NetworkModel:
    """A network with one hidden layer over rows.

    Attributes:
        columns: length of a row.
        hidden: width of the hidden layer, at most 64.
        clipping_norm: C.
    """

    columns: int
    hidden: int
    clipping_norm: float

    @property
    def vectors(self) -> GridVectors:
        """Exact on 2^-34, so no rounding term: sensitivity is exactly C."""
        return GridVectors(
            entries=1 + self.hidden * (self.columns + 2),
            clipping_norm=self.clipping_norm,
            gamma_bits=GAMMA_BITS,
            rounded_entries=0,
        )

    def initial(self, log_odds: float) -> Values:
        """Return the start: the bias at the public log-odds, W from a public stream, else zeros.

        W is uniform with variance 1 on multiples of 2^-20, from SHAKE-256 of a constant: the same
        everywhere, and no row is favoured. With w at zero every score begins at the prevalence.
        """
        size = self.hidden * self.columns
        stream = np.frombuffer(hashlib.shake_256(START).digest(4 * size), dtype="<u4")
        reach = 1_816_187  # sqrt(3) * 2^20
        steps = (stream.astype(np.int64) * (2 * reach + 1) >> 32) - reach
        parameters = np.zeros(self.vectors.entries, dtype=np.float64)
        parameters[0] = log_odds
        parameters[1 + 2 * self.hidden :] = np.ldexp(steps.astype(np.float64), -WEIGHT_BITS)
        return parameters

    def prepare(self, data: EncodedUnits) -> "NetworkSums":
        """Return the units ready for sums.

        Raises:
            RecordsError: no rows of this model's length, or more units than exact sums can
                carry (2^22).
        """
        check_count(data, MAX_UNITS)
        rows = rows_of(data, self.columns)
        return NetworkSums(self, rows, data.labels, rows.squared_norms())

    def scores(self, parameters: Values, data: EncodedUnits) -> Values:
        """Return float64 (units,): log-odds."""
        layers = VectorLayers.of(parameters, self.hidden, self.columns)
        rows = rows_of(data, self.columns)
        found = np.empty(len(rows), dtype=np.float64)
        for part, chunk in rows.chunks():
            found[part] = layers.scores(layers.forward(chunk)[1])
        return found

    @property
    def head_places(self) -> NDArray[np.int64]:
        """int64 (1 + hidden,): where offset and heads stand among the parameters."""
        return np.concatenate([[0], np.arange(1 + self.hidden, 1 + 2 * self.hidden)])

    def last_values(self, parameters: Values, data: EncodedUnits) -> Values:
        """Return float64 (units, hidden): the hidden values."""
        layers, rows = (
            VectorLayers.of(parameters, self.hidden, self.columns),
            rows_of(data, self.columns),
        )
        found = np.empty((len(rows), self.hidden))
        for part, chunk in rows.chunks():
            found[part] = layers.forward(chunk)[1] / ROW_STEPS
        return found


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class NetworkSums:
    """Units of one institution with the squared norms of their rows, computed once."""

    model: NetworkModel
    rows: UnitRows
    labels: NDArray[np.uint8]
    squared_norms: NDArray[np.int64]

    def gradient_sum(self, parameters: Values) -> NDArray[np.int64]:
        """Return int64 (entries,): the sum of clipped unit gradients in units of 2^-34.

        Args:
            parameters: float64 (entries,), finite; magnitudes are bounded in the request.

        Formal Guarantees:
            Adding or removing one unit moves the result by less than C * 2^34 in L2, whatever
            the order, the chunking or the other units: its gradient is scaled to at most
            C (1 - 2^-40) and every factor is then cut towards zero.

        Edge cases:
            | input | result |
            |---|---|
            | no units | zeros |
            | a row of zeros | what the biases and heads alone give |
            | all hidden values at 0 or at the cap | the outer layer's gradient alone |

        Source: docs/design.md, "Integers"; norms as in Bu et al. 2023, "Differentially private
        optimization on large model at small cost", book-keeping.
        """
        total = np.zeros(self.model.vectors.entries, dtype=np.int64)
        for chunk, hidden, back, flow in self._flows(parameters):
            norms = self._norms(chunk[0], hidden, back, flow)
            factor = np.minimum(1.0, self.model.clipping_norm * SLACK / np.maximum(norms, 1e-300))
            outer = np.trunc(back * factor * (1 << FLOW_BITS))
            inner = np.trunc(flow * factor[:, None] * (1 << FLOW_BITS))
            total += self._added(chunk[1], hidden, outer, inner).astype(np.int64)
        return total

    def plain_gradient(self, parameters: Values) -> Values:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        total = np.zeros(self.model.vectors.entries, dtype=np.float64)
        for chunk, hidden, back, flow in self._flows(parameters):
            total += self._added(chunk[1], hidden, back, flow)
        return total / ROW_STEPS

    def _flows(
        self, parameters: Values
    ) -> Iterator[tuple[tuple[slice, Any], Values, Values, Values]]:
        """Yield each chunk with h, and what flows back through the score and the hidden layer."""
        layers = VectorLayers.of(parameters, self.model.hidden, self.model.columns)
        for part, chunk in self.rows.chunks():
            before, hidden = layers.forward(chunk)
            scores = np.clip(layers.scores(hidden), -LARGEST_SCORE, LARGEST_SCORE)
            back = 1.0 / (1.0 + np.exp(-scores)) - self.labels[part]
            open_ = (before > 0.0) & (before < CAP)
            yield (part, chunk), hidden, back, back[:, None] * layers.heads * open_

    def _norms(self, part: slice, hidden: Values, back: Values, flow: Values) -> Values:
        """Return float64 (units,): norms of unit gradients."""
        heads = (hidden * hidden).sum(axis=1) / ROW_STEPS**2
        rows = self.squared_norms[part] / ROW_STEPS**2
        squares = back * back * (1.0 + heads) + (flow * flow).sum(axis=1) * (1.0 + rows)
        norms: Values = np.sqrt(squares)
        return norms

    def _added(self, chunk: Any, hidden: Values, outer: Values, inner: Values) -> Values:
        """Return float64 (entries,): the chunk's sum of products, times 2^10."""
        added: Values = np.concatenate(
            [
                [outer.sum() * ROW_STEPS],
                inner.sum(axis=0) * ROW_STEPS,
                outer @ hidden,
                np.asarray((chunk.T @ inner).T).ravel(),
            ]
        )
        return added

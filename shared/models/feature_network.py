"""The network over features: one or many rows a unit, clipped once, summed in buckets.

A unit's gradient is that of the mean loss over its rows. It is computed in batches of one shape, so
that no other unit of a batch changes its numbers (`check_machine` holds the machine to that); units
are summed in buckets of at most 128 and every bucket is rounded to the grid (`buckets`).

One row a unit: float32. The error of a bucket of 128 sums is at most 128 * 2^-24 of the sum of its
norms (Higham 2002, section 3.1), so at most 2^-10 C; a unit touches three buckets at most, and its
own norm is off by less than 2^-12: all within the 2^-8 C that sensitivity counts for it. Many rows:
float64, where rows of a unit may cancel by 2^14 and the same bound holds.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fieldfare.shared.features.basis import Basis, EncodedUnits
from fieldfare.shared.features.features import Feature
from fieldfare.shared.features.rows import splitmix
from fieldfare.shared.models.dense_layers import DenseNetwork, arithmetic, check_machine
from fieldfare.shared.models.interface import GridVectors, check_count
from fieldfare.shared.models.network_facts import GAMMA_BITS, network_vectors
from fieldfare.shared.models.unit_batches import Inputs, UnitInputs, effects, slot_rows
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study

MAX_UNITS: Final = 1 << 22  # of sums in int64: 2^(34 + 4 + 22) stays below 2^63
START: Final = b"fieldfare.mlp-start.v1"
WEIGHT_BITS: Final = 20  # of a first weight

Values = NDArray[np.float64]


@dataclass(frozen=True)
class MlpModel:
    """A network over a study's features.

    Attributes:
        features: as declared; their hat weights are what it reads.
        hidden: widths of the hidden layers.
        rows: R, the most rows of a unit.
        clipping_norm: C.
    """

    features: tuple[Feature, ...]
    hidden: tuple[int, ...]
    rows: int
    clipping_norm: float

    @classmethod
    def of(cls, study: Study, section: MlpSection) -> "MlpModel":
        """Return the network that a study declares in its section."""
        norm = study.privacy.clipping_norm
        return cls(study.features, section.hidden, section.rows, norm)

    @cached_property
    def inputs(self) -> Inputs:
        """How units are laid out."""
        return Inputs(Basis(self.features), self.rows)

    @cached_property
    def network(self) -> DenseNetwork:
        """Its shape."""
        inputs = self.inputs
        return DenseNetwork(inputs.count, inputs.width, self.hidden, inputs.dtype)

    @property
    def vectors(self) -> GridVectors:
        """Public facts about a unit's gradient vector."""
        return network_vectors(self.network.entries, self.clipping_norm)

    def initial(self, log_odds: float) -> Values:
        """Return the start: c at the public log-odds, w at 0, weights from a public stream.

        Weights are uniform with variance 2 by the squared length of what comes in, on multiples
        of 2^-20, from SHAKE-256 of a constant: the same everywhere, bit for bit.
        """
        network = self.network
        befores = (network.count, *network.hidden[:-1])
        lengths = (len(self.features), *network.hidden[:-1])
        stream, parts = Stream(), [np.array([log_odds]), np.zeros(network.hidden[-1])]
        for width, before, length in zip(network.hidden, befores, lengths, strict=True):
            parts += [stream.uniform(width * before, length), np.zeros(width)]
        return np.concatenate(parts)

    def prepare(self, data: EncodedUnits) -> "MlpSums":
        """Return the units ready for sums.

        Raises:
            RecordsError: more units than exact sums can carry (2^22), or laid out otherwise.
            RunError: this machine's arithmetic lets units of a batch change each other.
        """
        check_count(data, MAX_UNITS)
        check_machine(self.inputs, self.network)
        return MlpSums(self, UnitInputs(self.inputs, data))

    def scores(self, parameters: Values, data: EncodedUnits) -> Values:
        """Return float64 (units,): log-odds, the mean over a unit's rows."""
        found, whole = np.empty(len(data)), torch.from_numpy(parameters)
        with arithmetic():
            for chunk in UnitInputs(self.inputs, ordered(data)).chunks():
                scores = self.network.scores(whole, chunk).to(torch.float64).numpy()
                found[chunk.places] = scores[: len(chunk.places)]
        return found

    def row_scores(self, parameters: Values, rows: Tensor) -> Tensor:
        """Return (rows,), log-odds of single rows in float64; torch may differentiate them.

        Args:
            parameters: float64 (entries,).
            rows: float64 (rows, width), as `unit_inputs.rows_at` has them, in units of 1.
        """
        network = replace(self.network, dtype=torch.float64)
        layers = network.layers(torch.from_numpy(parameters))
        return network.forward(layers, rows)[1] + layers.offset

    @property
    def head_places(self) -> NDArray[np.int64]:
        """int64 (1 + last width,): where offset and heads stand among the parameters."""
        return np.arange(1 + self.hidden[-1])

    def last_values(self, parameters: Values, data: EncodedUnits) -> Values:
        """Return float64 (units, last width): the last layer's values, the mean over rows."""
        found, whole = np.zeros((len(data), self.hidden[-1])), torch.from_numpy(parameters)
        with arithmetic():
            for chunk in UnitInputs(self.inputs, ordered(data)).chunks():
                rows = chunk.inputs.flatten(0, 1)
                steps, _ = self.network.forward(self.network.layers(whole), rows)
                values = steps[-1].reshape(*chunk.weights.shape, -1) * chunk.weights[..., None]
                found[chunk.places] = values.sum(1).to(torch.float64).numpy()[: len(chunk.places)]
        return found

    def slot_values(self, parameters: Values) -> Values:
        """Return float64 (slots,): the addition of each slot alone to a score, in log-odds.

        In log-odds, on multiples of 2^-20. A network's features act together: these are for
        pictures and cards, and do not add up to a score.
        """
        with arithmetic():
            scores = self.row_scores(parameters, slot_rows(self.inputs))
        return effects(scores)


def ordered(data: EncodedUnits) -> EncodedUnits:
    """Return units with an order: a made-up one where sums need none."""
    if data.order is not None:
        return data
    return replace(data, order=splitmix(np.arange(len(data), dtype=np.uint64)))


class Stream:
    """Numbers from a public stream, one after the other."""

    def __init__(self) -> None:
        """Begin at its beginning."""
        self._read = 0

    def uniform(self, size: int, length: int) -> Values:
        """Return float64 (size,) of variance 2 / length."""
        reach = math.isqrt((6 << (2 * WEIGHT_BITS)) // length)
        content = hashlib.shake_256(START).digest(4 * (self._read + size))
        numbers = np.frombuffer(content, dtype="<u4")[self._read :].astype(np.int64)
        self._read += size
        steps = (numbers * (2 * reach + 1) >> 32) - reach
        return np.ldexp(steps.astype(np.float64), -WEIGHT_BITS)


@dataclass(frozen=True, eq=False, repr=False)  # a repr would show records
class MlpSums:
    """Units of one institution, laid out once."""

    model: MlpModel
    units: UnitInputs

    def gradient_sum(self, parameters: Values) -> NDArray[np.int64]:
        """Return int64 (entries,): the sum of clipped unit gradients in units of 2^-34.

        Args:
            parameters: float64 (entries,), finite; magnitudes are bounded in the request.

        Formal Guarantees:
            Adding or removing one unit moves the result by at most
            C (1 + 2^-8) + (3/2) gamma sqrt(entries) in L2: its own vector, of norm C at most, and
            what arithmetic and rounding may change in the three buckets that it touches. Units
            of other buckets, and of its own, keep their numbers bit for bit.

        Edge cases:
            | input | result |
            |---|---|
            | no units | zeros |
            | a unit without rows | nothing |
            | fewer rows than places | padding weighs 0 and changes nothing |
            | a gradient beyond what the arithmetic holds | the unit counts as zero |

        Source: docs/design.md, "Sums of modules"; norms as in Bu et al. 2023.
        """
        return self._sum(parameters, self.model.clipping_norm).astype(np.int64)

    def plain_gradient(self, parameters: Values) -> Values:
        """Return float64 (entries,): the same sum without clipping (baselines only)."""
        return np.ldexp(self._sum(parameters, math.inf), -GAMMA_BITS)

    @arithmetic()
    def _sum(self, parameters: Values, limit: float) -> Values:
        network = self.model.network
        layers = network.layers(torch.from_numpy(parameters))
        total = layers.totals()
        for chunk in self.units.chunks():
            steps, flows = network.clipped(layers, chunk, limit, 2.0**GAMMA_BITS)
            network.add_buckets(total, chunk, steps, flows)
        return np.asarray(network.joined(total).numpy(), dtype=np.float64)

"""A network of rectified layers by the formulas that a chain of products has: no autograd.

    a_0 = x      a_l = max(W_l a_(l-1) + b_l, 0)      score of a row = w a_L + c

A unit's gradient is the mean over its rows, and in every layer a sum of outer products of the
backward signal and the layer's input. Its norm follows from inner products of those, and clipping
is one factor on the backward signal (book-keeping: Bu et al. 2023): no gradient of a unit is ever
written out.

A check that this machine computes each unit alone, which a network's sums rely on.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import WEIGHT_STEPS
from fieldfare.shared.models.network_facts import CAPACITY, dense_entries
from fieldfare.shared.models.unit_batches import Chunk, Inputs

MOST_CANCELLED: Final = 2.0**14  # rows of a unit may cancel so far, and no further
# Of a layer's values, squared and added up. Beyond it what flows back may be within a norm of C and
# so small that its square is none: parameters that are chosen so would pass whole units unclipped.
MOST_SQUARED: Final = 2.0**60


@dataclass(frozen=True)
class DenseLayers:
    """Parameters taken apart, in the order c, w, then W and b of each layer.

    Attributes:
        offset: c, one number.
        head: (last width,), w.
        weights: of each hidden layer (width, width before); the first one's b stands in the
            column of the constant input.
        biases: (width,) of each hidden layer after the first.
    """

    offset: Tensor
    head: Tensor
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """All of them."""
        return (self.offset, self.head, *self.weights, *self.biases)

    def totals(self) -> "DenseLayers":
        """Return float64 zeros of the same shapes, for sums."""
        offset, head, *rest = (torch.zeros(part.shape, dtype=torch.float64) for part in self.parts)
        return DenseLayers(
            offset, head, tuple(rest[: len(self.weights)]), tuple(rest[len(self.weights) :])
        )


@dataclass(frozen=True)
class DenseNetwork:
    """The shape of a network.

    Attributes:
        count: numbers of a row.
        width: the same with a constant 1 behind them and zeros behind that.
        hidden: widths of the hidden layers.
        dtype: of all sums.
    """

    count: int
    width: int
    hidden: tuple[int, ...]
    dtype: torch.dtype

    @property
    def entries(self) -> int:
        """Count the parameters."""
        return dense_entries(self.count, self.hidden)

    def layers(self, parameters: Tensor) -> DenseLayers:
        """Take apart float64 (entries,)."""
        found = parameters.to(self.dtype)
        offset, head, found = found[0], found[1 : 1 + self.hidden[-1]], found[1 + self.hidden[-1] :]
        size = self.hidden[0] * self.count
        first = torch.zeros((self.hidden[0], self.width), dtype=self.dtype)
        first[:, : self.count] = found[:size].reshape(self.hidden[0], self.count)
        first[:, self.count] = found[size : size + self.hidden[0]]
        found = found[size + self.hidden[0] :]
        weights, biases = [first], []
        for before, width in zip(self.hidden[:-1], self.hidden[1:], strict=True):
            weights.append(found[: width * before].reshape(width, before))
            biases.append(found[width * before : width * (before + 1)])
            found = found[width * (before + 1) :]
        return DenseLayers(offset, head, tuple(weights), tuple(biases))

    def joined(self, parts: DenseLayers) -> Tensor:
        """Return the parameters that `layers` took apart, without its padding columns."""
        first = parts.weights[0]
        inner = [first[:, : self.count].reshape(-1), first[:, self.count]]
        for weights, biases in zip(parts.weights[1:], parts.biases, strict=True):
            inner += [weights.reshape(-1), biases]
        return torch.cat([parts.offset.reshape(1), parts.head, *inner])

    def forward(self, layers: DenseLayers, rows: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the input of each layer, (rows, width), and the scores without c, (rows,)."""
        steps = [rows, (rows @ layers.weights[0].T).clamp_(min=0.0)]
        for weights, biases in zip(layers.weights[1:], layers.biases, strict=True):
            steps.append(torch.addmm(biases, steps[-1], weights.T).clamp_(min=0.0))
        return steps, (steps[-1] * layers.head).sum(1)

    def scores(self, parameters: Tensor, chunk: Chunk) -> Tensor:
        """Return (units,), log-odds: the mean over a unit's rows; c where it has none."""
        layers = self.layers(parameters)
        _, scores = self.forward(layers, chunk.inputs.flatten(0, 1))
        return (chunk.weights * scores.reshape(chunk.weights.shape)).sum(1) + layers.offset

    def flows(self, layers: DenseLayers, chunk: Chunk) -> tuple[list[Tensor], list[Tensor]]:
        """Return the input of each layer and the gradient of its output, (rows, width) each.

        The last of both belong to the score: the last layer's values, and (rows, 1).
        """
        steps, scores = self.forward(layers, chunk.inputs.flatten(0, 1))
        back = torch.sigmoid(scores + layers.offset).reshape(chunk.weights.shape)
        back = ((back - chunk.labels[:, None]) * chunk.weights).reshape(-1, 1)
        flows = [back, back * layers.head * (steps[-1] > 0)]
        for place in range(len(layers.weights) - 1, 0, -1):
            flows.append((flows[-1] @ layers.weights[place]) * (steps[place] > 0))
        return steps, flows[::-1]

    def factors(
        self, chunk: Chunk, steps: Sequence[Tensor], flows: Sequence[Tensor], limit: float
    ) -> Tensor:
        """Return (units,): factors that bring each unit's gradient to a norm of at most `limit`.

        Edge cases:
            | unit | factor |
            |---|---|
            | norm within the limit | 1 |
            | norm not finite in this arithmetic | 0: it counts as zero |
            | a layer's values beyond a norm of 2^30 | 0: its norm could not be told |
            | rows that cancel by more than 2^14 | so small that no row exceeds 2^14 limits |
        """
        squares, lengths = self._squares(chunk, steps, flows)
        factor = (limit / squares.sqrt()).clamp_(max=1.0)
        if lengths is not None:
            factor = torch.minimum(factor, MOST_CANCELLED * limit / lengths)
        return torch.where(squares.isfinite(), factor, 0.0)

    def clipped(
        self, layers: DenseLayers, chunk: Chunk, limit: float, steps_of_one: float
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the input of each layer, and the gradients of the outputs, clipped.

        Args:
            layers: parameters.
            chunk: units.
            limit: C; infinite where nothing is clipped.
            steps_of_one: of the grid; what flows back is in its steps.
        """
        steps, flows = self.flows(layers, chunk)
        units, rows = chunk.weights.shape
        factors = torch.ones(units, dtype=self.dtype)
        if math.isfinite(limit):
            factors = self.factors(chunk, steps, flows, limit)
        scale = (factors * steps_of_one).repeat_interleave(rows)[:, None]
        for flow in flows:
            flow.mul_(scale)
        return steps, flows

    def _squares(
        self, chunk: Chunk, steps: Sequence[Tensor], flows: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Return (units,) squared norms, and the sum of norms of single rows where that differs."""
        total = (flows[0] * flows[0]).sum(1).mul_(chunk.lengths)
        for step, flow in zip(steps[1:], flows[1:], strict=True):
            sizes = (step * step).sum(1)
            total += (flow * flow).sum(1) * (sizes + 1.0)
            total.masked_fill_(sizes > MOST_SQUARED, math.inf)
        units, rows = chunk.weights.shape
        if rows == 1:
            return total, None
        squares = torch.zeros(units, dtype=self.dtype)
        for place, (step, flow) in enumerate(zip(steps, flows, strict=True)):
            inner = _products(step.reshape(units, rows, -1))
            if place:  # the first layer's constant stands among its inputs
                inner += 1.0
            squares += (_products(flow.reshape(units, rows, -1)) * inner).sum((1, 2))
        return squares.clamp_(min=0.0), total.sqrt().reshape(units, rows).sum(1)

    def add_buckets(
        self, total: DenseLayers, chunk: Chunk, steps: Sequence[Tensor], flows: Sequence[Tensor]
    ) -> None:
        """Add each bucket's sum of products to float64 totals, rounded to whole numbers.

        Args:
            total: what is added to; whole numbers.
            chunk: which buckets.
            steps: what goes into each layer.
            flows: what flows back, in steps of the grid.
        """
        head, *single = self._single_sums(chunk, steps, flows)
        total.offset.add_(head[-1])
        total.head.add_(head[:-1])
        for whole, part in zip(total.biases, single, strict=True):
            whole.add_(part)
        rows = chunk.weights.shape[1]
        for bucket in chunk.buckets:
            some = slice(bucket.start * rows, bucket.stop * rows)
            for whole, flow, step in zip(total.weights, flows[:-1], steps[:-1], strict=True):
                whole.add_((flow[some].T @ step[some]).round_())

    def _single_sums(
        self, chunk: Chunk, steps: Sequence[Tensor], flows: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """Return the sums that are no products of matrices, each bucket rounded: heads, biases."""
        rows = chunk.weights.shape[1]
        counts = [(bucket.stop - bucket.start) * rows for bucket in chunk.buckets]
        parts = [flows[-1] * steps[-1], flows[-1], *flows[1:-1]]
        sums = torch.segment_reduce(
            torch.cat(parts, dim=1)[: sum(counts)], "sum", lengths=torch.tensor(counts), axis=0
        )
        whole = sums.round_().to(torch.float64).sum(0)
        return torch.split(whole, [self.hidden[-1] + 1, *self.hidden[1:]])


def _products(rows: Tensor) -> Tensor:
    """Return (units, rows, rows): inner products of each unit's rows."""
    return rows @ rows.transpose(1, 2)


# -- machine --------------------------------------------------------------------------------------

PROBE: Final = b"fieldfare.machine-probe.v1"
GRID_STEPS: Final = 2.0**34  # of 1, as in sums


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: it parts no batch, and waits for no other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def arithmetic() -> Iterator[None]:
    """Compute in one thread and without gradients of torch's own."""
    with one_thread(), torch.no_grad():
        yield


@arithmetic()
def check_machine(inputs: Inputs, network: DenseNetwork) -> None:
    """Check that this machine computes a unit alike beside any others, and adds up as specified.

    On made-up units and parameters: the answer depends on the study and the machine alone.

    Raises:
        RunError: it does not.
    """
    chunk = _probe(inputs)
    size = np.frombuffer(hashlib.shake_256(PROBE).digest(4 * network.entries), dtype="<i4")
    layers = network.layers(torch.from_numpy(np.ldexp(size.astype(np.float64), -31)))
    units = len(chunk.labels)
    turn = torch.arange(units - 1, -1, -1)
    turned = Chunk(
        chunk.inputs[turn], chunk.weights[turn], chunk.labels[turn], chunk.places,
        chunk.lengths.reshape(units, -1)[turn].reshape(-1), chunk.buckets,
    )  # fmt: skip
    lone = turned.inputs.clone()
    lone[: units // 2] = 0.0  # other neighbours
    alone = replace(turned, inputs=lone)
    first, *others = (
        [flow.reshape(units, -1) for flow in network.clipped(layers, one, 0.5, 1.0)[1]]
        for one in (chunk, turned, alone)
    )
    for found in others:
        same = all(
            torch.equal(one[: units // 2], other[turn][: units // 2])
            for one, other in zip(first, found, strict=True)
        )
        if not same:
            raise RunError(
                "expected arithmetic that computes a unit alike whoever is beside it, found "
                "another: this build of torch, or its number of threads, cannot train networks here"
            )
    _check_sums(network, layers, chunk)


def _check_sums(network: DenseNetwork, layers: DenseLayers, chunk: Chunk) -> None:
    """Check that a full bucket's sum is as near to the exact one as sensitivity counts on.

    Torch may be told to multiply float32 in fewer digits, by a call or by a variable of its
    environment; a unit would then move a sum by more than C (1 + 2^-8).
    """
    bucket = replace(chunk, buckets=(slice(0, CAPACITY),))
    steps, flows = network.clipped(layers, bucket, 1.0, GRID_STEPS)
    found, exact = layers.totals(), layers.totals()
    network.add_buckets(found, bucket, steps, flows)
    network.add_buckets(exact, bucket, [s.double() for s in steps], [f.double() for f in flows])
    off = (network.joined(found) - network.joined(exact)).norm()
    if not off <= CAPACITY**2 * 2.0**-24 * GRID_STEPS + network.entries**0.5:
        raise RunError(
            "expected sums of products in the arithmetic that was asked for, found coarser ones: "
            "leave torch's float32_matmul_precision at highest, and unset "
            "ONEDNN_DEFAULT_FPMATH_MODE and DNNL_DEFAULT_FPMATH_MODE"
        )


def _probe(inputs: Inputs) -> Chunk:
    shape = (inputs.units, inputs.rows)
    size = inputs.units * inputs.rows * inputs.width
    draws = np.frombuffer(hashlib.shake_256(PROBE).digest(size), dtype=np.uint8)
    values = torch.from_numpy(draws.reshape(*shape, inputs.width).copy()).to(inputs.dtype)
    weights = torch.full(shape, 1.0 / inputs.rows, dtype=inputs.dtype)
    labels = torch.arange(inputs.units).remainder(2).to(inputs.dtype)
    values /= WEIGHT_STEPS
    lengths = (values * values).sum(2).reshape(-1)
    return Chunk(values, weights, labels, np.arange(inputs.units), lengths, ())

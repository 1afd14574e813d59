"""Whether this machine's arithmetic keeps units apart: what a network's sums rest on."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from fieldfare.shared.basis import WEIGHT_STEPS
from fieldfare.shared.errors import RunError
from fieldfare.shared.models.dense_network import DenseNetwork
from fieldfare.shared.models.unit_inputs import Chunk, Inputs

PROBE: Final = b"fieldfare.machine-probe.v1"


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
    """Check that this machine computes a unit alike wherever it stands and whoever is beside it.

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
                "arithmetic that computes a unit alike whoever is beside it expected, another "
                "found: this build of torch, or its number of threads, cannot train networks here"
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

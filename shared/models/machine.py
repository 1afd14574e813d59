"""A check that this machine computes each unit alone, which a network's sums rely on."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from fieldfare.shared.basis import WEIGHT_STEPS
from fieldfare.shared.errors import RunError
from fieldfare.shared.models.buckets import CAPACITY
from fieldfare.shared.models.dense_network import DenseNetwork, Layers
from fieldfare.shared.models.unit_inputs import Chunk, Inputs

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
    """Check that this machine computes a unit alike whoever is beside it, and adds up as told.

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


def _check_sums(network: DenseNetwork, layers: Layers, chunk: Chunk) -> None:
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

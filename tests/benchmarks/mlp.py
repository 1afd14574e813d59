"""A private step of a network over features beside plain torch and Opacus, in a process of its own.

    python -m tests.benchmarks.mlp [--units 4096,100000] [--json]

The plain step: float32, one thread, dense hat weights cut into chunks of
4,096 units beforehand, summed loss forward and backward, no clipping, no optimiser. The private
step begins with units as they are kept, and ends with whole numbers: unpacked, clipped, summed in
buckets of 128, rounded. Peak memory is the process's and only grows: what
needs least goes first.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from tests.benchmarks.harness import Bench, BenchRow, at_most, numbers
from tests.benchmarks.network import (
    CLIPPING_NORM,
    HOOKED,
    POSITIVE,
    UNITS,
    Step,
    batches,
    ghost_step,
    hooks_step,
    lines_of,
    plain_step,
    timed,
)

from fieldfare.shared.features.basis import WEIGHT_STEPS, EncodedUnits, table_size
from fieldfare.shared.features.features import NumericFeature
from fieldfare.shared.features.rows import splitmix
from fieldfare.shared.models.feature_network import MlpModel

FEATURES: Final = tuple(
    NumericFeature(name=f"f{place}", kind="numeric", lower=0, upper=7) for place in range(28)
)
HIDDEN: Final = (64, 32)
CHUNK: Final = 4096
MOST_RATIO: Final = 2.0
REPEATS: Final = 15  # a step of a small institution takes milliseconds
FEWER: Final = 3  # of a large one: hooks alone take seconds
LARGE: Final = 20_000


def made_up(units: int) -> EncodedUnits:
    """Return units of which a tenth are positive."""
    draws = np.random.default_rng(0)
    positions = [draws.integers(0, table_size(f), units, dtype=np.uint16) for f in FEATURES]
    labels = (draws.random(units) < POSITIVE).astype(np.uint8)
    order = splitmix(np.arange(units, dtype=np.uint64))
    return EncodedUnits(np.stack(positions), labels, order=order)


def network() -> torch.nn.Module:
    """Return the same network as torch writes it."""
    widths = (sum(feature.slots for feature in FEATURES), *HIDDEN)
    layers: list[torch.nn.Module] = []
    for before, width in pairwise(widths):
        layers += [torch.nn.Linear(before, width), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN[-1], 1))


def private_step(model: MlpModel, data: EncodedUnits) -> Step:
    """Return the project's own step."""
    sums, parameters = model.prepare(data), model.initial(-2.0)
    parameters[1 : 1 + HIDDEN[-1]] = 0.1
    return lambda: sums.gradient_sum(parameters)


def measured(units: int) -> dict[str, Any]:
    """Return seconds of a step (medians) and by how many megabytes each raised the peak."""
    model, data = MlpModel(FEATURES, HIDDEN, 1, CLIPPING_NORM), made_up(units)
    private = private_step(model, data)
    dense = model.inputs.filled(data.positions)[:, : model.inputs.count].astype(np.float32)
    dense /= np.float32(WEIGHT_STEPS)
    whole = batches(dense, data.labels, CHUNK)
    small = batches(dense, data.labels, HOOKED)
    return timed(
        units,
        {
            "private": private,
            "plain": plain_step(whole, network),
            "ghost": ghost_step(whole, network),
            "hooks": hooks_step(small, network),
        },
        REPEATS if units < LARGE else min(FEWER, REPEATS),
    )


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the figures for people."""
    widths = " to ".join(map(str, (sum(f.slots for f in FEATURES), *HIDDEN, 1)))
    return [
        f"A step of a network over features, {widths}, one thread, times plain torch:",
        *lines_of(rows),
    ]


def promises(rows: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of a private step."""
    return [
        at_most(
            f"private step of a network, {row['units']:,} units / plain torch",
            row["seconds"]["private"] / row["seconds"]["plain"],
            MOST_RATIO,
            "x",
            digits=2,
        )
        for row in rows
    ]


def measure(units: str = UNITS) -> list[dict[str, Any]]:
    """Measure networks over the given numbers of units."""
    return [measured(count) for count in numbers(units)]


BENCH: Final = Bench(measure, promises, table)

if __name__ == "__main__":
    BENCH.app()()

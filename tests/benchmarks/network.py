"""A private step of a network beside plain torch and Opacus, measured in a process of its own.

    python -m tests.benchmarks.network [--units 4096,100000] [--json]

One thread, float32 for torch and Opacus, chunks of the same size for all;
peak memory is the process's and only grows, so what needs least goes first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from tests.benchmarks.harness import Bench, numbers
from tests.benchmarks.steps import medians, peak_megabytes
from torch.nn.functional import binary_cross_entropy_with_logits

from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.rows import CHUNK_ROWS, unit_rows
from fieldfare.shared.models.vector_network import NetworkModel

UNITS: Final = "4096,100000"
ENTRIES, HIDDEN = 256, 64
CLIPPING_NORM: Final = 1.0
POSITIVE: Final = 0.1  # share of units
REPEATS: Final = 5
HOOKED: Final = 512  # units at a time: hooks hold units x parameters, 34 MB of float32 here

Step = Callable[[], object]
Build = Callable[[], torch.nn.Module]
Batches = list[tuple[torch.Tensor, torch.Tensor]]


def made_up(units: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return float32 (units, entries) and labels of which a tenth are positive."""
    draws = np.random.default_rng(0)
    values = draws.normal(size=(units, ENTRIES)).astype(np.float32)
    return values, (draws.random(units) < POSITIVE).astype(np.uint8)


def batches(values: NDArray[np.float32], labels: NDArray[np.uint8], size: int) -> Batches:
    """Cut units into tensors."""
    return [
        (
            torch.from_numpy(values[start : start + size]),
            torch.from_numpy(labels[start : start + size].astype(np.float32)),
        )
        for start in range(0, len(values), size)
    ]


def exact_step(values: NDArray[np.float32], labels: NDArray[np.uint8]) -> Step:
    """Return the project's own step: clipped, exact sums."""
    model = NetworkModel(ENTRIES, HIDDEN, CLIPPING_NORM)
    rows = unit_rows(values.astype(np.float64))
    sums = model.prepare(EncodedUnits(np.empty((0, len(labels)), np.uint16), labels, rows))
    parameters = model.initial(-2.0)
    parameters[1 + HIDDEN : 1 + 2 * HIDDEN] = 0.1
    return lambda: sums.gradient_sum(parameters)


def network() -> torch.nn.Module:
    """Return the same network as torch writes it."""
    return torch.nn.Sequential(
        torch.nn.Linear(ENTRIES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1)
    )


def losses(module: Callable[..., Any], part: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return (units,): the loss of each."""
    return binary_cross_entropy_with_logits(module(part[0])[:, 0], part[1], reduction="none")


def plain_step(parts: Batches, build: Build | None = None) -> Step:
    """Return a step without clipping."""
    module = (build or network)()

    def step() -> None:
        module.zero_grad()
        for part in parts:
            losses(module, part).sum().backward()  # type: ignore[no-untyped-call]

    return step


def ghost_step(parts: Batches, build: Build | None = None) -> Step:
    """Return Opacus's ghost clipping: norms in one backward pass, the clipped sum in another."""
    module = GradSampleModuleFastGradientClipping(
        (build or network)(),
        loss_reduction="sum",
        max_grad_norm=CLIPPING_NORM,
        use_ghost_clipping=True,
    )

    def step() -> None:
        module.zero_grad()
        for part in parts:
            each = losses(module, part)
            held = [p.grad for p in module.parameters()]  # of the chunks before
            for parameter in module.parameters():
                parameter.grad = None
            each.sum().backward(retain_graph=True)  # type: ignore[no-untyped-call]
            for parameter, before in zip(module.parameters(), held, strict=True):
                parameter.grad = before
            factor = module.get_clipping_coef()
            module.disable_hooks()
            (factor * each).sum().backward()
            module.enable_hooks()

    return step


def hooks_step(parts: Batches, build: Build | None = None) -> Step:
    """Return Opacus's hooks: every unit's gradient in memory."""
    module = GradSampleModule((build or network)(), loss_reduction="sum")

    def step() -> list[torch.Tensor]:
        total = [torch.zeros_like(parameter) for parameter in module.parameters()]
        for part in parts:
            losses(module, part).sum().backward()  # type: ignore[no-untyped-call]
            each = [parameter.grad_sample for parameter in module.parameters()]
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in each]).norm(dim=0)
            factor = (CLIPPING_NORM / norms.clamp(min=1e-12)).clamp(max=1.0)
            for added, gradients in zip(total, each, strict=True):
                added.add_(torch.einsum("i,i...->...", factor, gradients))
            module.zero_grad()
        return total

    return step


def measured(units: int) -> dict[str, Any]:
    """Return seconds of a step (medians) and by how many megabytes each raised the peak."""
    values, labels = made_up(units)
    whole, small = batches(values, labels, CHUNK_ROWS), batches(values, labels, HOOKED)
    return timed(
        units,
        {
            "exact": exact_step(values, labels),
            "plain": plain_step(whole),
            "ghost": ghost_step(whole),
            "hooks": hooks_step(small),
        },
        REPEATS,
    )


def timed(units: int, steps: Mapping[str, Step], repeats: int) -> dict[str, Any]:
    """Return what `measured` does of these steps, in this order, in one thread."""
    torch.set_num_threads(1)
    peaks, before = {}, peak_megabytes()
    for name, step in steps.items():
        step()
        peaks[name], before = peak_megabytes() - before, peak_megabytes()
    return {"units": units, "seconds": medians(dict(steps), repeats), "megabytes": peaks}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the figures for people."""
    return [
        f"A step of a network, {ENTRIES} to {HIDDEN} to 1, one thread, times plain torch:",
        *lines_of(rows),
    ]


def lines_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each number of units."""
    lines = []
    for row in rows:
        plain = row["seconds"]["plain"]
        ratios = "  ".join(
            f"{name} {seconds / plain:.2f} x (+{row['megabytes'][name]:.0f} MB)"
            for name, seconds in row["seconds"].items()
            if name != "plain"
        )
        lines.append(f"  {row['units']:>9,} units: plain {plain * 1000:.1f} ms  {ratios}")
    return lines


def measure(units: str = UNITS) -> list[dict[str, Any]]:
    """Measure networks over the given numbers of units."""
    return [measured(count) for count in numbers(units)]


BENCH: Final = Bench(measure, words=table)

if __name__ == "__main__":
    BENCH.app()()

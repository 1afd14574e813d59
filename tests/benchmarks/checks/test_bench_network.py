"""The bench of networks measures the same thing four times."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.benchmarks import network as bench_network
from tests.benchmarks.network import batches, ghost_step, hooks_step, made_up


def test_figures_of_a_small_institution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_network, "REPEATS", 1)
    threads = torch.get_num_threads()
    try:
        (row,) = bench_network.measure("64")
    finally:
        torch.set_num_threads(threads)
    assert row["units"] == 64
    assert set(row["seconds"]) == set(row["megabytes"]) == {"exact", "plain", "ghost", "hooks"}
    assert all(seconds > 0 for seconds in row["seconds"].values())
    assert any("64 units: plain" in line for line in bench_network.table([row]))


def test_ghost_clipping_and_hooks_clip_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are fed one network; the bench would else time something else than it says."""
    made: list[torch.nn.Module] = []

    def one_network(build: Any = bench_network.network) -> torch.nn.Module:
        torch.manual_seed(0)  # the same start for each
        made.append(build())
        return made[-1]

    monkeypatch.setattr(bench_network, "CLIPPING_NORM", 0.05)
    monkeypatch.setattr(bench_network, "network", one_network)
    parts = batches(made_up(40)[0] * 3, made_up(40)[1], 16)
    ghost_step(parts)()
    found = hooks_step(parts)()
    assert isinstance(found, list)
    for parameter, other in zip(made[0].parameters(), found, strict=True):
        assert parameter.grad is not None
        assert np.allclose(parameter.grad.numpy(), other.numpy(), rtol=1e-4, atol=1e-6)

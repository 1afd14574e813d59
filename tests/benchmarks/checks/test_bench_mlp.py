"""The bench of networks over features measures one network four times."""

import numpy as np
import pytest
import torch
from tests.benchmarks import mlp as bench_mlp
from tests.benchmarks import network as bench_network
from tests.benchmarks.mlp import FEATURES, HIDDEN, made_up, network, promises

from fieldfare.shared.features.basis import WEIGHT_STEPS
from fieldfare.shared.models.feature_network import MlpModel


def test_figures_of_a_small_institution(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_mlp, "REPEATS", 1)
    threads = torch.get_num_threads()
    try:
        (row,) = bench_mlp.measure("64")
    finally:
        torch.set_num_threads(threads)
    assert row["units"] == 64
    assert set(row["seconds"]) == set(row["megabytes"]) == {"private", "plain", "ghost", "hooks"}
    assert all(seconds > 0 for seconds in row["seconds"].values())
    assert any("64 units: plain" in line for line in bench_mlp.table([row]))


def test_plain_torch_and_opacus_do_what_the_private_step_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same parameters and units: the same clipped sum, else the ratio compares two things."""
    limit = 0.05
    model, data = MlpModel(FEATURES, HIDDEN, 1, limit), made_up(40)
    module = network()
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    inner = [part for layer in layers[:-1] for part in (layer.weight, layer.bias)]
    parts = [layers[-1].bias, layers[-1].weight, *inner]
    parameters = torch.cat([part.detach().reshape(-1) for part in parts]).to(torch.float64).numpy()
    found = np.ldexp(model.prepare(data).gradient_sum(parameters).astype(np.float64), -34)
    dense = model.inputs.filled(data.positions)[:, : model.inputs.count].astype(np.float32)
    dense /= np.float32(WEIGHT_STEPS)
    monkeypatch.setattr(bench_network, "CLIPPING_NORM", limit)
    bench_network.ghost_step(bench_network.batches(dense, data.labels, 16), lambda: module)()
    gradients = [part.grad.reshape(-1) for part in parts if part.grad is not None]
    assert np.allclose(torch.cat(gradients).numpy(), found, atol=1e-5)


def test_a_slow_step_breaks_the_promise() -> None:
    rows = [{"units": 4096, "seconds": {"private": private, "plain": 1.0}} for private in (2, 2.1)]
    assert [holds for *_, holds in promises(rows)] == [True, False]

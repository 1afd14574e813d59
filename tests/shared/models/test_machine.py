"""A machine whose arithmetic lets units of a batch change each other is found out."""

from collections.abc import Sequence

import pytest
import torch
from tests.support.records.networks import FEATURES

from fieldfare.shared.errors import RunError
from fieldfare.shared.models.dense_layers import (
    DenseLayers,
    DenseNetwork,
    arithmetic,
    check_machine,
)
from fieldfare.shared.models.feature_network import MlpModel
from fieldfare.shared.models.unit_batches import Chunk

Sums = Sequence[torch.Tensor]


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("hidden", [(8,), (32, 16)])
def test_this_machine_keeps_units_apart(rows: int, hidden: tuple[int, ...]) -> None:
    model = MlpModel(FEATURES, hidden, rows, 1.0)
    check_machine(model.inputs, model.network)


def test_one_that_does_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, forward = MlpModel(FEATURES, (8,), 1, 1.0), DenseNetwork.forward

    def mixing(
        network: DenseNetwork, layers: DenseLayers, rows: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        steps, scores = forward(network, layers, rows)
        return steps, scores + scores[0] * 2.0**-20

    monkeypatch.setattr(DenseNetwork, "forward", mixing)
    with pytest.raises(RunError, match="computes a unit alike whoever is beside it"):
        check_machine(model.inputs, model.network)


@pytest.mark.parametrize("kept", [torch.bfloat16, torch.float16])
def test_one_that_multiplies_in_fewer_digits_is_refused(
    kept: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch does on some processors where float32_matmul_precision is medium."""
    model, added = MlpModel(FEATURES, (32, 16), 1, 1.0), DenseNetwork.add_buckets

    def coarse(
        network: DenseNetwork, total: DenseLayers, chunk: Chunk, steps: Sums, flows: Sums
    ) -> None:
        if steps[0].dtype is torch.float32:
            steps = [step.to(kept).float() for step in steps]
        added(network, total, chunk, steps, flows)

    monkeypatch.setattr(DenseNetwork, "add_buckets", coarse)
    with pytest.raises(RunError, match="found coarser ones"):
        check_machine(model.inputs, model.network)


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with arithmetic():
        assert torch.get_num_threads() == 1
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == before

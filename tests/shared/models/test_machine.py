"""A machine whose arithmetic lets units of a batch change each other is found out."""

import pytest
import torch
from tests.networks import FEATURES

from fieldfare.shared.errors import RunError
from fieldfare.shared.models.dense_network import DenseNetwork, Layers
from fieldfare.shared.models.machine import arithmetic, check_machine
from fieldfare.shared.models.mlp import MlpModel


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("hidden", [(8,), (32, 16)])
def test_this_machine_keeps_units_apart(rows: int, hidden: tuple[int, ...]) -> None:
    model = MlpModel(FEATURES, hidden, rows, 1.0)
    check_machine(model.inputs, model.network)


def test_one_that_does_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, forward = MlpModel(FEATURES, (8,), 1, 1.0), DenseNetwork.forward

    def mixing(
        network: DenseNetwork, layers: Layers, rows: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        steps, scores = forward(network, layers, rows)
        return steps, scores + scores[0] * 2.0**-20

    monkeypatch.setattr(DenseNetwork, "forward", mixing)
    with pytest.raises(RunError, match="computes a unit alike whoever is beside it expected"):
        check_machine(model.inputs, model.network)


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with arithmetic():
        assert torch.get_num_threads() == 1
        assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == before

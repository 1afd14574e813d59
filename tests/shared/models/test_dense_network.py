"""A network by formulas: parameters taken apart and put together, and bounds on what cancels."""

import numpy as np
import torch
from tests.support.records.networks import FEATURES, made_up_units

from fieldfare.shared.features.basis import EncodedUnits, UnitTables
from fieldfare.shared.models.dense_layers import MOST_CANCELLED
from fieldfare.shared.models.feature_network import MlpModel
from fieldfare.shared.models.unit_batches import UnitInputs


def test_parameters_come_back_as_they_were_taken_apart() -> None:
    for hidden in ((8,), (16, 8), (8, 16, 24)):
        network = MlpModel(FEATURES, hidden, 4, 1.0).network
        parameters = torch.arange(network.entries, dtype=torch.float64)
        assert torch.equal(network.joined(network.layers(parameters)), parameters)


def test_rows_that_cancel_are_bounded_by_their_sizes_too() -> None:
    """Two rows of one unit whose gradients are nearly opposite: a small mean of large parts."""
    model = MlpModel(FEATURES, (8,), 2, 1.0)
    data = made_up_units([2], 2, 0)
    assert data.tables is not None
    same = np.repeat(data.tables.positions[:, :1], 2, axis=1)
    twins = EncodedUnits(
        data.positions, data.labels, order=data.order, tables=UnitTables(data.tables.starts, same)
    )
    network = model.network
    (chunk,) = UnitInputs(model.inputs, twins).chunks()
    layers = network.layers(torch.from_numpy(model.initial(0.0)))
    steps, flows = network.flows(layers, chunk)
    for flow in flows:  # as if two rows of the same features had opposite residuals
        flow[1] = -flow[0] * (1 - 1e-9)
        flow[:2] *= 1e9
    factor = float(network.factors(chunk, steps, flows, 1.0)[0])
    length = sum(float(flow[0].norm() ** 2) for flow in flows)
    assert 0 < factor * length**0.5 < 2 * MOST_CANCELLED

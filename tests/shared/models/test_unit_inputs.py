"""What a network reads: hat weights of rows in chunks of one shape, and padding that is nothing."""

import numpy as np
import pytest
import torch
from tests.support.records.networks import FEATURES, dense_rows, made_up_units

from fieldfare.shared.features.basis import Basis
from fieldfare.shared.models import unit_batches as unit_inputs
from fieldfare.shared.models.feature_network import MlpModel
from fieldfare.shared.models.unit_batches import ALIGNED, Inputs, UnitInputs


@pytest.mark.parametrize(("rows", "units"), [(1, 700), (4, 300)])
def test_chunks_hold_every_row_once_with_its_constant(
    rows: int, units: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_inputs, "CHUNK_ROWS", 512)
    counts = np.random.default_rng(0).integers(0, rows + 1, units).tolist()
    layout, data = Inputs(Basis(FEATURES), rows), made_up_units(counts, rows, 1)
    expected = dense_rows(MlpModel(FEATURES, (8,), rows, 1.0), data)
    seen = []
    for chunk in UnitInputs(layout, data).chunks():
        assert chunk.inputs.shape == (layout.units, rows, layout.width)
        assert chunk.buckets[0].start == 0
        assert chunk.buckets[-1].stop == len(chunk.places)
        for place, unit in enumerate(chunk.places.tolist()):
            own = expected[unit]
            found = chunk.inputs[place, : len(own)].numpy()
            assert np.array_equal(found[:, : layout.count], own.astype(found.dtype))
            assert (found[:, layout.count] == 1).all()
            assert not found[:, layout.count + 1 :].any()
            assert torch.isclose(
                chunk.weights[place].sum(), torch.tensor(float(bool(len(own)))).to(layout.dtype)
            )
            assert chunk.labels[place] == data.labels[unit]
            lengths = chunk.lengths.reshape(layout.units, rows)[place, : len(own)]
            assert np.allclose(lengths, 1 + (own * own).sum(1))
            assert not chunk.inputs[place, len(own) :].any()
            seen.append(unit)
        assert not chunk.inputs[len(chunk.places) :].any()
        assert not chunk.weights[len(chunk.places) :].any()
    assert sorted(seen) == list(range(units))


def test_the_shape_is_public_and_fills_whole_registers() -> None:
    layout = Inputs(Basis(FEATURES), 1)
    assert layout.count == sum(feature.slots for feature in FEATURES)
    assert layout.width % ALIGNED == 0
    assert layout.width > layout.count
    assert Inputs(Basis(FEATURES), 64).units == 128


def test_nobody_is_no_chunk() -> None:
    assert not list(UnitInputs(Inputs(Basis(FEATURES), 1), made_up_units([], 1, 0)).chunks())

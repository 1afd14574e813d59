"""A `SumModel`, with trees or without, and a `Forest` keep to `FittedModel`."""

from pathlib import Path
from typing import Final

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from tests.support.records.scored import customers, parameters, scored_study, units_of

from fieldfare.client.own_model.forest import Forest
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.client.own_model.own_grid import FittedModel
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for

UNITS: Final = 300
STUDY: Final = scored_study()


@pytest.fixture
def data(tmp_path: Path) -> EncodedUnits:
    read = units_of(tmp_path, customers(UNITS, seed=1), STUDY)
    return EncodedUnits(read.positions, read.labels.astype(np.uint8))


def fitted(kind: str, data: EncodedUnits) -> FittedModel:
    grown = HistGradientBoostingClassifier(max_iter=5, max_leaf_nodes=4, random_state=0)
    forest = Forest.of(grown.fit(data.positions.T.astype(np.float64), data.labels), data)
    if kind == "forest":
        return forest
    return SumModel(model_for(STUDY), parameters(STUDY), forest if kind == "both" else None)


@pytest.mark.parametrize("kind", ["forest", "sum", "both"])
def test_scores_are_log_odds_of_each_unit_alone(kind: str, data: EncodedUnits) -> None:
    model = fitted(kind, data)
    scores, some = model.scores(data), np.arange(UNITS) % 3 == 0
    assert scores.dtype == np.float64
    assert scores.shape == (UNITS,)
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1
    assert np.array_equal(model.scores(data.select(some)), scores[some])
    assert model.scores(data.select(np.zeros(UNITS, dtype=bool))).shape == (0,)

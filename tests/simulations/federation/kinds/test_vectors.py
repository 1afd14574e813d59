"""Vectors stand in for features without losing much: random projections against `additive`."""

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fieldfare.client.records import read_records
from fieldfare.shared.evaluation.score_table import prevalence_log_odds
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.features.features import NumericFeature, Scale
from fieldfare.shared.features.rows import unit_rows
from fieldfare.shared.models import RiskModel, model_for
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.published.amlsim import derive_amlsim

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("FIELDFARE_DATA") or ROOT / ".." / "shared" / "data")
ENTRIES = 128


def at_hand(name: str) -> Path:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not at hand: name its folder in FIELDFARE_DATA")
    return DATA / name


@pytest.fixture
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "records.parquet"
    if request.param == "amlsim":
        derive_amlsim(at_hand("amlsim"), path)
    else:
        files = [str(file) for file in sorted(at_hand("heart").glob("*.data"))]
        duckdb.connect().execute(
            f"COPY (SELECT * FROM read_csv({files}, nullstr = ['?', ''])) TO '{path}'"
        )
    return path


def of_vectors(study: Study, steps: int) -> Study:
    """The same study over vectors: longer training, since nothing is noised here."""
    data = study.model_dump(mode="json") | {"features": []}
    data["model"] = {"kind": "vector", "column": "embedding", "entries": ENTRIES}
    data["training"] |= {"steps": steps, "learning_rate": 0.5}
    return Study.model_validate(data)


def projected(study: Study, path: Path) -> NDArray[np.float64]:
    """What an institution's tool might make of its features: scaled, then projected at random."""
    table = duckdb.connect().execute(f"SELECT * FROM '{path}'").fetchnumpy()
    parts = []
    for feature in study.features:
        assert isinstance(feature, NumericFeature)
        column = np.ma.filled(np.ma.asarray(table[feature.name]).astype(float), np.nan)
        scale = np.log1p if feature.scale is Scale.LOG1P else np.positive
        lower, upper = scale(feature.lower), scale(feature.upper)
        place = (scale(np.clip(column, feature.lower, feature.upper)) - lower) / (upper - lower)
        parts += [np.nan_to_num(2 * place - 1), np.isnan(column)]
        parts += [column == special for special in feature.special]
    values = np.stack([*parts, np.ones(len(parts[0]))], axis=1).astype(np.float64)
    return values @ np.random.default_rng(0).normal(size=(values.shape[1], ENTRIES))


def auroc(study: Study, model: RiskModel, data: EncodedUnits, held: NDArray[np.bool_]) -> float:
    """Train without privacy on the rest, measure on `held`."""
    sums = model.prepare(data.select(~held))
    state, plan = TrainingState.start(model.initial(prevalence_log_odds(study))), plan_for(study)
    for _ in range(study.training.steps):
        state = next_state(plan, state, sums.plain_gradient(state.parameters))
    test = data.select(held)
    return float(roc_auc_score(test.labels, model.scores(state.model, test)))


@pytest.mark.promises
@pytest.mark.parametrize(
    ("records", "name", "steps"),
    [("heart", "heart", 120), ("amlsim", "amlsim", 120)],
    indirect=["records"],
)
def test_projected_features_rank_nearly_as_well_as_the_features(
    records: Path, name: str, steps: int
) -> None:
    study = load_study(ROOT / "studies" / f"{name}.toml")
    encoded = read_records([records], study).data
    rows = unit_rows(projected(study, records))
    vectors = EncodedUnits(np.empty((0, len(encoded)), np.uint16), encoded.labels, rows)
    other, gaps = of_vectors(study, steps), []
    for seed in range(3):
        held = np.random.default_rng(seed).random(len(encoded)) < 0.2
        whole = auroc(study, model_for(study), encoded, held)
        gaps.append(whole - auroc(other, model_for(other), vectors, held))
    assert np.mean(gaps) <= 0.02

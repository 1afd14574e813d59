"""Studies of every kind of release, and records that fit all of them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.runs.started import STARTED_FEATURES, small_start, starting_at

from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.in_memory import Experiment, SimulationOutcome
from fieldfare.simulations.federation.population import RecordsChoice

UNITS: Final = 240
AMOUNT: Final = {"name": "amount", "kind": "numeric", "lower": 0, "upper": 100}
CHANNEL: Final = {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]}
BASE: Final[dict[str, Any]] = {
    "name": "small",
    "purpose": "tests",
    "records": {"unit": "id", "label": "reported", "units": UNITS, "prevalence": 0.3},
    "features": [{**AMOUNT, "knots": [0, 20, 50, 100]}, CHANNEL],
    "training": {"steps": 2},
    "evaluation": {"score_bins": 8, "alert_budget": 0.1},
    "privacy": {"epsilon": 4.0, "delta": 1e-4},
    "aggregation": {"minimum_institutions": 3, "deadline_seconds": 5},
}
ASKED: Final = {
    "privacy": {"query_share": 0.3},
    "queries": [
        {"name": "spread", "kind": "quantiles", "column": "amount", "bins": 8},
        {"name": "mean", "kind": "mean", "column": "amount"},
        {"name": "several", "kind": "group_by", "by": ["reported", "channel"], "column": "amount"},
    ],
}
KNOTS: Final = {"knots_from": "spread", "quantile_knots": 3, "even_knots": 2}
# What each changes in the study; kinds of release that it makes beside training and evaluation.
STUDIES: Final[dict[str, dict[str, Any]]] = {
    "plain": {},
    "questions": {**ASKED, "privacy": {"query_share": 1.0}, "training": {"steps": 0}},
    "knots": {**ASKED, "features": [{**AMOUNT, **KNOTS}, CHANNEL]},
    "groups": {"evaluation": {"groups": [{"column": "age", "levels": ["18-24", "25-64"]}]}},
    "whitened": {"geometry": {"kind": "whitened"}, "training": {"learning_rate": 0.1}},
    "centred on knots": {
        **ASKED, "features": [{**AMOUNT, **KNOTS}, CHANNEL], "geometry": {"kind": "centred"},
    },
    "started": {"features": list(STARTED_FEATURES), "training": starting_at(small_start())},
    "local": {"training": {"mode": "local", "local_steps": 3}},
    "texts": {"features": [], "model": {"kind": "text", "column": "text"}},
    "vectors": {"features": [], "model": {"kind": "vector", "column": "vector", "entries": 64}},
    "hidden": {
        "features": [],
        "model": {"kind": "vector", "column": "vector", "entries": 64, "hidden": 2},
    },
    "network": {"model": {"kind": "mlp", "hidden": [8]}},
}  # fmt: skip


def study_of(name: str, **more: Any) -> Study:
    """A study by its name in STUDIES, with further changes in its sections."""
    whole = copy.deepcopy(BASE)
    for changes in (STUDIES[name], more):
        for section, value in changes.items():
            held = whole.get(section)
            whole[section] = held | value if isinstance(held, dict) else value
    return Study.model_validate(whole)


@pytest.fixture(scope="session")
def records_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Units with every column that a study of STUDIES reads."""
    random = np.random.default_rng(5)
    amounts = random.uniform(0, 100, UNITS)
    words = np.array(["late", "cash", "rent", "gift", "urgent"])
    table = pa.table(
        {
            "id": [f"unit-{row}" for row in range(UNITS)],
            "amount": amounts,
            "hours": random.uniform(0, 24, UNITS),
            "channel": random.choice(["branch", "online", "post"], UNITS),
            "age": random.choice(["18-24", "25-64", "65+"], UNITS),
            "text": [" ".join(random.choice(words, 3)) for _ in range(UNITS)],
            "vector": random.normal(size=(UNITS, 64)).astype(np.float32).tolist(),
            "reported": (random.uniform(0, 140, UNITS) < amounts).astype(np.int64),
        }
    )
    path = tmp_path_factory.mktemp("engines") / "records.parquet"
    pq.write_table(table, path)
    return path


Experiments = Callable[..., Experiment]


@pytest.fixture
def experiment(records_file: Path) -> Experiments:
    """Make a simulation of a study over so many institutions."""

    def made(study: Study, institutions: int = 3, **given: Any) -> Experiment:
        choice = RecordsChoice((str(records_file),), institutions=institutions)
        return Experiment(study=study, choice=choice, baselines=(), seed=7, **given)

    return made


def bytes_of(found: SimulationOutcome) -> tuple[bytes, Any, Any]:
    """What has to be the same to the byte: the model, all results, what was spent."""
    model = found.parameters.tobytes() if found.models else b""
    return model, dict(found.results), found.outcome.spent

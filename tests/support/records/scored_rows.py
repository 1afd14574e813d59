"""A home with a delivered model of texts or vectors, and its commands as they are typed."""

import json
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.homes.institutions import NAMES, Coordinator, OpenCustody, approve_all
from tests.support.records.scored import Analyst, scored_study, write
from tests.support.runs.finished import FINISHED, RUN, facts_of

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.server.run.closing import compose
from fieldfare.shared.features.text_hashing import TextEncoder
from fieldfare.shared.models.vector_network import NetworkModel
from fieldfare.shared.protocol.plan import plan_for

TEXTS: Final = {
    "c1": "see you at home",
    "c2": "FREE cash; call 0900123456",
    "c3": "Бесплатно\u202e! \x1b[2J😀",
    "c4": "free lunch",
}
VECTORS: Final = np.random.default_rng(2).normal(size=(130, 64))
ENTRIES: Final = 64


def delivered(
    coordinator: Coordinator,
    custody_of: OpenCustody,
    capsys: pytest.CaptureFixture[str],
    model: dict[str, Any],
    rows: dict[str, list[Any]],
    parameters: NDArray[np.float64],
) -> Analyst:
    """Give an institution these records, and this finished model of its one column."""
    study = scored_study(
        features=[],
        model=model,
        aggregation={"minimum_institutions": 3},
        evaluation={"holdout": 0.5},  # whichever are held out, calibration finds its 20 cases
    )
    home = coordinator.homes[NAMES[0]]
    write(home.path / "rows.parquet", rows)
    coordinator.edit(home.settings, 'path = "records.csv"\n', 'path = "rows.parquet"\n')
    coordinator.edit(home.policy, '"customer", ', f'"customer", "{model["column"]}", ')
    custody = custody_of(NAMES[0])
    approve_all(coordinator, [custody], study)
    made = compose(plan_for(study), parameters, facts_of(study), coordinator.signer, FINISHED)
    custody.inbox.delivered(
        made.delivery, made.envelope, made.model, made.card, ModelEvidence.FINISHED
    )
    return Analyst(coordinator, study, capsys)


def text_analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    """Four texts of their own, and 400 messages of which a third are cases with other words."""
    cases = [row % 3 == 0 for row in range(400)]
    said = [
        f"{'win cash' if case else 'good'} morning {'abc'[row % 3 if row % 7 else 0]}"
        for row, case in enumerate(cases)
    ]
    rows: dict[str, list[Any]] = {
        "customer": [*TEXTS, *(f"d{row:03}" for row in range(400))],
        "note": [*TEXTS.values(), *said],
        "reported": [0, 1, 0, 0, *map(int, cases)],
    }
    parameters = np.zeros(513)
    parameters[0] = -1.5
    parameters[1 + TextEncoder(512).rows(["free cash"]).places.astype(int)] = 3.0
    model = {"kind": "text", "column": "note", "buckets": 512}
    return delivered(coordinator, custody_of, capsys, model, rows, parameters)


def vector_analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    """130 vectors under a linear model that likes the seventeenth."""
    rows: dict[str, list[Any]] = {
        "customer": [f"c{row}" for row in range(130)],
        "embedding": VECTORS.tolist(),
        "reported": [row % 2 for row in range(130)],
    }
    model = {"kind": "vector", "column": "embedding", "entries": ENTRIES}
    parameters = np.concatenate([[-1.0], VECTORS[17]])
    return delivered(coordinator, custody_of, capsys, model, rows, parameters)


def network_units(
    units: int, *, seed: int, own: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return vectors and labels: two directions matter, and with `own` a third as well."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(units, ENTRIES))
    score = 2.0 * vectors[:, 0] + 1.0 * vectors[:, 1] + own * vectors[:, 2] - 2.0
    labels = (random.uniform(size=units) < 1 / (1 + np.exp(-score))).astype(int)
    return vectors, labels


def network(hidden: int = 8) -> tuple[NetworkModel, NDArray[np.float64]]:
    """Return a network whose hidden units see the first three directions both ways.

    Its shared head knows the first two only.
    """
    model = NetworkModel(ENTRIES, hidden, 1.0)
    parameters = np.zeros(model.vectors.entries)
    weights = np.zeros((hidden, ENTRIES))
    for place in range(3):
        weights[2 * place, place], weights[2 * place + 1, place] = 8.0, -8.0
    heads = np.zeros(hidden)
    heads[:4] = [2.0, -2.0, 1.0, -1.0]
    parameters[0] = -2.0
    parameters[1 + hidden : 1 + 2 * hidden] = heads
    parameters[1 + 2 * hidden :] = weights.ravel()
    return model, parameters


def network_analyst(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> Analyst:
    """1,500 vectors of which a third direction matters here, and a network that lacks it."""
    vectors, labels = network_units(1500, seed=4, own=2.0)
    rows: dict[str, list[Any]] = {
        "customer": [f"c{row}" for row in range(1500)],
        "embedding": vectors.tolist(),
        "reported": labels.tolist(),
    }
    model = {"kind": "vector", "column": "embedding", "entries": ENTRIES, "hidden": 8}
    return delivered(coordinator, custody_of, capsys, model, rows, network()[1])


def scored(analyst: Analyst, *arguments: str, budget: str = "20") -> list[dict[str, Any]]:
    """Score, and return the alerts by rank."""
    out = analyst.folder / "alerts.parquet"
    status, said, errors = analyst(
        "score", "--model", RUN, "--out", out, "--budget", budget, "--known", *arguments
    )
    assert status == 0, errors
    assert "rest on one family" in said
    found: list[dict[str, Any]] = json.loads(analyst("alerts", "--json")[1])
    return found


def kept_bytes(analyst: Analyst) -> bytes:
    """Return every file of the folder of alerts."""
    return b"".join(path.read_bytes() for path in sorted(analyst.home.scoring.iterdir()))

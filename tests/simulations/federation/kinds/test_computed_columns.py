"""A whole study over all five formulas: what it learns, says and scores is of the raw columns."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file
from tests.simulations.conftest import BANKS, SimulationFolder

from fieldfare.client.records import read_records
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking_table import Wording
from fieldfare.client.scoring.units import read_units
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.simulate import simulate

ROWS = 900
FORMULAS: dict[str, tuple[float, float, dict[str, Any]]] = {
    "wait": (0, 48, {"formula": "elapsed", "start": "asked", "end": "paid", "unit": "hours"}),
    "account_age": (0, 4000, {"formula": "age", "since": "opened", "on": "paid"}),
    "log_out": (0, 12, {"formula": "log", "of": "out"}),
    "turned": (0, 3, {"formula": "ratio", "of": "out", "to": "in"}),
    "far": (0, 500, {"formula": "distance", "latitude": "lat", "longitude": "lon",
                     "other_latitude": "shop_lat", "other_longitude": "shop_lon"}),
}  # fmt: skip


def study() -> Study:
    return Study.model_validate(
        {
            "name": "computed",
            "purpose": "tests",
            "records": {"unit": "id", "label": "case", "units": ROWS, "prevalence": 0.3},
            "features": [
                {"kind": "numeric", "name": name, "lower": lower, "upper": upper, "derived": said}
                for name, (lower, upper, said) in FORMULAS.items()
            ],
            "queries": [{"name": "q", "kind": "mean", "column": "far"}],
            "training": {"steps": 30},
            "evaluation": {"score_bins": 8, "alert_budget": 0.1},
            "privacy": {"epsilon": 50.0, "delta": 1e-4},  # so little noise that it decides nothing
            "aggregation": {"deadline_seconds": 0.2},
        }
    )


def table() -> pa.Table:
    """Raw columns; each formula says something of the label that its sources alone do not."""
    random = np.random.default_rng(3)
    paid = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=37 * row) for row in range(ROWS)]
    wait, age = random.uniform(0, 48, ROWS), random.uniform(0, 4000, ROWS)
    out, turned = np.exp(random.uniform(0, 12, ROWS)), random.uniform(0, 3, ROWS)
    lat, lon, far = random.uniform(-60, 60, ROWS), random.uniform(-179, 179, ROWS), \
        random.uniform(0, 500, ROWS)  # fmt: skip
    risk = -wait / 48 - age / 4000 + np.log(out) / 12 + turned / 3 + far / 500
    return pa.table(
        {
            "id": [f"unit-{row}" for row in range(ROWS)],
            "bank": [BANKS[row % len(BANKS)] for row in range(ROWS)],
            "asked": [one - timedelta(hours=float(w)) for one, w in zip(paid, wait, strict=True)],
            "paid": paid,
            "opened": [(one - timedelta(days=int(a))).date() for one, a in
                       zip(paid, age, strict=True)],
            "out": out,
            "in": out / turned,
            "lat": lat, "lon": lon, "shop_lat": lat + far / 111.195, "shop_lon": lon,
            "case": (risk > np.quantile(risk, 0.7)).astype(np.int64),
        }
    )  # fmt: skip


@pytest.fixture
def made(work: SimulationFolder) -> SimulationFolder:
    work.write_records(table())
    return work


def test_a_study_learns_from_what_it_computes(made: SimulationFolder) -> None:
    plan = study()
    results = simulate(made.task(study=plan))
    assert results["models"]["federated"]["auroc"] > 0.9
    (answer,) = results["answers"]
    assert answer["value"] == pytest.approx(250, rel=0.1)
    page = (made.folder / "out" / "report.html").read_text("utf-8")
    assert "hours from asked to paid" in page
    written = json.loads((made.folder / "out" / "model.json").read_text("utf-8"))
    assert written["features"][0]["derived"] == FORMULAS["wait"][2]

    units = read_units([table_at(made.records_file)], plan)
    trained = read_records([made.records_file], plan)
    assert (units.positions == trained.data.positions).all()
    parameters = load_file(made.folder / "out" / "model.safetensors")["parameters"]
    model = model_for(plan)
    scored, known = (model.scores(parameters, one) for one in (units.encoded(), trained.data))
    assert scored.tobytes() == known.tobytes()
    sources = Wording.of(plan.features, {}).sources.to_pylist()
    assert sources[0] == "computed: hours from asked to paid"
    assert sources[3] == "computed: out divided by in"


def curves(*, by: bool) -> Study:
    amount: dict[str, Any] = {"kind": "numeric", "name": "amount", "lower": 0, "upper": 10}
    kind = {"kind": "categorical", "name": "type", "levels": ["personal", "business"]}
    if by:
        amount |= {"by": "type", "levels": ["personal", "business"]}
    data = study().model_dump(mode="json") | {"features": [amount, kind], "queries": []}
    data["privacy"].pop("query_share")
    return Study.model_validate(data)


@pytest.mark.promises
def test_a_number_may_mean_another_thing_at_each_level(work: SimulationFolder) -> None:
    """Much is risky of a person and usual of a business: one curve cannot say so."""
    random = np.random.default_rng(4)
    amount, business = random.uniform(0, 10, ROWS), random.integers(0, 2, ROWS)
    case = np.where(business == 1, amount < 3, amount > 7).astype(np.int64)
    rows = {
        "id": [f"unit-{row}" for row in range(ROWS)],
        "bank": [BANKS[row % len(BANKS)] for row in range(ROWS)],
        "amount": amount,
        "type": np.where(business == 1, "business", "personal"),
        "case": case,
    }
    work.write_records(pa.table(rows))
    found = {
        by: simulate(work.task(f"out-{by}", study=curves(by=by), report=by)) for by in (True, False)
    }
    assert found[True]["models"]["federated"]["auroc"] > 0.95
    assert found[False]["models"]["federated"]["auroc"] < 0.8
    page = (work.folder / "out-True" / "report.html").read_text("utf-8")
    assert "amount, type business" in page
    written = json.loads((work.folder / "out-True" / "model.json").read_text("utf-8"))
    contributions = written["features"][0]["contributions"]
    assert contributions["personal: at 0"] < 0 < contributions["business: at 0"]

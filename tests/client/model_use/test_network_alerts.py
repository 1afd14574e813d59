"""Alerts from a network over features, of one and of many rows a unit, as they are typed."""

import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.support.homes.institutions import NAMES, Coordinator, OpenCustody, approve_all
from tests.support.records.scored import NUMBERS, Analyst, customers, scored_study, write
from tests.support.rows import night
from tests.support.runs.finished import FINISHED, RUN, facts_of

from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.records import read_records
from fieldfare.server.run.closing import compose
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.plan import plan_for

UNITS = 500


def analyst_of(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str], rows: int
) -> Analyst:
    """Customers of up to three rows each, and a network trained on them without privacy."""
    model = {"kind": "mlp", "hidden": [8], "rows": rows}
    study = scored_study(model=model, aggregation={"minimum_institutions": 3})
    table: dict[str, list[Any]] = customers(UNITS, seed=3)
    if rows > 1:
        several = np.repeat(np.arange(UNITS), np.arange(UNITS) % 3 + 1)
        table = {name: [column[at] for at in several] for name, column in table.items()}
    home = coordinator.homes[NAMES[0]]
    path = write(home.path / "rows.parquet", table)
    coordinator.edit(home.settings, 'path = "records.csv"\n', 'path = "rows.parquet"\n')
    names = ", ".join(f'"{name}"' for name in NUMBERS)  # "channel" is listed already
    coordinator.edit(home.policy, '"customer", ', f'"customer", {names}, ')
    custody = custody_of(NAMES[0])
    approve_all(coordinator, [custody], study)
    network = model_for(study)
    sums, parameters = network.prepare(read_records([path], study).data), network.initial(-2.0)
    parameters[1:9] = 0.1
    for _ in range(20):
        parameters -= 2.0 * sums.plain_gradient(parameters) / UNITS
    made = compose(plan_for(study), parameters, facts_of(study), coordinator.signer, FINISHED)
    custody.inbox.delivered(
        made.delivery, made.envelope, made.model, made.card, ModelEvidence.FINISHED
    )
    return Analyst(coordinator, study, capsys)


@pytest.mark.parametrize("rows", [*night(1), 3])
def test_a_network_ranks_and_says_reasons_that_add_up(
    rows: int, coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    analyst = analyst_of(coordinator, custody_of, capsys, rows)
    out = analyst.folder / "alerts.parquet"
    status, _, errors = analyst("score", "--model", RUN, "--out", out, "--budget", "30", "--known")
    assert status == 0, errors
    everyone = pq.read_table(out).to_pylist()
    assert len(everyone) == UNITS
    for row in everyone:
        said = [one["contribution"] for one in (*row["reasons"], *row["counter_evidence"])]
        assert row["base"] + sum(said) + row["others"] == row["score"]
    alerts = json.loads(analyst("alerts", "--json")[1])
    reported = dict(
        zip(*(customers(UNITS, seed=3)[name] for name in ("customer", "reported")), strict=True)
    )
    cases = [reported[alert["unit"]] for alert in alerts if alert["selected"] == "alert"]
    assert np.mean(cases) > 0.5  # a tenth of all are
    assert {reason["feature"] for reason in alerts[0]["reasons"]} <= {
        f.name for f in analyst.study.features
    }
    assert len(alerts[0]["reasons"]) > 1
    assert analyst("alerts", alerts[0]["alert"])[0] == 0


def test_its_last_layer_is_tuned_and_compared_here(
    coordinator: Coordinator, custody_of: OpenCustody, capsys: pytest.CaptureFixture[str]
) -> None:
    analyst = analyst_of(coordinator, custody_of, capsys, 1)
    status, said, errors = analyst("tune", "--model", RUN)
    assert (status, "tuned here (own head)" in said) == (0, True), errors
    status, said, errors = analyst("evaluate", "--model", RUN, "--json")
    assert status == 0, errors
    assert set(json.loads(said)["qualities"]) == {"shared", "used at home", "own best"}

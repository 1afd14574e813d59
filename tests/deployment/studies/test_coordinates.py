"""Whitened coordinates over real processes: a computed column, and curves by level."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.federations.beds import (
    NAMES,
    STUDY,
    UNITS,
    check_whole,
    delivered,
    running,
    write_records,
)
from tests.support.system.ports import free_ports

from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.demo.testbed import Bed, in_this_process

COMPUTED: Final = """
[[features]]
name = "per_visit"
kind = "numeric"
lower = 0
upper = 10
derived = { formula = "ratio", of = "amount", to = "visits" }

[[features]]
name = "visits"
kind = "numeric"
lower = 0
upper = 8
by = "account"
levels = ["personal", "business"]

[geometry]
kind = "whitened"
"""

pytestmark = pytest.mark.promises  # one of its kind stands in `make faults`: test_network_model


def with_visits(path: Path, *, seed: int) -> Path:
    """Customers of whom some never came, and some have another kind of account or none."""
    table = pq.read_table(write_records(path, seed=seed))
    random = np.random.default_rng(seed)
    accounts = pa.array(["personal", "business", "shared", None])
    visits = pa.array(random.integers(0, 8, table.num_rows))
    chosen = accounts.take(pa.array(random.integers(0, 4, table.num_rows)))
    table = table.append_column("visits", visits).append_column("account", chosen)
    pq.write_table(table, path)
    return path


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    study = tmp_path / "study.toml"
    units = UNITS * len(NAMES)
    study.write_text(STUDY.format(units=units, steps=3, deadline=60, attempts=3) + COMPUTED)
    records = {n: with_visits(tmp_path / f"{n}.parquet", seed=s) for s, n in enumerate(NAMES)}
    made = Bed(tmp_path / "bed", records, study, command=in_this_process, ports=free_ports)
    with running(made):
        yield made


def test_a_run_in_whitened_coordinates_is_reviewed_audited_and_scored(
    bed: Bed, tmp_path: Path
) -> None:
    run = bed.run(bed.agree())
    shown = bed.institution(NAMES[0], "review", bed.loaded_study.id)
    assert "how features go together" in " ".join(shown.split())
    report = check_whole(bed, bed.until_ended(run))
    plan = plan_for(bed.loaded_study)
    cost = max(plan.moments.cost + 3 * plan.training.cost, plan.evaluation.cost)
    assert {one["picomu2"] for one in report["institutions"].values()} == {cost}
    for name in NAMES:
        assert run in delivered(bed, name)
        (card,) = bed.home(name).rglob("card.json")
        computed = ModelCard.from_bytes(card.read_bytes())
        assert computed.model.entries == plan.training.vectors.entries
        assert computed.privacy.spent == cost
    out = tmp_path / "scored.parquet"
    bed.institution(NAMES[0], "score", "--model", run, "--out", str(out), "--budget", "10")
    alerts = json.loads(bed.institution(NAMES[0], "alerts", "--json"))
    for alert in alerts:
        given = [one["contribution"] for one in (*alert["reasons"], *alert["counter_evidence"])]
        assert alert["base"] + sum(given) + alert["others"] == pytest.approx(alert["score"])
    named = {one["feature"] for alert in alerts for one in alert["reasons"]}
    assert named & {"amount", "per_visit", "visits"}

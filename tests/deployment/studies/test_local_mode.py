"""Local mode over real processes: trained in few exchanges, audited bit for bit, paid for."""

import json
from collections.abc import Iterator
from pathlib import Path

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

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.simulations.demo.testbed import Bed, in_this_process

EXCHANGES = 3
INSIDE = 5

pytestmark = pytest.mark.faults  # slow: a whole federation of processes starts


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    records = {
        name: write_records(tmp_path / f"{name}.parquet", seed=seed)
        for seed, name in enumerate(NAMES)
    }
    text = STUDY.format(units=UNITS * len(NAMES), steps=EXCHANGES, deadline=60.0, attempts=3)
    study = tmp_path / "study.toml"
    study.write_text(
        text.replace("[training]", f'[training]\nmode = "local"\nlocal_steps = {INSIDE}')
    )
    bed = Bed(tmp_path / "bed", records, study, command=in_this_process, ports=free_ports)
    with running(bed) as made:
        yield made


def test_a_local_study_is_trained_audited_and_paid_for(bed: Bed) -> None:
    run = bed.run(bed.agree())
    report = check_whole(bed, bed.until_ended(run))
    assert report["steps"] == report["planned_steps"] == EXCHANGES
    assert report["recomputed_sums"] == report["sums"] == EXCHANGES + 2
    plan = plan_for(bed.loaded_study)
    for name in NAMES:
        with open_ledger(Home(bed.home(name))) as ledger:
            costs = [entry.debit.cost for entry in ledger.entries()]
        assert costs == [plan.training.cost] * EXCHANGES + [plan.evaluation.cost]
        assert run in delivered(bed, name)
    card = json.loads((CoordinatorHome(bed.coordinator_home).model(run) / "card.json").read_text())
    assert f"{INSIDE} steps of training inside each institution" in card["privacy"]["noise"]
    assert card["privacy"]["training_sigma"] == plan.training.sigma

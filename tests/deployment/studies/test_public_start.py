"""A public start over real processes: it comes with the study, and what is better goes on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
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

from fieldfare.shared.features.public_start import PublicStart, StartFacts
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study
from fieldfare.simulations.demo.testbed import Bed, in_this_process

START: Final = "public:beside"

pytestmark = pytest.mark.faults  # slow: a whole federation of processes starts


def write_study(folder: Path) -> Path:
    """The beds' study, from a flat start of its own features that lies beside it."""
    text = STUDY.format(units=UNITS * len(NAMES), steps=3, deadline=60, attempts=3)
    features = parse_study(text).features
    facts = StartFacts(generator="tests", seed=5, settings={}, features=features)
    flat = np.zeros(1 + sum(one.slots for one in features), dtype=np.int16)
    (folder / "beside.safetensors").write_bytes(PublicStart(facts, flat).to_bytes())
    study = folder / "study.toml"
    study.write_text(text.replace("[training]", f'[training]\nstart = "{START}"', 1))
    return study


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    records = {n: write_records(tmp_path / f"{n}.parquet", seed=s) for s, n in enumerate(NAMES)}
    made = Bed(tmp_path / "bed", records, write_study(tmp_path), command=in_this_process)
    made.ports = free_ports
    with running(made):
        yield made


def test_a_run_from_a_public_start_is_reviewed_audited_and_scored(bed: Bed, tmp_path: Path) -> None:
    run = bed.run(bed.agree())
    shown = " ".join(bed.institution(NAMES[0], "review", bed.loaded_study.id).split())
    assert f"{START}, made by tests with seed 5" in shown
    report = check_whole(bed, bed.until_ended(run))
    plan = plan_for(bed.loaded_study)
    cost = max(plan.guard.cost + 3 * plan.training.cost, plan.evaluation.cost)
    assert {one["picomu2"] for one in report["institutions"].values()} == {cost}
    assert report["guard"]["taken"] in {"trained", "start"}
    for name in NAMES:
        assert run in delivered(bed, name)
        (card,) = bed.home(name).rglob("card.json")
        found = ModelCard.from_bytes(card.read_bytes())
        assert found.start is not None
        assert (found.start.name, found.start.taken) == (START, report["guard"]["taken"])
        assert found.model.entries == 10  # a plain additive model, though 3 numbers were learned
    out = tmp_path / "scored.parquet"
    bed.institution(NAMES[0], "score", "--model", run, "--out", str(out), "--budget", "10")

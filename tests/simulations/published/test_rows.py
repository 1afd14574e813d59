"""A simulation from a public start: the start untouched, alone from it, together from it."""

from io import StringIO

import numpy as np
import pytest
from rich.console import Console
from tests.simulations.conftest import SimulationFolder
from tests.support.runs.started import small_start

from fieldfare.shared.models import model_for, started_model
from fieldfare.simulations.federation.simulate import simulate
from fieldfare.simulations.report.screen import details
from fieldfare.simulations.report.words import MODELS

CURVES = (-512, -200, 200, 512, 0, 0, 0, 0, 0)  # as the records' labels follow the amount


@pytest.fixture
def started(work: SimulationFolder) -> SimulationFolder:
    start = small_start(0, CURVES)
    (work.folder / "small.safetensors").write_bytes(start.to_bytes())
    work.write_study(training={"start": '"public:small"', "learning_rate": "0.05"})
    return work


def test_a_simulation_has_three_rows_of_its_start(started: SimulationFolder) -> None:
    found = simulate(started.task(report=False))
    models = found["models"]
    assert set(models) >= {"start", "alone_start", "federated"}
    assert set(models["alone_start"]["per_institution"]) == {"bank-a", "bank-b", "bank-c"}
    assert models["start"]["auroc"] > 0.65
    assert set(found["released_guard"]) == {"taken", "gain", "sigma"}
    assert found["released_guard"]["taken"] in {"trained", "start"}
    out = StringIO()
    Console(file=out, width=100).print(details(found))
    said = out.getvalue()
    for row in ("public start, untouched", "alone from the same start", "together from the start"):
        assert row in said
    assert {"start", "alone_start"} <= set(MODELS)


def test_without_a_start_there_are_none(work: SimulationFolder) -> None:
    found = simulate(work.task(report=False))
    assert not {"start", "alone_start"} & set(found["models"])


def test_what_is_measured_of_the_start_is_the_start(started: SimulationFolder) -> None:
    study = started.task().study
    model = started_model(study)
    assert model is not None
    delivered = model.delivered(model.initial(0.0))
    assert delivered[1:].tolist() == (np.array(CURVES) / 256).tolist()
    assert len(delivered) == len(model_for(study).initial(0.0))

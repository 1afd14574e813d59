"""The model as files: what is written is the model, and every number in it has a name."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tests.simulations.conftest import SimulationFolder

from fieldfare.client.records import read_records
from fieldfare.shared.finished_model.file import model_from_bytes
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.simulate import write_json, write_model


@pytest.fixture
def study(work: SimulationFolder) -> Study:
    return work.write_study()


@pytest.fixture
def parameters(study: Study) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=model_for(study).vectors.entries)


def written(
    work: SimulationFolder, study: Study, parameters: NDArray[np.float64]
) -> dict[str, Any]:
    write_model(work.folder, study, parameters)
    found: dict[str, Any] = json.loads((work.folder / "model.json").read_text("utf-8"))
    return found


def test_parameters_come_back_bit_for_bit_with_their_study(
    work: SimulationFolder, study: Study, parameters: NDArray[np.float64]
) -> None:
    written(work, study, parameters)
    path = work.folder / "model.safetensors"
    assert load_file(path)["parameters"].tobytes() == parameters.tobytes()
    read = model_from_bytes(path.read_bytes(), study, "simulation")
    assert read.tobytes() == parameters.tobytes()


def test_the_same_model_is_the_same_bytes(
    work: SimulationFolder, study: Study, parameters: NDArray[np.float64]
) -> None:
    found = set()
    for _ in range(6):  # the library orders metadata by chance
        written(work, study, parameters)
        found.add((work.folder / "model.safetensors").read_bytes())
    assert len(found) == 1


def test_a_score_can_be_computed_from_model_json_alone(
    work: SimulationFolder, study: Study, parameters: NDArray[np.float64]
) -> None:
    """As docs/results.md says: bias, interpolation between knots, level, other, missing."""
    model = written(work, study, parameters)
    amount, channel = model["features"]
    assert (model["kind"], model["study"], model["name"]) == ("additive", study.id, "small")

    records = read_records([work.records_file], study)
    scores = model_for(study).scores(parameters, records.data)
    table = work.read_records()
    for row in range(50):
        knots = [amount["contributions"][f"at {knot:g}"] for knot in amount["knots"]]
        value = float(np.interp(table["amount"][row].as_py(), amount["knots"], knots))
        level = table["channel"][row].as_py()
        chosen = channel["contributions"].get(f"is {level}", channel["contributions"]["other"])
        step = 1 / 256  # a value is rounded to 256 steps between two knots
        slack = step * float(np.abs(np.diff(knots)).max())
        assert scores[row] == pytest.approx(model["bias"] + value + chosen, abs=slack)


def test_every_parameter_has_one_name(
    work: SimulationFolder, study: Study, parameters: NDArray[np.float64]
) -> None:
    model = written(work, study, parameters)
    named = [model["bias"], *(v for f in model["features"] for v in f["contributions"].values())]
    assert named == parameters.tolist()


def test_json_is_finite_or_not_written(work: SimulationFolder) -> None:
    path = work.folder / "x.json"
    write_json(path, {"a": 1.5, "é": None})
    assert json.loads(path.read_text("utf-8")) == {"a": 1.5, "é": None}
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text("utf-8")) == {"a": 1.5, "é": None}  # the old one stands
    assert sorted(p.name for p in work.folder.glob("x.json*")) == ["x.json"]


def test_a_model_of_texts_is_written_with_its_weights(work: SimulationFolder) -> None:
    study = Study.model_validate(
        {
            "name": "texts",
            "purpose": "tests",
            "records": {"label": "flag", "units": 100, "prevalence": 0.5},
            "model": {"kind": "text", "column": "text", "buckets": 64},
            "privacy": {"epsilon": 1.0, "delta": 1e-5},
        }
    )
    parameters = np.random.default_rng(0).normal(size=65)
    model = written(work, study, parameters)
    assert (model["kind"], model["bias"], model["features"]) == ("text", parameters[0], [])
    assert model["rows"] == {
        "kind": "text",
        "column": "text",
        "buckets": 64,
        "weights": parameters[1:].tolist(),
    }

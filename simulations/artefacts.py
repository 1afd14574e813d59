"""The model as files: parameters, and the meaning of each."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.basis import Basis
from fieldfare.shared.model_file import MODEL_FORMAT, model_to_bytes
from fieldfare.shared.model_sections import MlpSection
from fieldfare.shared.models import slot_values
from fieldfare.shared.study import Study

SIMULATED_RUN: Final = "simulation"  # the run that a simulated model names


def write_model(folder: Path, study: Study, parameters: NDArray[np.float64]) -> None:
    """Write `model.safetensors` and `model.json` (documented in docs/results.md)."""
    (folder / "model.safetensors").write_bytes(model_to_bytes(study, SIMULATED_RUN, parameters))
    basis = Basis(study.features)
    values = slot_values(study, parameters)
    features: list[dict[str, Any]] = [
        {
            **feature.model_dump(mode="json"),
            "contributions": dict(zip(feature.slot_names, values[part].tolist(), strict=True)),
        }
        for feature, part in zip(basis.shown_features(parameters), basis.slices(), strict=True)
    ]
    model: dict[str, Any] = {
        "format": MODEL_FORMAT,
        "study": study.id,
        "name": study.name,
        "kind": study.model.kind,
        "bias": float(parameters[0]),
        "features": features,
    }
    if isinstance(study.model, MlpSection):
        model["network"] = {
            **study.model.model_dump(mode="json"),
            "parameters": parameters.tolist(),
        }
    if study.rows is not None:
        model["rows"] = {**study.rows.model_dump(mode="json"), "weights": parameters[1:].tolist()}
    write_json(folder / "model.json", model)


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs: indented, finite numbers only; whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)

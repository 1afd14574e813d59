"""The model as files: parameters, what each one means, and each feature's shape."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from fieldfare.shared.basis import Basis
from fieldfare.shared.features import CategoricalFeature, Feature
from fieldfare.shared.study import Study
from fieldfare.simulations.report import Shape

MODEL_FORMAT = 1
LENGTH_BYTES = 8  # of a safetensors file: the length of its header


def shapes_of(study: Study, parameters: NDArray[np.float64]) -> list[Shape]:
    """Return each feature's curve in log-odds."""
    slices = Basis(study.features).slices()
    return [
        _shape(feature, parameters[part].tolist())
        for feature, part in zip(study.features, slices, strict=True)
    ]


def _shape(feature: Feature, weights: list[float]) -> Shape:
    if isinstance(feature, CategoricalFeature):
        count = len(feature.levels)
        slots = dict(zip(feature.slot_names[count:], weights[count:], strict=True))
        return Shape(
            feature=feature.name,
            kind="categorical",
            x=list(feature.levels),
            contribution=weights[:count],
            slots=slots,
        )
    count = len(feature.knots)
    return Shape(
        feature=feature.name,
        kind="numeric",
        x=list(feature.knots),
        contribution=weights[:count],
        slots=dict(zip(feature.slot_names[count:], weights[count:], strict=True)),
        scale=feature.scale.value,
    )


def write_model(folder: Path, study: Study, parameters: NDArray[np.float64]) -> None:
    """Write `model.safetensors` and `model.json` (documented in docs/results.md)."""
    metadata = {"format": str(MODEL_FORMAT), "study": study.id}
    content = in_fixed_order(save({"parameters": parameters}, metadata))
    (folder / "model.safetensors").write_bytes(content)
    slices = Basis(study.features).slices()
    features: list[dict[str, Any]] = [
        {
            **feature.model_dump(mode="json"),
            "contributions": dict(zip(feature.slot_names, parameters[part].tolist(), strict=True)),
        }
        for feature, part in zip(study.features, slices, strict=True)
    ]
    model = {
        "format": MODEL_FORMAT,
        "study": study.id,
        "name": study.name,
        "kind": study.model.kind,
        "bias": float(parameters[0]),
        "features": features,
    }
    write_json(folder / "model.json", model)


def in_fixed_order(content: bytes) -> bytes:
    """Return the same safetensors file with its header's keys sorted.

    The library writes metadata in a random order; the same model is the same bytes. A file is
    the header's length (8 bytes, little-endian), the header (JSON), and tensors at offsets
    that count from its end, so a header may be rewritten by itself.
    """
    end = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.loads(content[LENGTH_BYTES:end])
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)  # tensors start at a multiple of 8
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + content[end:]


def write_json(path: Path, content: Any) -> None:
    """Write JSON for people and programs: indented, finite numbers only; whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)

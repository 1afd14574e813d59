"""A finished model as a file: one safetensors tensor, with metadata that describe it.

The same model of the same run is the same bytes, and only those bytes are read back: of a
file that came from elsewhere nothing is interpreted before it was compared.
"""

import json
from typing import Any, Final

import numpy as np
import rfc8785
from numpy.typing import NDArray

from fieldfare.shared.canonical import TYPE_SEPARATOR, bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.messages import parameters_from_bytes, parameters_to_bytes
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT
from fieldfare.shared.study.model_sections import MlpSection
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.texts import SHORT

MODEL_FORMAT: Final = 1
LAYOUT_TYPE: Final = b"fieldfare.feature-layout.v1"
LENGTH_BYTES: Final = 8  # of a safetensors file: the length of its header, little-endian
ALIGNMENT: Final = 8  # tensors start at a multiple of it


def layout_hash(study: Study) -> str:
    """Return the SHA-256, hex, of the order and meaning of the parameters.

    Parameters are the bias and then every feature's slots, in the study's order; or a
    network's layers; or the weights of a row's entries, whose meaning the model's section fixes.
    """
    if study.rows is not None:
        section = study.rows.model_dump(mode="json")
        return bytes_hash(LAYOUT_TYPE + TYPE_SEPARATOR + rfc8785.dumps(section))
    features = [feature.model_dump(mode="json") for feature in study.features]
    if isinstance(study.model, MlpSection):
        whole: dict[str, Any] = {"features": features, "model": study.model.model_dump(mode="json")}
        return bytes_hash(LAYOUT_TYPE + TYPE_SEPARATOR + rfc8785.dumps(whole))
    return bytes_hash(LAYOUT_TYPE + TYPE_SEPARATOR + rfc8785.dumps(features))


def model_to_bytes(study: Study, run: str, parameters: NDArray[np.float64]) -> bytes:
    """Return a model as a safetensors file.

    Args:
        study: whose features give the parameters their meaning.
        run: the run that made it.
        parameters: float64 (entries,): the bias, then every feature's slots or a row's weights.

    Raises:
        ProtocolError: another number of parameters than the study's model has, or one that
            is not finite or beyond the limit that every request keeps to.
    """
    content = parameters_to_bytes(parameters)
    parameters_from_bytes(content, _entries(study), PARAMETER_LIMIT)
    return _header(study, run) + content


def model_from_bytes(content: bytes, study: Study, run: str) -> NDArray[np.float64]:
    """Return the parameters in a file that `model_to_bytes` wrote for this study and run.

    Raises:
        ProtocolError: another study's or run's model, other tensors, another type or number
            of parameters, or one that is not finite or too large.
    """
    header = _header(study, run)
    if not content.startswith(header):
        raise ProtocolError(
            f"expected a model of study {study.id[:SHORT]}, run {run}, with {_entries(study)} "
            "float64 parameters, found another file: ask the coordinator again"
        )
    return parameters_from_bytes(content[len(header) :], _entries(study), PARAMETER_LIMIT)


def _entries(study: Study) -> int:
    return len(model_for(study).initial(0.0))


def _header(study: Study, run: str) -> bytes:
    """Return a safetensors header for float64 "parameters"; the library's has no fixed order.

    Source: safetensors' format: the header's length, JSON padded with spaces, then tensors
    at offsets that count from the header's end.
    """
    entries = _entries(study)
    metadata = {
        "format": str(MODEL_FORMAT),
        "study": study.id,
        "name": study.name,
        "run": run,
        "kind": study.model.kind,
        "layout": layout_hash(study),
    }
    tensor = {"dtype": "F64", "shape": [entries], "data_offsets": [0, entries * 8]}
    header = {"__metadata__": metadata, "parameters": tensor}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text

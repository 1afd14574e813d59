"""Model files: the same model is the same bytes, and no other bytes are read as it."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load, save
from tests.support.homes.institutions import home_study
from tests.support.runs.finished import RUN, parameters_of

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.finished_model.file import layout_hash, model_from_bytes, model_to_bytes
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT
from fieldfare.shared.study.study import Study

STUDY = home_study()
PARAMETERS = parameters_of(STUDY)
FILE = model_to_bytes(STUDY, RUN, PARAMETERS)


def test_a_model_comes_back_bit_for_bit() -> None:
    assert model_from_bytes(FILE, STUDY, RUN).tobytes() == PARAMETERS.tobytes()
    assert model_to_bytes(STUDY, RUN, PARAMETERS) == FILE


def test_anybodys_safetensors_reads_it(tmp_path: Path) -> None:
    assert load(FILE)["parameters"].tobytes() == PARAMETERS.tobytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(FILE)
    with safe_open(path, framework="numpy") as file:
        assert list(file.keys()) == ["parameters"]
        assert file.metadata() == {
            "format": "1",
            "study": STUDY.id,
            "name": "small",
            "run": RUN,
            "kind": "additive",
            "layout": layout_hash(STUDY),
        }


def test_the_layout_is_the_features_and_their_order() -> None:
    features = [feature.model_dump(mode="json") for feature in STUDY.features]
    assert layout_hash(home_study(purpose="another")) == layout_hash(STUDY)
    assert layout_hash(home_study(features=features[::-1])) != layout_hash(STUDY)


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_one_changed_byte_is_another_model_or_none(at: int, change: int) -> None:
    changed = bytes([*FILE[:at], FILE[at] ^ change, *FILE[at + 1 :]])
    try:
        found = model_from_bytes(changed, STUDY, RUN)
    except ProtocolError:
        return
    assert at >= len(FILE) - 8 * len(PARAMETERS), "a changed header was read"
    assert found.tobytes() != PARAMETERS.tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        FILE[:-8],
        FILE + bytes(8),
        save({"parameters": PARAMETERS}),
        save({"parameters": PARAMETERS, "more": PARAMETERS}),
        save({"parameters": PARAMETERS.astype(np.float32)}),
        model_to_bytes(STUDY, "run-2", PARAMETERS),
        model_to_bytes(home_study(purpose="another"), RUN, PARAMETERS),
    ],
    ids=["empty", "short", "long", "no metadata", "two tensors", "float32", "run", "study"],
)
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        model_from_bytes(content, STUDY, RUN)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.01 * PARAMETER_LIMIT])
def test_parameters_out_of_range_are_neither_written_nor_read(value: float) -> None:
    wrong = PARAMETERS.copy()
    wrong[-1] = value
    with pytest.raises(ProtocolError, match="finite parameters"):
        model_to_bytes(STUDY, RUN, wrong)
    with pytest.raises(ProtocolError, match="finite parameters"):
        model_from_bytes(FILE[:-8] + wrong[-1:].tobytes(), STUDY, RUN)


def test_a_model_of_another_size_is_not_written() -> None:
    with pytest.raises(ProtocolError, match="bytes of parameters"):
        model_to_bytes(STUDY, RUN, PARAMETERS[:-1])


def test_names_cannot_break_out_of_the_header() -> None:
    content = model_to_bytes(STUDY, 'x", "shape": [1', PARAMETERS)
    length = int.from_bytes(content[:8], "little")
    assert json.loads(content[8 : 8 + length])["__metadata__"]["run"] == 'x", "shape": [1'


def test_a_network_of_the_same_features_has_a_layout_of_its_own() -> None:
    data = STUDY.model_dump(mode="json")
    data["records"]["unit"] = "customer"
    one, other = (
        Study.model_validate(data | {"model": {"kind": "mlp", "hidden": hidden}})
        for hidden in ([8], [8, 8])
    )
    assert len({layout_hash(STUDY), layout_hash(one), layout_hash(other)}) == 3

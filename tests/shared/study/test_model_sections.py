"""Which model a study trains: a closed list, and old studies mean what they meant."""

import pytest
from pydantic import TypeAdapter, ValidationError

from fieldfare.shared.study.model_sections import (
    AdditiveSection,
    MlpSection,
    ModelSection,
    RowSection,
    TextSection,
    VectorSection,
    row_section,
)

SECTION: TypeAdapter[AdditiveSection | MlpSection | RowSection] = TypeAdapter(ModelSection)


def test_no_kind_is_the_additive_model() -> None:
    assert SECTION.validate_python({}) == AdditiveSection()
    assert SECTION.validate_python(AdditiveSection()) == AdditiveSection()


def test_only_models_of_rows_have_a_row_section() -> None:
    text = SECTION.validate_python({"kind": "text", "column": "message"})
    assert row_section(text) == TextSection(kind="text", column="message", buckets=2048)
    assert row_section(AdditiveSection()) is None
    assert row_section(MlpSection(kind="mlp")) is None
    vector = SECTION.validate_python({"kind": "vector", "column": "embedding", "entries": 64})
    assert row_section(vector) == VectorSection(kind="vector", column="embedding", entries=64)
    assert [section.columns for section in map(row_section, (text, vector)) if section] == [
        2048,
        64,
    ]


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "python", "module": "os"},
        {"kind": "additive", "column": "message"},
        {"kind": "text"},
        {"kind": "text", "column": "nationality"},
        {"kind": "mlp", "hidden": [7]},
        {"kind": "mlp", "hidden": [8, 8, 8, 8]},
        {"kind": "mlp", "rows": 0},
        {"kind": "vector", "column": "embedding"},
        {"kind": "vector", "column": "embedding", "entries": 63},
        {"kind": "vector", "column": "embedding", "entries": 1025},
        {"kind": "vector", "column": "embedding", "entries": 64, "hidden": 65},
        {"kind": "vector", "column": "photo", "entries": 64},
        {"kind": "vector", "column": "gender", "entries": 64},
        "text",
        7,
    ],
)
def test_anything_else_is_refused(section: object) -> None:
    with pytest.raises(ValidationError):
        SECTION.validate_python(section)


@pytest.mark.parametrize(
    "more",
    [
        {"module": "acme_nets:Small"},
        {"module": "acme_nets:Small", "package": "acme-nets==1"},
        {"parameters": 9},
        {"package": "acme-nets==1"},
        {"module": "acme_nets", "package": "acme-nets==1", "parameters": 9},
        {"module": "acme_nets:Small", "package": "acme-nets>=1", "parameters": 9},
        {"module": "../acme:Small", "package": "acme-nets==1", "parameters": 9},
        {"module": "acme_nets:Small", "package": "acme-nets==1", "hidden": [8], "parameters": 9},
    ],
)
def test_half_a_module_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SECTION.validate_python({"kind": "mlp", **more})


def test_a_section_says_widths_or_a_module_and_never_both() -> None:
    plain = SECTION.validate_python({"kind": "mlp"})
    assert plain.model_dump(mode="json") == {"kind": "mlp", "hidden": [32], "rows": 1}
    named_by = {"module": "acme_nets.of:Small", "package": "acme-nets==1.0", "parameters": 9}
    said = {"kind": "mlp", **named_by}
    named = SECTION.validate_python(said)
    assert named.model_dump(mode="json") == said | {"rows": 1}
    assert SECTION.validate_python(named.model_dump(mode="json")) == named

"""Which model a study trains: a closed list, and old studies mean what they meant."""

import pytest
from pydantic import TypeAdapter, ValidationError

from fieldfare.shared.model_sections import (
    AdditiveSection,
    ModelSection,
    TextSection,
    row_section,
)

SECTION: TypeAdapter[AdditiveSection | TextSection] = TypeAdapter(ModelSection)


def test_no_kind_is_the_additive_model() -> None:
    assert SECTION.validate_python({}) == AdditiveSection()
    assert SECTION.validate_python(AdditiveSection()) == AdditiveSection()


def test_only_models_of_rows_have_a_row_section() -> None:
    text = SECTION.validate_python({"kind": "text", "column": "message"})
    assert row_section(text) == TextSection(kind="text", column="message", buckets=2048)
    assert row_section(AdditiveSection()) is None


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "python", "module": "os"},
        {"kind": "additive", "column": "message"},
        {"kind": "text"},
        {"kind": "text", "column": "nationality"},
        "text",
        7,
    ],
)
def test_anything_else_is_refused(section: object) -> None:
    with pytest.raises(ValidationError):
        SECTION.validate_python(section)

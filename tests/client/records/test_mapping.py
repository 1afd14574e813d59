"""A mapping file names an institution's columns."""

from pathlib import Path

import pytest

from fieldfare.client.records.mapping import ColumnMapping, load_mapping
from fieldfare.shared.errors import StudyError


def test_columns_that_are_not_listed_keep_their_names(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text('[columns]\namount = "AMT_CR"\n', encoding="utf-8")
    mapping = load_mapping(path)
    assert mapping.source_of("amount") == "AMT_CR"
    assert mapping.source_of("label") == "label"
    assert ColumnMapping().source_of("x") == "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[columns]\namount = ""\n', "columns.amount"),
        ("[columns]\namount = 3\n", "columns.amount"),
        ('[colums]\namount = "x"\n', "colums: no such key"),
        ("columns", "TOML expected"),
        (b"\xff", "TOML expected"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyError, match=message):
        load_mapping(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="readable mapping file expected"):
        load_mapping(tmp_path / "none.toml")

"""A mapping file names an institution's columns."""

import re
from pathlib import Path

import pytest

from fieldfare.client.records.sources.mapping import ColumnMapping, Numerals, load_mapping
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
        ('[colums]\namount = "x"\n', "colums: expected no such key"),
        ("columns", "expected TOML"),
        (b"\xff", "expected TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyError, match=message):
        load_mapping(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="readable mapping file"):
        load_mapping(tmp_path / "none.toml")


def test_what_is_declared_beside_columns(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(
        'encoding = "Windows-1252"\nseparator = ";"\ndecimal = ","\nthousands = "."\n'
        '[dates]\nOPENED = "%d.%m.%Y"\nCLOSED = "iso"\n',
        encoding="utf-8",
    )
    mapping = load_mapping(path)
    assert (mapping.encoding, mapping.separator) == ("cp1252", ";")
    assert mapping.numerals == Numerals(",", ".")
    assert mapping.dates == {"OPENED": "%d.%m.%Y", "CLOSED": "iso"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('encoding = "klingon"', "encoding: expected an encoding that Python knows"),
        ('encoding = "hex"', "encoding: expected an encoding that Python knows"),
        ('encoding = "a\\u0000b"', "encoding: expected an encoding that Python knows"),
        ('separator = "ab"', "separator: expected one character"),
        ("separator = '\"'", "separator: expected one character"),
        ('decimal = "x"', "decimal"),
        ('thousands = "."', "thousands: expected another character than decimal"),
        ('dates = {d = "dd.mm.yyyy"}', 'dates: d: expected "iso" or a form'),
        ('dates = {d = "%d.%m.%Q"}', 'dates: d: expected "iso" or a form'),
    ],
)
def test_declarations_that_cannot_be_meant(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(StudyError, match=re.escape(message)):
        load_mapping(path)


@pytest.mark.parametrize("name", ["utf-8", "UTF8", "utf-8-sig"])
def test_utf_8_has_one_name(name: str) -> None:
    assert ColumnMapping(encoding=name).encoding == "utf-8"


def test_a_mapping_can_be_narrowed_to_a_study() -> None:
    mapping = ColumnMapping(columns={"a": "A", "b": "B"}, decimal=",")
    assert mapping.only({"b", "c"}) == ColumnMapping(columns={"b": "B"}, decimal=",")


@pytest.mark.parametrize(
    "encoding",
    ["utf-7", "UTF7", "U7", "punycode", "idna", "unicode-escape", "raw-unicode-escape"],
)
def test_encodings_of_no_tables_are_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"(encoding of tables|encoding that Python knows)"):
        ColumnMapping(encoding=encoding)

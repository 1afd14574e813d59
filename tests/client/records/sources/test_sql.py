"""A column's number, text and date: each value by itself, as it is declared to be written."""

import math
from datetime import date
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.client.records.sources.mapping import Numerals, canonical_id
from fieldfare.client.records.sources.sql import (
    DATE_FINE,
    DATE_FUTURE,
    DATE_NONE,
    WHITESPACE,
    ColumnType,
    date_code_of,
    id_of,
    literal,
    number_of,
    quoted,
    value_of,
)

TODAY = date(2025, 6, 30)
GERMAN = Numerals(",", ".")


def evaluated(expression: str, values: list[Any]) -> list[Any]:
    """Return an expression over a column x of texts."""
    with duckdb.connect() as connection:
        connection.register("t", pa.table({"x": pa.array(values, pa.string())}))
        return [row[0] for row in connection.execute(f"SELECT {expression} FROM t").fetchall()]


@pytest.mark.parametrize(
    ("numerals", "texts", "expected"),
    [
        pytest.param(
            Numerals(","),
            ["1,5", "-0,25", "+3", ",5", "7,", "1e3", "1,5E-2", " 2,5\t"],
            [1.5, -0.25, 3, 0.5, 7, 1000, 0.015, 2.5],
            id="decimal comma",
        ),
        pytest.param(
            Numerals(","), ["1.5", "1.234,5", "1,2,3", ",", "1 000"], [None] * 5, id="other signs"
        ),
        pytest.param(
            GERMAN,
            ["1.234,5", "1.234", "12.345.678", "1234,5", "0,5", "-1.000,00"],
            [1234.5, 1234, 12345678, 1234.5, 0.5, -1000],
            id="points between thousands",
        ),
        pytest.param(
            GERMAN,
            ["1.5", "1.23,4", "12.34", "1234.567", ".123", "1..234"],
            [None] * 6,
            id="no groups of three",
        ),
        pytest.param(Numerals(".", ","), ["1,234.5", "1,5", "2.5"], [1234.5, None, 2.5], id="us"),
        pytest.param(
            Numerals(".", "'"), ["1'234.5", "1'23", "9"], [1234.5, None, 9], id="apostrophes"
        ),
        pytest.param(
            Numerals(",", " "),
            ["1 234,5", "1\u00a0234,5", "1\u202f234", "1\u2009234", "1  234"],
            [1234.5, 1234.5, 1234, 1234, None],
            id="every space",
        ),
    ],
)
def test_numbers_as_declared(
    numerals: Numerals, texts: list[str], expected: list[float | None]
) -> None:
    assert evaluated(number_of("x", ColumnType.TEXT, (), numerals), texts) == expected


def test_missing_tokens_and_words_under_other_numerals() -> None:
    query = number_of("x", ColumnType.TEXT, ("?", "-999"), GERMAN)
    found = evaluated(query, ["?", "", None, "-999", "-999,0", "TRUE", "false", "inf", "x"])
    assert all(math.isnan(value) for value in found[:5])
    assert found[5:] == [1, 0, float("inf"), None]


@given(st.lists(st.floats(-1e9, 1e9).map(lambda value: round(value, 4)), min_size=20))
@settings(max_examples=20, deadline=None)
def test_what_a_german_spreadsheet_writes_is_read_back(values: list[float]) -> None:
    swapped = [f"{value:,.4f}".translate(str.maketrans(",.", ".,")) for value in values]
    assert evaluated(number_of("x", ColumnType.TEXT, (), GERMAN), swapped) == values


def test_labels_and_levels_get_a_point_and_ids_do_not() -> None:
    texts = ["1,5", " 1.234 ", "a,b", "3.x", None, ""]
    assert evaluated(value_of("x", ColumnType.TEXT, GERMAN), texts) == [
        "1.5", "1234", "a,b", "3.x", None, "",
    ]  # fmt: skip
    assert evaluated(value_of("x", ColumnType.TEXT), texts[:2]) == ["1,5", "1.234"]


IDS = ["7", "7.0", " 7.00 ", "007", "007.0", "7.5", "7.", "a.0", "1.10", "-3.0", "1e3", None, ""]
READ = ["7", "7", "7", "007", "007", "7.5", "7.", "a.0", "1.10", "-3", "1e3", None, ""]


def test_an_id_that_an_export_wrote_with_a_point_is_the_same_id() -> None:
    assert evaluated(id_of("x", ColumnType.TEXT), IDS) == READ
    assert [text and canonical_id(text) for text in IDS] == READ
    numbers = [7.0, 7.5, 2.0**53, float("nan"), None, -3.0]
    with duckdb.connect() as connection:
        connection.register("t", pa.table({"x": pa.array(numbers, pa.float64())}))
        rows = connection.execute(f"SELECT {id_of('x', ColumnType.FLOAT)} FROM t").fetchall()
    assert [row[0] for row in rows[:2]] == ["7", "7.5"]
    assert [row[0] for row in rows[3:]] == [None, None, "-3"]


@pytest.mark.parametrize(
    ("form", "texts", "codes"),
    [
        ("iso", ["2025-06-30", "2025-06-30 23:59:59", "2025-07-01", "9999-12-31"], "0011"),
        ("iso", ["30.06.2025", "x", "", None, "NA", " 2024-01-01 "], "220000"),
        ("%d.%m.%Y", ["30.06.2025", "01.07.2025", "2025-06-30", "31.06.2025"], "0122"),
        ("%d/%m/%y %H:%M", ["30/06/25 08:15", "01/07/25 00:00", "30/06/25"], "012"),
    ],
)
def test_dates(form: str, texts: list[str | None], codes: str) -> None:
    assert (DATE_FINE, DATE_FUTURE, DATE_NONE) == (0, 1, 2)
    query = date_code_of("x", ColumnType.TEXT, form, ("NA",), TODAY)
    assert "".join(map(str, evaluated(query, texts))) == codes


def test_typed_dates() -> None:
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT {date_code_of('x', ColumnType.DATE, '%d.%m.%Y', (), TODAY)} FROM (VALUES "
            "(DATE '2025-06-30'), (DATE '2025-07-01'), (NULL), ('infinity'::DATE)) t(x)"
        ).fetchall()
    assert found == [(0,), (1,), (0,), (1,)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("HUGEINT", ColumnType.NUMBER),
        ("UTINYINT", ColumnType.NUMBER),
        ("DECIMAL(10,2)", ColumnType.NUMBER),
        ("FLOAT", ColumnType.FLOAT),
        ("BOOLEAN", ColumnType.BOOLEAN),
        ("TIMESTAMP WITH TIME ZONE", ColumnType.DATE),
        ("VARCHAR", ColumnType.TEXT),
        ("UUID", ColumnType.TEXT),
        ("ENUM('a', 'b')", ColumnType.TEXT),
        ("BLOB", ColumnType.OPAQUE),
        ("DOUBLE[]", ColumnType.LIST),
        ("FLOAT[3]", ColumnType.LIST),
        ("DECIMAL(9,4)[]", ColumnType.LIST),
        ("DOUBLE[][]", ColumnType.OPAQUE),
        ("UTINYINT[]", ColumnType.OPAQUE),
        ("STRUCT(a INTEGER)", ColumnType.OPAQUE),
    ],
)
def test_types(name: str, kind: ColumnType) -> None:
    assert ColumnType.of(name) is kind


@pytest.mark.parametrize("type_name", ["DATE", "TIME", "UUID", "INTERVAL", "BLOB", "INTEGER[]"])
@pytest.mark.parametrize("numerals", [Numerals(), GERMAN])
def test_every_type_has_texts_and_none_of_these_has_numbers(
    type_name: str, numerals: Numerals
) -> None:
    """A sample's profile looks at every column; it must not fail on an odd one."""
    value = {"UUID": "'00000000-0000-0000-0000-000000000000'", "INTEGER[]": "[1]"}
    example = {"DATE": "'2025-01-01'", "TIME": "'08:15'", "INTERVAL": "'1 day'", "BLOB": "'x'"}
    source = f"(SELECT CAST({(value | example)[type_name]} AS {type_name}) AS x)"
    number = number_of("x", ColumnType.of(type_name), (), numerals)
    with duckdb.connect() as connection:
        row = connection.execute(f"SELECT {number} FROM {source}").fetchone()
    assert row == (None,)


def test_names_and_texts_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("it's") == "'it''s'"


def test_whitespace_is_what_python_trims() -> None:
    spaces = "".join(chr(code) for code in range(0x110000) if chr(code).isspace())
    assert spaces == WHITESPACE

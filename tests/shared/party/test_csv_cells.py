"""Cells of CSV: a spreadsheet computes none, and what was written is read again as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.party.csv_cells import cell_of, csv_text, text_of

RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@pytest.mark.parametrize("first", RUN, ids=ascii)
def test_no_text_begins_with_a_sign_that_a_spreadsheet_runs(first: str) -> None:
    for text in (f"{first}cmd|' /C calc'!A0", first, f"'{first}1+1", f"''{first}"):
        cell = cell_of(text)
        assert cell == "'" + text
        assert text_of(cell) == text


@pytest.mark.parametrize("value", ["-5", "+7.25", "-1e-9", -5, -0.5, True, None, "", "a=b", "'a"])
def test_numbers_and_other_texts_stay_as_they_are(value: object) -> None:
    assert cell_of(value) == value


@given(st.text(alphabet=st.sampled_from([*RUN, "'", "1", "a", "."]), max_size=6) | st.text())
def test_every_text_is_read_again_as_it_was(text: str) -> None:
    assert text_of(cell_of(text)) == text


def test_a_table_is_csv_whose_cells_are_read_again() -> None:
    rows = [("=1+1", -3, "'@x"), ('a"b,c', 0.25, "-x")]
    written = csv_text(("unit", "=n", "t"), rows)
    assert written == "unit,'=n,t\n'=1+1,-3,''@x\n\"a\"\"b,c\",0.25,'-x\n"
    found = list(csv.reader(io.StringIO(written)))[1:]
    assert [(text_of(a), text_of(c)) for a, _, c in found] == [(a, c) for a, _, c in rows]

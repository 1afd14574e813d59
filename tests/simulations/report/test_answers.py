"""True and private answers on a page and on a screen."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from fieldfare.shared.pages.words import number
from fieldfare.simulations.report.answers import (
    MOST_CELLS,
    answer_tables,
    answers_table,
    write_answers_report,
)

RESULTS: dict[str, Any] = {
    "study": {"name": "asking <b>", "id": "ab" * 32},
    "institutions": [{"name": "bank"}] * 3,
    "privacy": {"epsilon": 0.5, "delta": 1e-5, "noise": "exact"},
    "answers": [
        {"name": "units", "kind": "count", "true": 1200, "value": 1210.5, "interval": [1100, 1321],
         "sigma": 56.0, "suppressed": 0, "institutions": 3},
        {"name": "tables", "kind": "group_by", "keys": ["channel"],
         "cells": [[f"level {i}"] for i in range(9)] + [["level 0"]],
         "measures": ["count"] * 9 + ["mean"],
         "true": [3, 90, 4, 5, 6, 7, 8, 9, 10, 1.5], "value": [None, *[90.25] * 9],
         "interval": [None, *[[80, 100]] * 9], "sigma": 5.0, "suppressed": 1, "institutions": 3},
    ],
}  # fmt: skip


def test_rows_hold_true_private_and_interval() -> None:
    units, tables = answer_tables(RESULTS)
    assert units["rows"] == [
        {"cell": "", "true": "1,200", "value": "1,210", "low": "1,100", "high": "1,321"}
    ]
    assert tables["rows"][0]["value"] == "held back"
    assert tables["rows"][0]["low"] == ""
    assert tables["rows"][-1]["cell"] == "level 0, mean"
    assert answer_tables({}) == []


def test_numbers_are_short() -> None:
    assert [number(v) for v in (None, 0.123456, 999.96, 12345.6)] == [
        "-",
        "0.1235",
        "1000",
        "12,346",
    ]


def test_the_page_says_what_it_is_and_escapes_what_strangers_wrote(tmp_path: Path) -> None:
    write_answers_report(tmp_path / "report.html", RESULTS)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "asking &lt;b&gt;" in page
    assert "<b>" not in page
    assert "Treat this page like the records behind it" in page
    assert "Not a protected run" not in page
    for shown in ("1,200", "1,210", "held back", "epsilon 0.5"):
        assert shown in page


def test_a_screen_of_eighty_columns_shows_whole_intervals() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(answers_table(RESULTS))
    lines = stream.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[1].split() == ["units", "1,200", "1,210", "1,100", "1,321"]
    assert f"{10 - MOST_CELLS} more" in lines[-1]

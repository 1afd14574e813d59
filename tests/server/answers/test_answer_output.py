import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console
from tests.support.runs.answered import answer_set, results_file

from fieldfare.server.answers.output import (
    MOST_CELLS,
    answers_csv,
    answers_json,
    answers_table,
    arrow_bytes,
    cell_label,
)
from fieldfare.server.answers.sets import simulated_answers
from fieldfare.shared.pages.words import number


def screen(found: object) -> str:
    out = io.StringIO()
    Console(file=out, width=100).print(found)
    return out.getvalue()


def test_programs_get_every_answer_as_results_json_has_it() -> None:
    one = answer_set(later=True)
    found = json.loads(json.dumps(answers_json([one, answer_set("run-2")]), allow_nan=False))
    assert [(s["run"], s["asked"]) for s in found["answered"]] == [
        ("run-1", "allowance"),
        ("run-2", "study"),
    ]
    assert found["answered"][0]["answers"][0] == json.loads(json.dumps(one.answers[0].as_dict()))


def test_a_simulations_json_is_what_it_was(tmp_path: Path) -> None:
    path = results_file(tmp_path)
    found = answers_json([simulated_answers(path)])["answered"][0]
    assert (found["run"], found["asked"]) == (None, "simulation")
    assert found["answers"] == json.loads(path.read_text())["answers"]


def test_arrow_and_csv_have_the_same_rows() -> None:
    sets = [answer_set(), answer_set("run-2")]
    found = pa.ipc.open_file(io.BytesIO(arrow_bytes(sets))).read_all()
    rows = list(csv.DictReader(io.StringIO(answers_csv(sets))))
    assert len(rows) == found.num_rows == 2 * sum(len(a.cells) for a in sets[0].answers)
    assert found.column_names == list(rows[0])
    assert set(found.column("run").to_pylist()) == {"run-1", "run-2"}
    for row, same in zip(rows, found.to_pylist(), strict=True):
        assert row["cell"] == " | ".join(same["cell"])
        assert row["suppressed"] == str(same["suppressed"]).lower()
        assert (row["value"] == "") == (same["value"] is None)
        assert row["value"] == "" or float(row["value"]) == pytest.approx(same["value"])


def test_the_screen_shows_intervals_and_what_was_held_back(tmp_path: Path) -> None:
    shown = screen(answers_table(answer_set()))
    assert "held back" in shown
    assert "95 % from" in shown
    assert "true" not in shown
    assert "true" in screen(answers_table(simulated_answers(results_file(tmp_path))))


def test_long_answers_are_cut_on_the_screen_and_say_so() -> None:
    one = answer_set()
    longest = max(one.answers, key=lambda answer: len(answer.cells))
    many = longest.cells * (MOST_CELLS // len(longest.cells) + 1)
    cut = type(one)(
        one.study, one.name, one.run, later=False, questions=None,
        answers=(type(longest)(**{**vars(longest), "cells": many}),),
    )  # fmt: skip
    assert f"{len(many) - MOST_CELLS} more: --format csv" in screen(answers_table(cut))


def test_labels_say_what_is_measured_and_where_an_alarm_is() -> None:
    found = {answer.name: answer for answer in answer_set().answers}
    assert cell_label(found["units"], found["units"].cells[0]) == "count"
    both = found["by channel"]
    assert cell_label(both, both.cells[-1]) == f"{', '.join(both.cells[-1].key)}, mean"
    months = found["months"]
    alarmed = type(months)(**{**vars(months), "alarms": ("2025-02",)})
    assert cell_label(alarmed, months.cells[1]) == "2025-02 (alarm)"


def test_numbers_are_for_people() -> None:
    assert [number(v) for v in (None, 0.12345, 999.94, 12345.6)] == [
        "-",
        "0.1235",
        "999.9",
        "12,346",
    ]

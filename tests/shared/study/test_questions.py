import json
from typing import Any

import pytest
import rfc8785
from pydantic import ValidationError
from tests.support.runs.asking import EVERY_KIND, asking

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.study.questions import KINDS, QuestionGroup, columns_of, question_problems

COLUMNS = asking().asked_columns


def group(*questions: dict[str, Any]) -> QuestionGroup:
    return QuestionGroup.model_validate({"questions": list(questions)})


def problem(question: dict[str, Any]) -> str:
    return " | ".join(question_problems(group({"name": "q", **question}).questions[0], COLUMNS))


def test_every_kind_is_in_the_list_once_and_asked_in_tests() -> None:
    assert len(set(KINDS)) == len(KINDS)
    assert {question["kind"] for question in EVERY_KIND} == set(KINDS)


def test_a_group_comes_back_from_its_own_bytes_alone() -> None:
    whole = group(*EVERY_KIND)
    content = whole.to_bytes()
    assert QuestionGroup.from_bytes(content) == whole
    data = json.loads(content)
    spellings = [
        json.dumps(data).encode(),  # spaces
        content.replace(b'"format":1', b'"format":1.0'),
        rfc8785.dumps({**data, "questions": []}),
        rfc8785.dumps({**data, "more": 1}),
        b"[" * 100_000,
        content + b" ",
        b"",
        b"0" * 300_000,
    ]
    for spelling in spellings:
        with pytest.raises(ProtocolError):
            QuestionGroup.from_bytes(spelling)


def test_two_questions_of_one_name_are_no_group() -> None:
    with pytest.raises(ValidationError, match="a name of its own"):
        group(EVERY_KIND[0], EVERY_KIND[0])


def test_every_column_that_is_read_is_named() -> None:
    read = {q.name: columns_of(q) for q in group(*EVERY_KIND).questions}
    assert read["per hour"] == ("amount", "hours")
    assert read["flagged"] == ("flagged",)
    assert read["by channel"] == ("hours", "channel", "band")
    assert set(read["tables"]) == {"channel", "flagged"}
    assert read["units"] == ()


@pytest.mark.parametrize("question", EVERY_KIND, ids=lambda q: str(q["name"]))
def test_good_questions_have_no_problem(question: dict[str, Any]) -> None:
    assert not question_problems(group(question).questions[0], COLUMNS)


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ({"kind": "mean", "column": "amuont"}, "that the study declares, found 'amuont'"),
        ({"kind": "sum", "column": "channel"}, "an unbounded sum has no sensitivity"),
        ({"kind": "mean", "column": "corridor"}, "a number with declared bounds"),
        ({"kind": "count", "where": [{"column": "id", "levels": ["x"]}]}, "found 'id'"),
        (
            {"kind": "count", "where": [{"column": "corridor", "levels": ["x"]}]},
            "could isolate one unit",
        ),
        (
            {"kind": "count", "where": [{"column": "amount", "levels": ["17.5"]}]},
            "could isolate one unit",
        ),
        (
            {"kind": "count", "where": [{"column": "amount", "lower": 5.0, "upper": 5.5}]},
            "could isolate one unit; widen it",
        ),
        (
            {"kind": "count", "where": [{"column": "amount", "lower": 50.0, "upper": 5.0}]},
            "expected lower < upper within 0 to 100, found 50 and 5",
        ),
        (
            {"kind": "count", "where": [{"column": "band", "levels": ["all"]}]},
            "levels that the study declares for units",
        ),
        (
            {"kind": "count", "where": [{"column": "channel", "levels": ["fax"]}]},
            "levels that the study declares",
        ),
        (
            {"kind": "count", "where": [{"column": "channel", "lower": 1.0}]},
            "expected levels, found a range",
        ),
        (
            {
                "kind": "count",
                "where": [
                    {"column": "amount", "lower": 5.0},
                    {"column": "amount", "upper": 50.0},
                ],
            },
            "one condition for each column",
        ),
        (
            {"kind": "group_by", "by": ["channel", "band", "flagged", "month"]},
            "expected 1 to 3 different keys, found 4",
        ),
        ({"kind": "group_by", "by": ["corridor"]}, "ask heavy_hitters"),
        ({"kind": "contingency", "marginals": [["channel", "channel"]]}, "different keys"),
        ({"kind": "top_k", "column": "amount"}, "ask a histogram"),
        ({"kind": "trend", "column": "channel"}, "a month column"),
        ({"kind": "trend", "column": "month", "window": 12}, "shorten the window"),
        ({"kind": "heavy_hitters", "column": "channel"}, "an open column"),
        ({"kind": "correlation", "columns": ["amount", "amount"]}, "found one twice"),
        ({"kind": "histogram", "column": "amount", "edges": [0, 200]}, "within 0 to 100"),
        ({"kind": "histogram", "column": "channel", "edges": [0, 2]}, "leave edges out"),
    ],
)
def test_bad_questions_are_refused_with_reason_and_fix(
    question: dict[str, Any], reason: str
) -> None:
    assert reason in problem(question)


@pytest.mark.parametrize(
    "question",
    [
        {"kind": "quantiles", "column": "amount", "at": [0.0]},
        {"kind": "quantiles", "column": "amount", "at": [0.5, 0.25]},
        {"kind": "histogram", "column": "amount", "edges": [5, 5]},
        {"kind": "count", "where": [{"column": "amount"}]},
        {"kind": "count", "where": [{"column": "channel", "levels": ["branch", "branch"]}]},
        {"kind": "count", "share": 0},
        {"kind": "contingency", "marginals": [["a", "b"], ["b", "a"]]},
        {"kind": "exec", "code": "import os"},
    ],
)
def test_what_is_no_question_does_not_parse(question: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        group({"name": "q", **question})

from tests.support.runs.asking import asking

from fieldfare.shared.study.asked_words import asked_lines


def test_every_question_is_said_with_what_it_reads_and_of_whom() -> None:
    study = asking(
        {"name": "units", "kind": "count"},
        {
            "name": "long",
            "kind": "mean",
            "column": "amount",
            "where": [
                {"column": "channel", "levels": ["online", "post"]},
                {"column": "hours", "lower": 12.0},
            ],
        },
        {
            "name": "mid",
            "kind": "count",
            "where": [{"column": "hours", "lower": 2.0, "upper": 12.0}],
        },
        allowance={"kinds": ["count", "sum"], "columns": ["hours"], "groups": 4},
    )
    assert asked_lines(study) == (
        "units: count of all",
        "long: mean of amount where channel is online or post and 12 <= hours",
        "mid: count of all where 2 <= hours < 12",
        "later, without asking you again: up to 4 groups of count, sum, about hours alone",
    )


def test_a_study_that_asks_nothing_has_no_line() -> None:
    assert asked_lines(asking(steps=3, queries=[], columns=[])) == ()

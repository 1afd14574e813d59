from typing import Any

import pytest
from pydantic import ValidationError
from tests.support.runs.grouped import AGES, FEATURES, SEGMENTS, grouped_study

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.features import GroupColumn
from fieldfare.shared.harm_rules import is_protected
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no levels": ({"column": "segment", "levels": []}, "levels"),
    "a level twice": ({"column": "segment", "levels": ["a", "a"]}, "different levels"),
    "a level with spaces": ({"column": "segment", "levels": [" a"]}, "without spaces"),
    "an empty level": ({"column": "segment", "levels": [""]}, "without spaces"),
    "too many": ({"column": "segment", "levels": [f"{i}" for i in range(65)]}, "levels"),
    "a rest that is a level": (
        {"column": "segment", "levels": ["a", "b"], "rest": "b"},
        "a name that is no level",
    ),
    "another key": ({"column": "segment", "levels": ["a"], "where": 1}, "where"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_grouping_that_cannot_be_counted_is_refused(case: str) -> None:
    content, said = MISTAKES[case]
    with pytest.raises(ValidationError, match=said):
        GroupColumn.model_validate(content)


@pytest.mark.parametrize("column", ["amount", "Channel", "reported", "id", "month"])
def test_harm_rule_4_a_group_is_read_for_nothing_else(column: str) -> None:
    groups = [{"column": column, "levels": ["a"]}]
    month = {"name": "month", "kind": "month", "first": "2025-01", "last": "2025-12"}
    asked = {"columns": [month], "queries": [{"name": "m", "kind": "trend", "column": "month"}]}
    with pytest.raises(ValidationError, match=r"evaluation\.groups\.0\.column: .*never an input"):
        grouped_study(evaluation={"groups": groups}, **asked)


def test_harm_rule_4_what_a_text_model_reads_is_no_group() -> None:
    with pytest.raises(ValidationError, match="never an input"):
        grouped_study(
            model={"kind": "text", "column": "segment"},
            features=[],
            evaluation={"groups": [SEGMENTS]},
        )


def test_harm_rule_4_a_protected_attribute_may_be_a_group_and_nothing_else() -> None:
    assert is_protected("age_band")
    assert grouped_study().groups[0].column == "age_band"
    asked = {"name": "age_band", "kind": "categorical", "levels": ["18-24"]}
    with pytest.raises(ValidationError, match="harm rule 4"):
        grouped_study(features=[*FEATURES, asked])
    with pytest.raises(ValidationError, match="harm rule 4"):
        grouped_study(columns=[asked])
    query = {"name": "ages", "kind": "histogram", "column": "age_band"}
    with pytest.raises(ValidationError, match="age_band"):
        grouped_study(queries=[query])


def test_a_column_is_grouped_by_once() -> None:
    with pytest.raises(ValidationError, match=r"groups\.1\.column"):
        grouped_study(evaluation={"groups": [AGES, AGES]})
    with pytest.raises(ValidationError, match=r"groups\.1\.column"):
        grouped_study(evaluation={"groups": [AGES, AGES | {"column": "Age_Band"}]})


def test_what_is_not_trained_has_no_alerts_to_count() -> None:
    with pytest.raises(ValidationError, match="no model is trained"):
        grouped_study(training={"steps": 0}, queries=[{"name": "units", "kind": "count"}])


def test_groups_read_one_row_of_a_unit() -> None:
    assert grouped_study(model={"kind": "mlp"}).groups
    with pytest.raises(ValidationError, match=r"model\.rows > 1"):
        grouped_study(model={"kind": "mlp", "rows": 4})


def test_units_of_other_levels_are_the_rest() -> None:
    ages, segments = grouped_study().groups
    assert ages.names == ("18-24", "25-64", "other or unknown")
    assert segments.names[-1] == "no segment"


def without_groups() -> Study:
    return grouped_study(evaluation={"groups": []})


def test_a_study_without_groups_has_the_bytes_that_it_had() -> None:
    """Format 1 before there were groups: its id must not change (golden)."""
    assert b"groups" not in without_groups().canonical()
    assert without_groups().id == GOLDEN
    assert grouped_study().id != GOLDEN


def test_levels_and_their_order_are_part_of_a_study() -> None:
    other = dict(SEGMENTS, levels=["private", "retail", "student"])
    ids = {grouped_study(evaluation={"groups": [AGES, one]}).id for one in (SEGMENTS, other)}
    assert len(ids) == 2


def test_a_mistake_in_a_file_is_one_line_with_its_place() -> None:
    text = """
name = "s"
purpose = "p"
records = { label = "l", units = 100, prevalence = 0.1 }
privacy = { epsilon = 1.0, delta = 1e-5 }
features = [{ name = "a", kind = "numeric", lower = 0, upper = 1 }]
[[evaluation.groups]]
column = "segment"
levels = ["x", "x"]
"""
    with pytest.raises(StudyError) as caught:
        parse_study(text)
    assert caught.value.problems == ["evaluation.groups.0.levels: expected different levels"]


GOLDEN = "25fbc378592cfbcfcc4c1d4b8be3912325e8edbca5bc0dae0f2aba58050f15f1"  # of version 0.1

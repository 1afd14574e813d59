"""Which texts stand for the same value, and which labels are positive."""

import pytest

from fieldfare.client.records.encoding.values import LabelRule, LevelCodes, comparable, number
from fieldfare.shared.features.basis import MISSING_CODE
from fieldfare.shared.features.features import CategoricalFeature


@pytest.mark.parametrize(
    ("positive", "labels"),
    [
        ("> 0", {"0": 0, "0.0": 0, "1": 1, "4": 1, "-1": 0, "yes": None, "inf": None}),
        (">= 3", {"2.9": 0, "3": 1, "3.0": 1}),
        ("<= 1", {"1": 1, "1.5": 0}),
        ("< 2", {"2": 0, "-7": 1}),
        ("==1", {"1": 1, "1.00": 1, "true": 1, "2": 0, "x": None}),
        ("1", {"1": 1, "1.0": 1, "true": 1, "True": 1, "0": 0, "false": 0, "yes": 0}),
        ("true", {"true": 1, "TRUE": 1, "1": 1, "false": 0}),
        (">50K", {">50K": 1, "<=50K": 0, "50": 0}),
        ("> 50 K", {"> 50 K": 1, "60": 0}),
        (" spam ", {"spam": 1, "ham": 0, "Spam": 0}),
        ("= 1", {"= 1": 1, "1": 0}),
    ],
)
def test_label_rules(positive: str, labels: dict[str, int | None]) -> None:
    rule = LabelRule.parse(positive)
    assert {text: rule.label_of(text) for text in labels} == labels


@pytest.mark.parametrize(("text", "value"), [("1e3", 1000.0), ("x", None), ("nan", None)])
def test_numbers_are_finite(text: str, value: float | None) -> None:
    assert number(text) == value


def test_comparable_text() -> None:
    assert comparable("1.0") == comparable("1") == comparable("True")
    assert comparable("1.0") != comparable("1.1")
    assert comparable("01x") == "01x"


def test_levels_match_exactly_then_by_number() -> None:
    feature = CategoricalFeature(kind="categorical", name="f", levels=("1", "1.0", "2", "yes"))
    codes = LevelCodes.of(feature, ("?", "NA"))
    other = len(feature.levels)
    assert [codes.code_of(x) for x in ("1", "1.0", "1.00", "2.0", "yes")] == [0, 1, 0, 2, 3]
    assert [codes.code_of(x) for x in ("Yes", "3", "none")] == [other] * 3
    assert [codes.code_of(x) for x in (None, "", "?", "NA")] == [MISSING_CODE] * 4


def test_labels_that_a_rule_for_one_does_not_mean() -> None:
    rule = LabelRule.parse("1")
    assert [rule.foresees(text) for text in ("1", "0", "0.0", "true", "False")] == [True] * 5
    assert [rule.foresees(text) for text in ("Y", "2", "-1", "yes")] == [False] * 4
    assert LabelRule.parse(">50K").foresees("<=50K")
    assert LabelRule.parse("> 0").foresees("7")

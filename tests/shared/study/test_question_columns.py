import pytest
from pydantic import ValidationError

from fieldfare.shared.features.features import CategoricalFeature
from fieldfare.shared.study.question_columns import (
    InstitutionColumn,
    LabelColumn,
    MonthColumn,
    OpenColumn,
    SeveralColumn,
    columns_by_name,
    holds_several,
)


def test_months_run_over_the_turn_of_a_year() -> None:
    column = MonthColumn(name="m", kind="month", first="2024-11", last="2025-02")
    assert column.levels == ("2024-11", "2024-12", "2025-01", "2025-02")


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2025-02", "2025-01", "first <= last"),
        ("2025-13", "2026-01", "pattern"),
        ("1990-01", "2025-01", "240 months"),
    ],
)
def test_months_are_bounded_and_in_order(first: str, last: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MonthColumn(name="m", kind="month", first=first, last=last)


def test_an_institution_is_in_one_group_of_at_least_three() -> None:
    column = InstitutionColumn(name="b", kind="institution", groups={"x": ("a", "b", "c")})
    assert column.levels == ("x",)
    assert (column.code_of("b"), column.code_of("z")) == (0, 1)
    with pytest.raises(ValidationError, match="at least 3 institutions"):
        InstitutionColumn(name="b", kind="institution", groups={"x": ("a", "b")})
    with pytest.raises(ValidationError, match="found one twice"):
        InstitutionColumn(
            name="b", kind="institution", groups={"x": ("a", "b", "c"), "y": ("a", "d", "e")}
        )
    with pytest.raises(ValidationError, match="groups, found 0"):
        InstitutionColumn(name="b", kind="institution", groups={})


@pytest.mark.parametrize("name", ["nationality", "date_of_birth", "postcode"])
def test_harm_rule_4_holds_for_questions_too(name: str) -> None:
    with pytest.raises(ValidationError, match="harm rule 4"):
        OpenColumn(name=name, kind="open")


def test_levels_of_a_list_can_be_told_apart() -> None:
    assert SeveralColumn(name="c", kind="several", levels=("a", "b")).levels == ("a", "b")
    for levels in (("a", "a"), ("a;b",), (" a",)):
        with pytest.raises(ValidationError):
            SeveralColumn(name="c", kind="several", levels=levels)


def test_the_label_is_there_in_every_study() -> None:
    feature = CategoricalFeature(name="c", kind="categorical", levels=("a",))
    several = SeveralColumn(name="s", kind="several", levels=("a",))
    named = columns_by_name([feature], [several], "sex_work_label")
    label = named["sex_work_label"]
    assert isinstance(label, LabelColumn)
    assert label.levels == ("0", "1")
    assert [holds_several(column) for column in named.values()] == [False, True, False]


def test_groups_of_which_too_few_take_part_are_named() -> None:
    column = InstitutionColumn(
        name="b", kind="institution", groups={"x": ("a", "b", "c"), "y": ("d", "e", "f")}
    )
    assert column.thin_groups("abcdef") == ()
    assert column.thin_groups("abc") == ()  # nobody of a group tells nothing of anybody
    assert column.thin_groups("abcde") == ("y",)
    assert column.thin_groups("abcdefg") == ("other",)
    assert column.thin_groups("abdefghi") == ("x",)

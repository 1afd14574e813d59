import pytest

from fieldfare.shared.study.toml import LONGEST_FOUND, mistake_lines

ERRORS = [
    (
        {"type": "missing", "loc": ("records", "label"), "msg": "Field required"},
        ["records.label: expected a value, found none"],
    ),
    (
        {"type": "extra_forbidden", "loc": ("typo",), "msg": "Extra inputs", "input": 1},
        ["typo: expected no such key; remove it or correct its spelling"],
    ),
    (
        {
            "type": "value_error", "loc": ("evaluation",),
            "msg": "Value error, evaluation.groups: expected none\nsomething",
        },
        ["evaluation.groups: expected none", "evaluation: something"],
    ),
    (
        {"type": "int_type", "loc": ("features", 0, "numeric", "lower"),
         "msg": "Input should be a valid integer", "input": "x"},
        ["features.0.lower: expected a valid integer, found 'x'"],
    ),
    (
        {"type": "int_type", "loc": ("evaluation", "groups", 0, "levels"),
         "msg": "Input should be a valid tuple", "input": 3},
        ["evaluation.groups.0.levels: expected a valid tuple, found 3"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("error", "lines"), ERRORS)
def test_a_mistake_is_a_line_with_its_place(error: dict[str, object], lines: list[str]) -> None:
    assert mistake_lines(error) == lines


def test_what_was_found_is_cut() -> None:
    error = {"type": "int_type", "loc": ("a",), "msg": "Input should be one", "input": "x" * 500}
    (line,) = mistake_lines(error)
    assert line.endswith("...")
    assert len(line) < LONGEST_FOUND + 40


@pytest.mark.parametrize(
    "error",
    [
        {"type": "extra_forbidden", "loc": ("strategy",), "input": "fedavg"},
        {"type": "extra_forbidden", "loc": ("training", "strategy"), "input": "krum"},
        {"type": "extra_forbidden", "loc": ("aggregation", "strategies"), "input": []},
        {"type": "literal_error", "loc": ("training", "mode"), "input": "FedProx"},
    ],
    ids=lambda error: ".".join(error["loc"]),
)
def test_a_study_that_names_a_strategy_is_told_why_none_can(error: dict[str, object]) -> None:
    (line,) = mistake_lines(error | {"msg": "Input should be 'together' or 'local'"})
    assert "sees every institution's update" in line
    assert "fieldfare simulate --baselines fedavg" in line


def test_another_mode_or_a_feature_called_strategy_is_told_nothing_of_it() -> None:
    mode = {"type": "literal_error", "loc": ("training", "mode"), "input": "both"}
    feature = {"type": "extra_forbidden", "loc": ("features", 0, "numeric", "strategy")}
    for error in (mode, feature):
        (line,) = mistake_lines(error | {"msg": "Input should be one"})
        assert "update" not in line

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

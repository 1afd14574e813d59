"""Words about a command's options, as Python's arguments."""

import pytest

from fieldfare.lab.wording import in_python, python_words
from fieldfare.shared.errors import StudyError


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("--holdout-file NAME=FILE: expected names", "holdout: expected names"),
        ("--unit COL names one", "unit=COL names one"),
        ("--unit id: expected a different id", "unit=id: expected a different id"),
        ('say --positive "> 0"', 'say positive="> 0"'),
        ("--positive says otherwise", "positive says otherwise"),
        ("leave it out (--exclude)", "leave it out (exclude)"),
        ("--out /a: expected a folder", "/a: expected a folder"),
        ("no --institution-column, --keep", "no institution_column, keep"),
        ("fieldfare simulate --seed 1", "fieldfare simulate --seed 1"),
        ("`typologies run --out x`", "`typologies run --out x`"),
        ("--no-such-argument: expected", "--no-such-argument: expected"),
        ("axes.epsilon.0: a\nbeside.2: b", "epsilon[0]: a\nbeside_it[2]: b"),
        ("seeds.1: expected", "seeds[1]: expected"),
    ],
)
def test_options_are_arguments_and_commands_stay(said: str, expected: str) -> None:
    assert in_python(said) == expected


def test_an_error_keeps_its_kind_and_its_problems() -> None:
    @python_words()
    def fails() -> None:
        raise StudyError(["--unit: expected one", "--seed: expected one"])

    with pytest.raises(StudyError, match=r"^unit: expected one\nseed: expected one$") as found:
        fails()
    assert found.value.problems == ["unit: expected one", "seed: expected one"]

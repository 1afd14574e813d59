"""A draft becomes a file that reads back as the same study."""

import dataclasses
import tomllib

import pytest
from pydantic import ValidationError

from fieldfare.client.drafting.study_toml import Draft, DraftLabel, toml_text, two_digits
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature, Scale
from fieldfare.shared.study.file import parse_study

NUMBER = NumericFeature(
    kind="numeric", name="amount", lower=0.5, upper=1e6, scale=Scale.LOG1P,
    knots=(0.5, 10, 1234.5, 1e6), special=(-1, 0),
)  # fmt: skip
CATEGORY = CategoricalFeature(
    kind="categorical", name='a "b"', levels=("x\u2003\ue00ay", "\\", "é" * 50, "1")
)
DRAFT = Draft(
    name="mine",
    source="sample.csv",
    rows=1234,
    units=1200,
    unit="id",
    label=DraftLabel("fraud", "> 0", 0.05, ""),
    features=(NUMBER,),
    leaks=(),
    left_out=(("opened", "a date"), ("line\none\rtwo", "the same value everywhere")),
    missing=("", "n/k"),
    epsilon=1.0,
    delta=1e-5,
)


def test_the_text_reads_back_as_the_draft() -> None:
    study = parse_study(toml_text(DRAFT))
    assert study.features == DRAFT.features
    records = study.records
    assert (records.unit, records.label, records.positive) == ("id", "fraud", "> 0")
    assert (records.missing, records.units, records.prevalence) == (("", "n/k"), 1200, 0.05)
    assert (study.name, study.privacy.epsilon, study.privacy.delta) == ("mine", 1, 1e-5)
    assert "fraud is > 0" in study.purpose


def test_any_text_is_escaped() -> None:
    text = toml_text(dataclasses.replace(DRAFT, features=(CATEGORY,)))
    assert parse_study(text).features == (CATEGORY,)


def test_no_feature_has_a_level_of_two_lines() -> None:
    with pytest.raises(ValidationError, match="should match pattern"):
        CategoricalFeature(kind="categorical", name="a", levels=("x\ny",))


def test_what_was_left_out_stands_in_comments_of_one_line() -> None:
    lines = toml_text(DRAFT).splitlines()
    assert "#   opened: a date" in lines
    assert any(line.startswith("#   line") for line in lines)
    tomllib.loads("\n".join(lines))


def test_the_file_says_that_the_sample_is_public_and_ends_in_a_newline() -> None:
    text = toml_text(dataclasses.replace(DRAFT, unit=None))
    assert text.startswith("# Drafted from sample.csv (1234 rows), which the draft declared public")
    assert (
        "# No unit column: every row is one unit. This can be simulated and not deployed:" in text
    )
    assert text.endswith("]\n")
    assert "knots = [0.5, 10, 1234.5, 1000000]" in text


@pytest.mark.parametrize(("value", "rounded"), [(0.04749, 0.047), (40499, 40000), (7, 7)])
def test_two_digits(value: float, rounded: float) -> None:
    assert two_digits(value) == rounded

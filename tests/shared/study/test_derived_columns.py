"""What a study may compute, and the line that says what is wrong with it."""

from typing import Any

import pytest
from pydantic import ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

HEAD = """
name = "t"
purpose = "p"
records = { unit = "unit", label = "label", units = 10, prevalence = 0.5 }
privacy = { epsilon = 1, delta = 1e-5 }
"""
READ = '\n[[features]]\nname = "out"\nkind = "numeric"\nlower = 0\nupper = 9\n'


def computing(formula: str, more: str = "", name: str = "x") -> str:
    head = f'\n[[features]]\nname = "{name}"\nkind = "numeric"\nlower = 0\nupper = 9\n'
    return f"{HEAD}{more}{head}derived = {formula}\n"


def mistakes(text: str) -> list[str]:
    with pytest.raises(StudyError) as caught:
        parse_study(text)
    return list(caught.value.problems)


GROUPED = '\n[evaluation]\ngroups = [{ column = "Region", levels = ["n"] }]\n'
PLACE = "features.0.derived"
DISTANCE = (
    '{{ formula = "distance", latitude = "a", longitude = "b", other_latitude = "{}", '
    'other_longitude = "d" }}'
)
COMPUTED = (
    "expected columns of the records, found '{name}', which is computed itself: write the formula "
    "over what it is computed from"
)
KEPT = (
    "expected columns of numbers or times, found '{name}', which is the unit, the label or what "
    "the model reads"
)
MISTAKES = [
    ('{ formula = "ratio", of = "a" }', f"{PLACE}.to: expected a value, found none"),
    ('{ of = "a" }', f"{PLACE}.formula: expected a value, found none"),
    (
        '{ formula = "sum", of = "a" }',
        f"{PLACE}.formula: expected 'elapsed', 'age', 'log', 'ratio', 'distance', found 'sum'",
    ),
    (
        '{ formula = "elapsed", start = "a", end = "b", unit = "weeks" }',
        f"{PLACE}.unit: expected 'days' or 'hours', found 'weeks'",
    ),
    ('{ formula = "log", of = 3 }', f"{PLACE}.of: expected a valid string, found 3"),
    ('{ formula = "age", since = "a" }', f"{PLACE}.on: expected a value, found none"),
    (
        '{ formula = "log", of = "a", by = "clock" }',
        f"{PLACE}.by: expected no such key; remove it or correct its spelling",
    ),
    (
        '{ formula = "ratio", of = "a", to = "A" }',
        f"{PLACE}: expected different columns, found a, A",
    ),
    (
        '{ formula = "log", of = "x" }',
        f"{PLACE}: {COMPUTED.format(name='x')}",
    ),
    *(
        (
            f'{{ formula = "log", of = "{name}" }}',
            f"{PLACE}: {KEPT.format(name=name)}",
        )
        for name in ("unit", "label", "Label")
    ),
]


@pytest.mark.parametrize(("formula", "line"), MISTAKES)
def test_a_mistake_is_one_line(formula: str, line: str) -> None:
    assert mistakes(computing(formula)) == [line]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("age", "harm rule 4"),
        ("date_of_birth", "harm rule 4"),
        ("Nationality", "harm rule 4"),
        ("zip", "harm rule 4"),
        ("R20_linked", "a linked one"),
        ("R20_Linked ", "a linked one"),
    ],
)
@pytest.mark.parametrize(
    "formula",
    [
        '{{ formula = "log", of = "{}" }}',
        '{{ formula = "ratio", of = "a", to = "{}" }}',
        '{{ formula = "ratio", of = "{}", to = "a" }}',
        '{{ formula = "elapsed", start = "{}", end = "b" }}',
        '{{ formula = "age", since = "{}", on = "b" }}',
        DISTANCE,
    ],
)
def test_harm_rule_4_and_linked_columns_hold_for_every_source(
    formula: str, name: str, rule: str
) -> None:
    (line,) = mistakes(computing(formula.format(name)))
    assert line.startswith(f"{PLACE}: expected a feature")
    assert rule in line
    assert repr(name) in line


def test_the_name_of_what_is_computed_is_looked_at_too() -> None:
    (line,) = mistakes(computing('{ formula = "log", of = "a" }', name="age"))
    assert "harm rule 4" in line


def test_nothing_is_computed_from_what_is_computed() -> None:
    second = 'derived = { formula = "log", of = "X" }\n'
    text = computing('{ formula = "log", of = "out" }', READ) + READ.replace("out", "y") + second
    (line,) = mistakes(text)
    assert line.startswith("features.2.derived: expected columns of the records, found 'X'")


def test_a_group_is_no_source() -> None:
    (line,) = mistakes(computing('{ formula = "log", of = "region" }') + GROUPED)
    assert line.startswith("evaluation.groups.0.column: expected a column that is read for nothing")


def test_a_tag_is_that_of_its_sources() -> None:
    peer = READ + 'tag = "peer"\n'
    formula = '{ formula = "ratio", of = "a", to = "out" }'
    assert mistakes(computing(formula, peer)) == [
        'features.1.tag: expected "peer" as that of its source \'out\', found "own"'
    ]
    assert parse_study(computing(formula, peer) + 'tag = "peer"\n').computed

    asked = peer.replace("[[features]]", "[[columns]]")
    cased = formula.replace('"out"', '"Out"')
    assert mistakes(computing(cased) + asked)[0] == (
        'features.0.tag: expected "peer" as that of its source \'Out\', found "own"'
    )


def test_a_model_of_texts_computes_nothing_from_its_text() -> None:
    data: dict[str, Any] = {
        "name": "t",
        "purpose": "p",
        "records": {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5},
        "columns": [{"name": "x", "kind": "numeric", "lower": 0, "upper": 1,
                     "derived": {"formula": "log", "of": "memo"}}],
        "queries": [{"name": "q", "kind": "count"}],
        "model": {"kind": "text", "column": "memo"},
        "privacy": {"epsilon": 1, "delta": 1e-5, "clipping_norm": 1.0},
    }  # fmt: skip
    with pytest.raises(ValidationError, match=r"columns\.0\.derived: .* 'memo'"):
        Study.model_validate(data)


def test_the_id_says_the_formula_and_stays_where_there_is_none() -> None:
    plain = parse_study(HEAD + READ)
    assert b"derived" not in plain.canonical()
    ids = {
        parse_study(computing(f'{{ formula = "ratio", of = "{of}", to = "{to}" }}')).id
        for of, to in (("a", "b"), ("b", "a"), ("a", "c"))
    }
    assert len(ids | {plain.id}) == 4
    hours = computing('{ formula = "elapsed", start = "a", end = "b", unit = "hours" }')
    assert parse_study(hours).id != parse_study(hours.replace("hours", "days")).id
    # A default is filled in: said or not, it is the same study.
    assert parse_study(hours.replace("hours", "days")).id == parse_study(
        hours.replace(', unit = "hours"', "")
    ).id  # fmt: skip

"""One curve for each level of a column: the same weights as one curve, at other places."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldfare.shared.errors import StudyError
from fieldfare.shared.features.basis import (
    Basis,
    EncodedUnits,
    encode_by,
    encode_numeric,
    fold_matrix,
    table_size,
)
from fieldfare.shared.features.features import (
    MAX_CURVES,
    NumericFeature,
    columns_behind,
    computed_words,
)
from fieldfare.shared.models.additive import AdditiveModel
from fieldfare.shared.study.file import parse_study
from fieldfare.shared.study.study import Study

PLAIN: dict[str, Any] = {
    "kind": "numeric", "name": "amount", "lower": 0, "upper": 9, "knots": [0, 3, 9], "special": [0],
}  # fmt: skip
BY = {**PLAIN, "by": "account_type", "levels": ["personal", "business"]}
ONE, MANY = NumericFeature.model_validate(PLAIN), NumericFeature.model_validate(BY)
C = 0.25
GRID = 2**28

UNITS = st.lists(
    st.tuples(st.one_of(st.just(np.nan), st.floats(-1, 10)), st.integers(-1, 3), st.integers(0, 1)),
    min_size=1,
    max_size=30,
)


def encoded(rows: list[tuple[float, int, int]], feature: NumericFeature) -> EncodedUnits:
    values, codes, labels = (np.array(column) for column in zip(*rows, strict=True))
    positions = encode_numeric(feature, values.astype(np.float64))
    if feature.by is not None:
        positions = encode_by(feature, positions, codes)
    return EncodedUnits(positions[None, :], labels.astype(np.uint8))


def test_slots_follow_each_other_by_level() -> None:
    assert ONE.curve_names == ONE.slot_names == ("at 0", "at 3", "at 9", "= 0", "missing")
    assert MANY.curves == ("personal", "business", "other", "missing")
    assert MANY.slots == 4 * ONE.slots
    assert MANY.slot_names[:2] == ("personal: at 0", "personal: at 3")
    assert MANY.slot_names[-1] == "missing: missing"
    assert table_size(MANY) == 4 * table_size(ONE)
    fold, one = fold_matrix(MANY), fold_matrix(ONE)
    assert (fold[: len(one), :5] == one).all()
    assert (fold[-len(one) :, -5:] == one).all()
    assert fold.sum() == 4 * one.sum()


def test_a_level_chooses_the_curve() -> None:
    positions = np.array([7, 7, 7, 7, 7], np.uint16)
    codes = np.array([0, 1, 2, 99, -1])
    size = table_size(ONE)
    expected = [7, size + 7, 2 * size + 7, 2 * size + 7, 3 * size + 7]
    assert encode_by(MANY, positions, codes).tolist() == expected


def test_the_largest_feature_fits_positions() -> None:
    levels = [f"l{index}" for index in range(MAX_CURVES)]
    knots, special = list(range(12)), list(range(8))
    widest = NumericFeature.model_validate(
        BY | {"upper": 11, "knots": knots, "special": special, "levels": levels}
    )
    assert table_size(widest) <= 2**16
    last = np.array([table_size(widest) // len(widest.curves) - 1], np.uint16)
    assert int(encode_by(widest, last, np.array([-1]))[0]) == table_size(widest) - 1


@settings(max_examples=30)
@given(rows=UNITS, seed=st.integers(0, 99))
def test_one_unit_moves_a_sum_by_at_most_c_and_as_far_as_without_levels(
    rows: list[tuple[float, int, int]], seed: int
) -> None:
    """The unit's vector is the plain one's at other places, for any parameters of equal curves."""
    plain, many = AdditiveModel((ONE,), C), AdditiveModel((MANY,), C)
    random = np.random.default_rng(seed)
    found = random.normal(0, 3, 1 + ONE.slots)
    repeated = np.concatenate([found[:1], np.tile(found[1:], 4)])
    for start in range(len(rows)):
        one = encoded(rows[start : start + 1], ONE), encoded(rows[start : start + 1], MANY)
        before = plain.prepare(one[0]).gradient_sum(found)
        after = many.prepare(one[1]).gradient_sum(repeated)
        assert int((before.astype(object) ** 2).sum()) == int((after.astype(object) ** 2).sum())
        assert before[0] == after[0]
        assert (after[1:].reshape(4, -1).sum(axis=0) == before[1:]).all()
    wild = random.normal(0, 9, 1 + MANY.slots)
    whole = many.prepare(encoded(rows, MANY)).gradient_sum(wild)
    for left in range(len(rows)):
        rest = [row for index, row in enumerate(rows) if index != left]
        less = many.prepare(encoded(rest, MANY)).gradient_sum(wild) if rest else 0
        moved = int(((whole - less).astype(object) ** 2).sum())
        assert moved <= int(C * GRID) ** 2


@given(rows=UNITS)
def test_a_score_is_its_own_levels(rows: list[tuple[float, int, int]]) -> None:
    basis = Basis((MANY,))
    parameters = np.concatenate([[0.5], np.repeat([1.0, 2.0, 3.0, 4.0], ONE.slots)])
    scores = basis.scores(parameters, encoded(rows, MANY).positions)
    curve = [4.0 if code < 0 else min(code, 2) + 1.0 for _, code, _ in rows]
    assert scores.tolist() == [0.5 + one for one in curve]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": []}, "levels: expected beside by"),
        ({"by": None}, "levels: expected beside by"),
        ({"levels": ["a", "a"]}, "expected different levels"),
        ({"levels": [" a"]}, "without spaces"),
        ({"levels": [""]}, "without spaces"),
        ({"levels": [str(index) for index in range(9)]}, "at most 8"),
        ({"by": "gender"}, "harm rule 4"),
        ({"by": "R20_linked"}, "a linked one"),
        ({"by": "amount"}, "expected another column"),
        ({"knots": [], "knots_from": "q"}, "expected no knots_from"),
        ({"derived": {"formula": "log", "of": "account_type"}}, "expected another column"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        NumericFeature.model_validate(BY | changes)


def study(*features: dict[str, Any], **changes: Any) -> Study:
    data: dict[str, Any] = {
        "name": "t",
        "purpose": "p",
        "records": {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5},
        "features": list(features),
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }
    return Study.model_validate(data | changes)


@pytest.mark.parametrize("name", ["unit", "Label"])
def test_neither_unit_nor_label_has_curves(name: str) -> None:
    with pytest.raises(ValidationError, match=f"features.0.by: .* found '{name}'"):
        study(BY | {"by": name})


def test_a_computed_column_a_group_a_network_and_a_question_have_none() -> None:
    log = {**PLAIN, "name": "x", "derived": {"formula": "log", "of": "a"}}
    with pytest.raises(ValidationError, match=r"features\.0\.by: .* computed itself"):
        study(BY | {"by": "x"}, log)
    groups = {"groups": [{"column": "Account_Type", "levels": ["a"]}]}
    with pytest.raises(ValidationError, match="read for nothing else"):
        study(BY, evaluation=groups)
    with pytest.raises(ValidationError, match=r"features\.0\.by: expected only in features"):
        study(BY, model={"kind": "mlp"}, privacy={"epsilon": 1, "delta": 1e-5, "clipping_norm": 1})
    asked = {"queries": [{"name": "q", "kind": "count"}], "columns": [BY | {"name": "y"}]}
    with pytest.raises(ValidationError, match=r"columns\.0\.by: expected only in features"):
        study(PLAIN, **asked)
    peer = {"kind": "categorical", "name": "account_type", "levels": ["a"], "tag": "peer"}
    with pytest.raises(ValidationError, match=r"features\.0\.tag: expected \"peer\""):
        study(BY, peer)


def test_the_id_says_it_and_stays_where_it_is_not_said() -> None:
    plain, by = study(PLAIN), study(BY)
    assert b"levels" not in plain.canonical()
    assert plain.id != by.id != study(BY | {"levels": ["business", "personal"]}).id
    assert Study.model_validate_json(by.canonical()) == by
    assert columns_behind(by.features) == ("amount", "account_type")
    assert computed_words(MANY) == "a curve for each level of account_type"
    assert by.computed == (("amount", "a curve for each level of account_type"),)


def test_a_missing_level_is_one_line() -> None:
    text = (
        'name = "t"\npurpose = "p"\n'
        'records = { unit = "u", label = "l", units = 10, prevalence = 0.5 }\n'
        "privacy = { epsilon = 1, delta = 1e-5 }\n"
        '[[features]]\nname = "x"\nkind = "numeric"\nlower = 0\nupper = 1\nby = "kind"\n'
    )
    with pytest.raises(StudyError) as caught:
        parse_study(text)
    assert list(caught.value.problems) == [
        "features.0: levels: expected beside by, and nowhere else, found one of them"
    ]

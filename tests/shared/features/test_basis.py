from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fieldfare.shared.features.basis import (
    WEIGHT_STEPS,
    Basis,
    EncodedUnits,
    concatenate,
    encode_categorical,
    encode_numeric,
    fold_matrix,
    table_size,
)
from fieldfare.shared.features.features import CategoricalFeature, Feature, NumericFeature, Scale
from fieldfare.shared.features.knots import PLACES

NAN = float("nan")


def numeric(**changes: Any) -> NumericFeature:
    return NumericFeature.model_validate(
        {"kind": "numeric", "name": "f", "lower": 0, "upper": 100, **changes}
    )


PLAIN = numeric(knots=[0, 1, 10, 100])
INSIDE = numeric(lower=-5, knots=[0, 1, 10, 90], special=[-5, 10, 1e9])
SKEWED = numeric(upper=1e6, scale="log1p", knots=[0, 3, 50, 1e6], special=[0])
CHANNEL = CategoricalFeature(kind="categorical", name="c", levels=("a", "b", "c"))
NUMERIC = [PLAIN, INSIDE, SKEWED, numeric()]
FEATURES: list[Feature] = [*NUMERIC, CHANNEL]

several = st.lists(
    st.one_of(
        st.floats(-20, 120),
        st.floats(allow_nan=True, allow_infinity=False),
        st.sampled_from([NAN, 0.0, -0.0, -5.0, 1.0, 10.0, 90.0, 100.0, 1e6, 1e9]),
    ),
    min_size=1,
    max_size=60,
)


def scaled(feature: NumericFeature, value: float) -> Fraction:
    """The value on the feature's scale, to fifty digits."""
    if feature.scale is Scale.LINEAR:
        return Fraction(value)
    with localcontext() as context:
        context.prec = 50
        return Fraction((1 + Decimal(value)).ln())


def exact_place(feature: NumericFeature, value: float) -> Fraction:
    """Where a value stands between its knots, in steps of 2^-8 of a gap, exactly."""
    inside = min(max(value, feature.lower), feature.upper)
    inside = min(max(inside, feature.knots[0]), feature.knots[-1])
    knots = [scaled(feature, knot) for knot in feature.knots]
    x = scaled(feature, inside)
    left = max(i for i in range(len(knots) - 1) if knots[i] <= x)
    return 256 * (left + (x - knots[left]) / (knots[left + 1] - knots[left]))


@pytest.mark.parametrize("feature", NUMERIC, ids=lambda f: f"{f.scale.value}-{len(f.knots)}")
@settings(deadline=None, max_examples=150)
@given(values=several)
def test_positions_against_exact_arithmetic(feature: NumericFeature, values: list[float]) -> None:
    hats = (len(feature.knots) - 1) * WEIGHT_STEPS + 1
    for value, position in zip(values, encode_numeric(feature, np.array(values)), strict=True):
        if value != value:  # noqa: PLR0124 -- NaN
            assert position == hats + len(feature.special)
        elif value in feature.special:
            assert position == hats + feature.special.index(value)
        else:
            distance = abs(int(position) - exact_place(feature, value))
            assert distance <= Fraction(1, 2) + Fraction(1, 10**9)


def test_knots_stand_on_whole_multiples_and_outside_is_clamped() -> None:
    on_knots = encode_numeric(PLAIN, np.array([0, 1, 10, 100.0]))
    assert on_knots.tolist() == [0, 256, 512, 768]
    assert on_knots.dtype == np.uint16
    outside = encode_numeric(INSIDE, np.array([-1e300, -1.0, 95.0, 1e300]))
    assert outside.tolist() == [0, 0, 768, 768]


def test_special_values_are_told_apart_before_clamping() -> None:
    assert encode_numeric(INSIDE, np.array([-5, 10, 1e9, NAN])).tolist() == [769, 770, 771, 772]
    assert encode_numeric(SKEWED, np.array([-0.0])).tolist() == [769]


def test_extreme_declarations_encode_within_their_table() -> None:
    for lower, upper in [(-1e300, 1e300), (0, 1e-290), (1e15, 1e15 + 2**11)]:
        feature = numeric(lower=lower, upper=upper, knots=[lower, upper])
        values = np.array([lower, upper, (lower + upper) / 2, -1.7e308, 1.7e308, NAN])
        assert encode_numeric(feature, values).tolist() == [0, 256, 128, 0, 256, 257]


def test_no_units_have_no_positions() -> None:
    assert encode_numeric(SKEWED, np.zeros(0)).shape == (0,)
    assert encode_categorical(CHANNEL, np.zeros(0, dtype=np.int64)).shape == (0,)


@pytest.mark.parametrize("feature", NUMERIC, ids=lambda f: f"{f.scale.value}-{len(f.knots)}")
@settings(deadline=None, max_examples=100)
@given(data=st.data(), values=several)
def test_a_position_depends_on_its_own_value_only(
    feature: NumericFeature, data: st.DataObject, values: list[float]
) -> None:
    array = np.array(values)
    alone = [int(encode_numeric(feature, np.array([value]))[0]) for value in values]
    assert encode_numeric(feature, array).tolist() == alone

    order = data.draw(st.permutations(range(len(values))))
    assert encode_numeric(feature, array[order]).tolist() == [alone[i] for i in order]

    gone = data.draw(st.integers(0, len(values) - 1))
    rest = encode_numeric(feature, np.delete(array, gone)).tolist()
    assert rest == alone[:gone] + alone[gone + 1 :]

    cut = data.draw(st.integers(0, len(values)))
    parts = [encode_numeric(feature, part) for part in (array[:cut], array[cut:])]
    assert np.concatenate(parts).tolist() == alone

    spread = np.zeros(3 * len(values) + 1)
    spread[1::3] = array
    assert encode_numeric(feature, spread[1::3]).tolist() == alone


def test_every_lane_of_a_vector_unit_encodes_alike() -> None:
    rng = np.random.default_rng(7)
    values = np.exp(rng.normal(3, 4, 4096))
    whole = encode_numeric(SKEWED, values)
    for shift in range(1, 33):
        assert (encode_numeric(SKEWED, values[shift:]) == whole[shift:]).all()
        assert (encode_numeric(SKEWED, values[:-shift]) == whole[:-shift]).all()


def test_categories_have_a_slot_each_for_other_and_missing() -> None:
    codes = np.array([0, 1, 2, -1, 3, 99, -2, 2**62], dtype=np.int64)
    assert encode_categorical(CHANNEL, codes).tolist() == [0, 1, 2, 4, 3, 3, 3, 3]


def slot_weights(feature: Feature, position: int) -> dict[int, int]:
    """A position's slot weights in units of 2^-8, from the definition."""
    hats = 0 if isinstance(feature, CategoricalFeature) else len(feature.knots)
    last = (hats - 1) * WEIGHT_STEPS
    if hats == 0 or position > last:
        return {position - last - 1 + hats if hats else position: 256}
    left, part = divmod(position, 256)
    return {left: 256} if part == 0 else {left: 256 - part, left + 1: part}


@pytest.mark.parametrize("feature", FEATURES, ids=range(5))
def test_folds_are_a_partition_of_unity_on_the_grid(feature: Feature) -> None:
    fold = fold_matrix(feature)
    assert fold.dtype == np.int64
    assert fold.shape == (table_size(feature), feature.slots)
    assert (fold >= 0).all()
    assert (fold.sum(axis=1) == WEIGHT_STEPS).all()
    assert (np.count_nonzero(fold, axis=1) <= 2).all()
    for position in range(len(fold)):
        expected = slot_weights(feature, position)
        assert {int(i): int(fold[position, i]) for i in np.flatnonzero(fold[position])} == expected


def test_hats_interpolate_the_value_itself() -> None:
    # A partition of unity could still put the weights on the wrong side.
    values = np.linspace(0, 100, 997)
    weights = fold_matrix(PLAIN)[encode_numeric(PLAIN, values)] / WEIGHT_STEPS
    back = weights[:, : len(PLAIN.knots)] @ np.array(PLAIN.knots)
    assert np.abs(back - values).max() <= 90 / 512 + 1e-9  # half a step of the widest gap


def random_units(features: list[Feature], units: int, seed: int) -> EncodedUnits:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, table_size(f), units, dtype=np.uint16) for f in features]
    return EncodedUnits(np.stack(columns), rng.integers(0, 2, units, dtype=np.uint8))


def test_layout_norms_and_tables_follow_the_definition() -> None:
    basis = Basis(tuple(FEATURES))
    assert basis.offsets[0] == 1
    assert basis.entries == 1 + sum(feature.slots for feature in FEATURES)
    assert [s.stop - s.start for s in basis.slices()] == [f.slots for f in FEATURES]
    assert basis.slices()[-1].stop == basis.entries

    parameters = np.random.default_rng(1).normal(0, 3, basis.entries)
    tables = basis.tables(parameters)
    for index, feature in enumerate(FEATURES):
        for position in range(0, table_size(feature), 7):
            weights = slot_weights(feature, position)
            assert basis.norms[index][position] == sum(w * w for w in weights.values())
            exact = sum(
                Fraction(w, 256) * Fraction(float(parameters[basis.offsets[index] + slot]))
                for slot, w in weights.items()
            )
            assert tables[index][position] == pytest.approx(float(exact), rel=1e-12, abs=1e-12)


def test_scores_are_bias_plus_tables_and_elementwise() -> None:
    basis, data = Basis(tuple(FEATURES)), random_units(FEATURES, 300, 2)
    parameters = np.random.default_rng(3).normal(0, 3, basis.entries)
    tables = basis.tables(parameters)
    expected = []
    for unit in range(len(data)):
        score = float(parameters[0])
        for table, position in zip(tables, data.positions[:, unit], strict=True):
            score += float(table[position])
        expected.append(score)
    scores = basis.scores(parameters, data.positions)
    assert scores.tolist() == expected
    for part in (slice(1, None), slice(None, -5), slice(7, 8), slice(None, None, -1)):
        assert basis.scores(parameters, data.positions[:, part]).tolist() == expected[part]


def columns(data: EncodedUnits) -> list[tuple[list[int], int]]:
    rows: NDArray[np.uint16] = data.positions.T
    return list(zip(rows.tolist(), data.labels.tolist(), strict=True))


def test_selecting_and_joining_keep_units_whole_and_in_order() -> None:
    data = random_units(FEATURES, 50, 4)
    mask = np.random.default_rng(5).random(50) < 0.3
    chosen, others = data.select(mask), data.select(~mask)
    assert columns(chosen) == [c for c, m in zip(columns(data), mask, strict=True) if m]
    assert chosen.positions.flags.c_contiguous
    joined = concatenate([chosen, others])
    assert columns(joined) == columns(chosen) + columns(others)
    assert len(joined) == 50
    assert len(data.select(np.zeros(50, dtype=np.bool_))) == 0


# -- knots that were asked for -----------------------------------------------------------------

ASKED = NumericFeature(
    name="asked", kind="numeric", lower=0, upper=100, special=(0.0,), knots_from="spread",
    quantile_knots=2, even_knots=2,
)  # fmt: skip


def test_an_asked_feature_is_encoded_on_a_grid_that_no_answer_changes() -> None:
    values = np.array([-5.0, 0.0, 1e-9, 25.0, 50.0, 100.0, 900.0, np.nan])
    found = encode_numeric(ASKED, values).tolist()
    assert found == [0, PLACES + 1, 0, 1024, 2048, PLACES, PLACES, PLACES + 2]
    assert table_size(ASKED) == PLACES + 3


@pytest.mark.parametrize("places", [(0, 1, 2, PLACES), (7, 512, 513, 3000), (0, 1365, 2731, 4096)])
def test_hats_between_asked_knots_add_up_to_one(places: tuple[int, ...]) -> None:
    fold = fold_matrix(ASKED, places)
    assert (fold.sum(axis=1) == WEIGHT_STEPS).all()
    assert (fold >= 0).all()
    for slot, place in enumerate(places):
        assert fold[place, slot] == WEIGHT_STEPS
    assert (fold[: places[0] + 1, 0] == WEIGHT_STEPS).all()
    assert (fold[places[-1] : PLACES + 1, 3] == WEIGHT_STEPS).all()
    assert (fold_matrix(ASKED) == fold_matrix(ASKED, (0, 1365, 2731, 4096))).all()


def test_a_basis_shows_the_knots_that_parameters_end_with() -> None:
    basis = Basis((ASKED,))
    parameters = np.concatenate([np.zeros(basis.entries), [0, 1024, 2048, 4096]])
    (shown,) = basis.shown_features(parameters)
    assert isinstance(shown, NumericFeature)
    assert shown.knots == (0, 25, 50, 100)
    assert basis.with_knots_in(parameters).with_knots_in(parameters).knots == (
        (0, 1024, 2048, 4096),
    )

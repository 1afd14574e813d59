"""Formulas against a slow exact oracle: fractions, and decimals of sixty digits."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fieldfare.shared.features.arithmetic import natural_log, sine
from fieldfare.shared.features.derived import (
    DAY,
    EARTH_KM,
    MICROSECONDS,
    DerivedColumn,
    Formula,
)
from fieldfare.shared.features.features import NumericFeature, columns_behind, computed_words

ANY: TypeAdapter[Formula] = TypeAdapter(DerivedColumn)
DIGITS = 60
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")
LAST = 2.0**-52
NAN, INF = math.nan, math.inf

ELAPSED = {"formula": "elapsed", "start": "a", "end": "b"}
HOURS = {**ELAPSED, "unit": "hours"}
AGE = {"formula": "age", "since": "a", "on": "b"}
LOG = {"formula": "log", "of": "a"}
RATIO = {"formula": "ratio", "of": "a", "to": "b"}
DISTANCE = {
    "formula": "distance", "latitude": "a", "longitude": "b", "other_latitude": "c",
    "other_longitude": "d",
}  # fmt: skip

# Years 1684 to 2255: microseconds are whole doubles, so that a difference is exact.
TIMES = st.integers(min_value=-(2**53), max_value=2**53)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def value(spec: dict[str, Any], *row: float) -> float:
    return float(ANY.validate_python(spec).values(*(np.array([one]) for one in row))[0])


def close(found: float, exact: Decimal, units: float) -> bool:
    error = abs(Decimal(found) - exact)
    return error <= abs(exact) * Decimal(units * LAST) + Decimal("5e-324")


def power_series(x: Decimal, first: int) -> Decimal:
    """Sine (first 1) or cosine (first 0) of an angle in radians."""
    term, total, n = x if first else Decimal(1), Decimal(0), first
    for _ in range(40):
        total += term
        n += 2
        term *= -x * x / (n * (n - 1))
    return total


def half_angle(square: Decimal) -> Decimal:
    """The arcsine of a square root, by the arctangent's series after six halvings."""
    ratio = square.sqrt() / (1 + (1 - square).sqrt())
    for _ in range(6):
        ratio = ratio / (1 + (1 + ratio * ratio).sqrt())
    total, power, n = Decimal(0), ratio, 1
    while abs(power) > Decimal(10) ** -DIGITS:
        total += power / n if n % 4 == 1 else -power / n
        power *= ratio * ratio
        n += 2
    return total * 2**7


def kilometres(row: tuple[float, float, float, float]) -> float:
    north, east, there, other = (Decimal(one) * PI / 180 for one in row)
    across, along = power_series((there - north) / 2, 1), power_series((other - east) / 2, 1)
    shrunk = power_series(north, 0) * power_series(there, 0)
    square = min(across * across + shrunk * along * along, Decimal(1))
    return float(2 * Decimal(EARTH_KM) * half_angle(square))


@given(start=TIMES, end=TIMES)
def test_an_elapsed_time_is_the_nearest_number_to_the_exact_one(start: int, end: int) -> None:
    for spec, unit in ((ELAPSED, "days"), (HOURS, "hours")):
        exact = Fraction(int(float(end)) - int(float(start)), int(MICROSECONDS[unit]))
        assert value(spec, start, end) == pytest.approx(float(exact), rel=LAST, abs=0)


@given(since=TIMES, on=TIMES)
def test_an_age_is_whole_days_between_dates_and_none_before(since: int, on: int) -> None:
    exact = on // int(DAY) - since // int(DAY)
    found = value(AGE, since, on)
    assert found == exact if exact >= 0 else math.isnan(found)


@given(number=NUMBERS)
def test_a_logarithm_is_within_two_last_places(number: float) -> None:
    found = value(LOG, number)
    if number <= 0:
        assert math.isnan(found)
        return
    with localcontext() as context:
        context.prec = DIGITS
        assert close(found, Decimal(number).ln(), 2)


@pytest.mark.parametrize("step", [-3, -2, -1, 0, 1, 2, 3])
def test_a_logarithm_near_one_is_as_good(step: int) -> None:
    number = 1 + step * LAST
    with localcontext() as context:
        context.prec = DIGITS
        assert close(value(LOG, number), Decimal(number).ln(), 2)


@given(of=NUMBERS, to=NUMBERS)
def test_a_ratio_is_the_nearest_number_to_the_exact_one(of: float, to: float) -> None:
    found = value(RATIO, of, to)
    if to == 0:
        assert math.isnan(found)
        return
    try:
        assert found == float(Fraction(of) / Fraction(to))
    except OverflowError:
        assert math.isnan(found)


@given(
    row=st.tuples(
        st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180)
    )
)
def test_a_distance_is_within_a_millimetre_or_near_an_antipode_a_kilometre(
    row: tuple[float, float, float, float],
) -> None:
    with localcontext() as context:
        context.prec = DIGITS
        exact = kilometres(row)
    near = exact < 0.99 * math.pi * EARTH_KM
    assert value(DISTANCE, *row) == pytest.approx(exact, abs=1e-6 if near else 1.0)
    assert value(DISTANCE, *row[2:], *row[:2]) == pytest.approx(exact, abs=1e-6 if near else 1.0)


@given(degrees=st.floats(-90, 90))
def test_a_sine_is_within_four_last_places(degrees: float) -> None:
    with localcontext() as context:
        context.prec = DIGITS
        exact = power_series(Decimal(degrees) * PI / 180, 1)
        assert close(float(sine(np.array([degrees]))[0]), exact, 4)


EDGES: list[tuple[dict[str, Any], tuple[float, ...], float]] = [
    (ELAPSED, (NAN, 0.0), NAN),
    (ELAPSED, (0.0, NAN), NAN),
    (ELAPSED, (0.0, DAY), 1.0),
    (ELAPSED, (DAY, 0.0), -1.0),  # the other order: negative
    (HOURS, (0.0, DAY), 24.0),
    (ELAPSED, (-INF, 0.0), NAN),
    (ELAPSED, (-1.7e308, 1.7e308), NAN),
    (AGE, (NAN, 0.0), NAN),
    (AGE, (0.0, 1.5 * DAY), 1.0),
    (AGE, (DAY - 1, DAY), 1.0),  # the day before
    (AGE, (DAY, DAY + 1), 0.0),
    (AGE, (DAY, DAY - 1), NAN),  # not opened yet
    (AGE, (-1.0, 0.0), 1.0),
    (LOG, (NAN,), NAN),
    (LOG, (0.0,), NAN),
    (LOG, (-0.0,), NAN),
    (LOG, (-1.0,), NAN),
    (LOG, (INF,), NAN),
    (LOG, (1.0,), 0.0),
    (LOG, (5e-324,), -744.4400719213812),
    (LOG, (1.7976931348623157e308,), 709.782712893384),
    (RATIO, (1.0, 0.0), NAN),
    (RATIO, (0.0, 0.0), NAN),
    (RATIO, (0.0, -3.0), 0.0),
    (RATIO, (1e300, 1e-300), NAN),
    (RATIO, (1e-300, 1e300), 0.0),
    (RATIO, (INF, 2.0), NAN),
    (RATIO, (2.0, INF), NAN),
    (RATIO, (NAN, 2.0), NAN),
    (DISTANCE, (0.0, 0.0, 0.0, 0.0), 0.0),
    (DISTANCE, (0.0, -180.0, 0.0, 180.0), 0.0),
    (DISTANCE, (0.0, 190.0, 0.0, -170.0), 0.0),
    (DISTANCE, (90.0, 0.0, 90.0, 123.0), 0.0),
    (DISTANCE, (90.0, 0.0, -90.0, 0.0), math.pi * EARTH_KM),
    (DISTANCE, (90.1, 0.0, 0.0, 0.0), NAN),
    (DISTANCE, (0.0, 0.0, 0.0, 360.1), NAN),
    (DISTANCE, (0.0, NAN, 0.0, 0.0), NAN),
    (DISTANCE, (0.0, 0.0, INF, 0.0), NAN),
]


@pytest.mark.parametrize(("spec", "row", "expected"), EDGES)
def test_edges(spec: dict[str, Any], row: tuple[float, ...], expected: float) -> None:
    assert value(spec, *row) == pytest.approx(expected, rel=1e-15, abs=1e-9, nan_ok=True)


NO_COLUMNS = ("formula", "unit")
ALL = (ELAPSED, HOURS, AGE, LOG, RATIO, DISTANCE)
ODD = st.floats(allow_nan=True, allow_infinity=True)


@given(rows=st.lists(st.tuples(ODD, ODD, ODD, ODD), min_size=2, max_size=20))
def test_no_value_raises_and_no_unit_sees_another(
    rows: list[tuple[float, float, float, float]],
) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    for spec in ALL:
        formula = ANY.validate_python(spec)
        count = len(formula.sources)
        found = formula.values(*columns[:count])
        assert not np.isinf(found).any()
        alone = [value(spec, *row[:count]) for row in rows]
        assert found.tobytes() == np.array(alone).tobytes()


def test_the_same_bits_everywhere() -> None:
    """Recorded once: another machine's library must not give others."""
    numbers = np.array([1e-300, 1e-150, 0.1, 2.0, 1e300])
    assert [one.hex() for one in natural_log(numbers).tolist()] == LOGS
    row = (52.52, 13.405, 48.8566, 2.3522)
    assert value(DISTANCE, *row).hex() == BERLIN_PARIS
    assert [one.hex() for one in sine(np.array([1.0, 30.0, 89.0])).tolist()] == SINES


LOGS = [
    "-0x1.5963447f87fb5p+9",
    "-0x1.5963447f87fb5p+8",
    "-0x1.26bb1bbb55515p+1",
    "0x1.62e42fefa39efp-1",
    "0x1.5963447f87fb5p+9",
]
BERLIN_PARIS = "0x1.b6bb75fa86515p+9"
SINES = ["0x1.1df0b2b89dd1ep-6", "0x1.fffffffffffffp-2", "0x1.ffec097f5af8bp-1"]


def test_the_list_of_formulas_is_closed() -> None:
    names = {one.model_fields["formula"].annotation for one in get_args(Formula)}
    assert names == {Literal[spec["formula"]] for spec in ALL}
    with pytest.raises(ValidationError, match="formula"):
        ANY.validate_python({"formula": "now", "of": "a"})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ELAPSED, "days from a to b"),
        (HOURS, "hours from a to b"),
        (AGE, "whole days from a to b"),
        (LOG, "natural logarithm of a"),
        (RATIO, "a divided by b"),
        (DISTANCE, "kilometres from (a, b) to (c, d)"),
    ],
)
def test_a_formula_is_said_in_words_with_its_columns(spec: dict[str, Any], words: str) -> None:
    feature = NumericFeature.model_validate(
        {"kind": "numeric", "name": "x", "lower": 0, "upper": 1, "derived": spec}
    )
    assert computed_words(feature) == words
    assert set(columns_behind([feature])) == {v for k, v in spec.items() if k not in NO_COLUMNS}
    again = NumericFeature.model_validate_json(feature.model_dump_json())
    assert again == feature


def test_a_feature_that_is_read_says_nothing_of_formulas() -> None:
    feature = NumericFeature.model_validate(
        {"kind": "numeric", "name": "x", "lower": 0, "upper": 1}
    )
    assert "derived" not in feature.model_dump()
    assert (columns_behind([feature]), computed_words(feature)) == (("x",), "")

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldfare.client.scoring.calibration import (
    LEAST_FOR_ISOTONIC,
    Calibration,
    Method,
    calibrate,
    calibration_error,
    or_released,
)
from fieldfare.shared.evaluation.score_map import Cut, ScoreMap

RELEASED = ScoreMap(2.0, -3.0, 0.6, 9000, 400, {Cut.F1: 1.0, Cut.BUDGET: 1.5})


def drawn(
    units: int, *, slope: float = 2.0, intercept: float = -3.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    random = np.random.default_rng(seed)
    scores = random.normal(size=units)
    chance = 1 / (1 + np.exp(-(slope * scores + intercept)))
    return scores, (random.uniform(size=units) < chance).astype(np.uint8)


def test_platt_finds_the_line_and_isotonic_the_curve() -> None:
    few = calibrate(*drawn(1500))
    assert few.method is Method.PLATT
    assert (abs(few.slope - 2) < 0.4, abs(few.intercept + 3) < 0.4) == (True, True)
    many = calibrate(*drawn(20_000))
    assert (many.method, many.positives >= LEAST_FOR_ISOTONIC) == (Method.ISOTONIC, True)
    scores, labels = drawn(20_000, seed=1)
    for fitted in (few, many):
        assert calibration_error(fitted.apply(scores), labels).expected < 0.02


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(100, np.uint8), "0 positive and 100 negative"),
        (np.repeat([0, 1], [100, 19]).astype(np.uint8), "19 positive"),
        (np.zeros(0, np.uint8), "0 positive and 0 negative"),
    ],
)
def test_too_few_labels_give_no_probability(labels: NDArray[np.uint8], said: str) -> None:
    found = calibrate(np.arange(len(labels), dtype=np.float64), labels)
    assert found.method is Method.NONE
    assert said in found.words
    assert np.isnan(found.apply(np.array([0.0, 9.0]))).all()


def test_a_model_that_ranks_the_wrong_way_round_gives_none() -> None:
    scores, labels = drawn(3000)
    found = calibrate(-scores, labels)
    assert found.method is Method.NONE
    assert "not more often positive" in found.words


def test_a_calibration_never_changes_who_is_before_whom_and_survives_json() -> None:
    for units in (1500, 20_000):
        fitted = Calibration.model_validate_json(calibrate(*drawn(units)).model_dump_json())
        found = fitted.apply(np.array([-1e9, *np.linspace(-4, 4, 200), 1e9]))
        assert (np.diff(found) >= 0).all()
        assert ((found >= 0) & (found <= 1)).all()


def test_errors_are_measured_against_what_happened() -> None:
    labels = np.array([0, 0, 1, 1], np.uint8)
    right = calibration_error(labels.astype(np.float64), labels)
    wrong = calibration_error((1 - labels).astype(np.float64), labels)
    assert (right.brier, right.expected, wrong.brier, wrong.expected) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("positives", "probability", "expected"),
    [
        (77, 0.999, (0.95, 1.0)),  # Wilson: 0.951 to 1.000
        (77, 0.5, (0.35, 0.65)),  # 0.391 to 0.609
        (77, 0.002, (0.0, 0.1)),  # 0 to 0.051
        (20, 0.5, (0.25, 0.75)),  # 0.299 to 0.701
        (20, 1.0, (0.8, 1.0)),  # 0.839 to 1
        (2000, 0.999, (0.99, 1.0)),  # 0.9964 to 0.9997
        (2000, 0.1, (0.08, 0.12)),  # 0.0876 to 0.1139
    ],
)
def test_a_probability_stands_for_an_interval_of_its_labels(
    positives: int, probability: float, expected: tuple[float, float]
) -> None:
    found = Calibration(method=Method.PLATT, positives=positives).between(probability)
    assert found == pytest.approx(expected)
    assert found[0] <= probability <= found[1]


def test_where_own_labels_are_too_few_the_released_calibration_speaks() -> None:
    none = calibrate(np.zeros(100), np.zeros(100, np.uint8))
    found = or_released(none, RELEASED)
    assert (found.method, found.positives) == (Method.RELEASED, 400)
    assert found.apply(np.array([1.5])).tolist() == [0.5]
    assert "federation's hold-outs" in found.words
    assert "0 positive" in found.words
    low, high = found.between(0.5)
    assert low <= 0.5 <= high
    assert high - low <= 0.15


def test_own_labels_come_before_what_was_released() -> None:
    own = calibrate(*drawn(1500))
    assert or_released(own, RELEASED) is own
    none = calibrate(np.zeros(10), np.zeros(10, np.uint8))
    assert or_released(none, None) is none

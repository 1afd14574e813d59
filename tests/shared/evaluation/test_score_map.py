"""Scores become probabilities, and a cut comes out, from what was released and nothing else."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.homes.institutions import home_study

from fieldfare.shared.evaluation.metrics import evaluate
from fieldfare.shared.evaluation.score_map import Cut, ScoreMap, log_odds, score_map
from fieldfare.shared.evaluation.score_table import bin_of, inner_edges
from fieldfare.shared.study.study import Study

UNITS = 40_000
SIGMA = 12.0


def point(predicted: float, observed: float, units: float = 1000.0) -> dict[str, float]:
    half = 1.96 * (observed * (1 - observed) / units) ** 0.5
    return {
        "predicted": predicted,
        "observed": observed,
        "low": observed - half,
        "high": observed + half,
        "units": units,
    }


def metrics(*points: dict[str, float], budget: float = 0.05) -> dict[str, Any]:
    units = sum(one["units"] for one in points)
    positives = sum(one["units"] * one["observed"] for one in points)
    return {
        "calibration": list(points),
        "alert_budget": budget,
        "units": {"value": units},
        "positives": {"value": positives},
    }


def found(*points: dict[str, float]) -> ScoreMap:
    made = score_map(metrics(*points))
    assert made is not None
    return made


def released(
    scale: float, shift: float, sigma: float = SIGMA, seed: int = 0
) -> tuple[Study, NDArray[np.float64], NDArray[np.bool_], dict[str, Any]]:
    """Return scores of which `scale` times and `shift` are true log-odds, and what was released."""
    random = np.random.default_rng(seed)
    study = home_study(evaluation={"score_bins": 20, "alert_budget": 0.05})
    scores = random.normal(-2.2, 1.0, UNITS)
    labels = random.random(UNITS) < 1 / (1 + np.exp(-(scale * scores + shift)))
    bins = bin_of(scores, inner_edges(study))
    size = study.evaluation.score_bins
    table = np.array([np.bincount(bins[labels == kind], minlength=size) for kind in (0, 1)])
    noisy = table.reshape(-1) + random.normal(0, sigma, 2 * size)
    said = evaluate(study, noisy, sigma, random)
    assert said is not None
    return study, scores, labels, said


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (2.0, 1.5), (0.6, -0.5), (3.0, 4.0)])
def test_scores_that_were_squeezed_become_probabilities_again(scale: float, shift: float) -> None:
    _, scores, labels, said = released(scale, shift)
    made = score_map(said)
    assert made is not None
    truth = 1 / (1 + np.exp(-(scale * scores + shift)))
    off = np.abs(made.probabilities(scores) - truth).mean()
    assert off < 0.03
    raw = np.abs(1 / (1 + np.exp(-scores)) - truth).mean()
    assert off < raw or raw < 0.03
    assert made.positives == pytest.approx(labels.sum(), rel=0.1)


@pytest.mark.parametrize("scale", [1.5, 3.0])
def test_the_cut_finds_nearly_the_best_f1_and_half_does_not(scale: float) -> None:
    _, scores, labels, said = released(scale, 2.5)
    made = score_map(said)
    assert made is not None

    def f1(line: float) -> float:
        above = scores >= line
        return 2 * int(labels[above].sum()) / (int(above.sum()) + int(labels.sum()))

    best = max(f1(line) for line in np.linspace(-5, 2, 200))
    assert f1(made.cuts[Cut.F1]) > best - 0.02
    assert f1(0.0) < best - 0.05


def test_the_cut_of_the_budget_leaves_about_its_share_above() -> None:
    study, scores, _, said = released(2.0, 1.5)
    made = score_map(said)
    assert made is not None
    share = float((scores >= made.cuts[Cut.BUDGET]).mean())
    assert share == pytest.approx(study.evaluation.alert_budget, rel=0.35)


def test_the_same_metrics_give_the_same_map() -> None:
    *_, said = released(2.0, 1.5)
    assert score_map(said) == score_map(said)
    made = score_map(said)
    assert made is not None
    assert all((cut * 1024) % 1 == 0 for cut in made.cuts.values())


def test_one_point_shifts_and_does_not_stretch() -> None:
    made = found(point(0.1, 0.3))
    assert made.slope == pytest.approx(1.0)
    assert made.meant_by(0.1) == pytest.approx(0.3, abs=1e-4)


def test_what_noise_blurs_counts_for_less() -> None:
    sure, blurred = point(0.3, 0.9), point(0.3, 0.9) | {"low": 0.2, "high": 1.0}
    low = point(0.05, 0.05)
    assert found(low, blurred).meant_by(0.3) < found(low, sure).meant_by(0.3)


@pytest.mark.parametrize(
    "said",
    [
        None,
        metrics(),
        metrics(point(0.1, 0.0)),
        metrics(point(0.1, 0.6, 50_000), point(0.6, 0.05, 50_000)),
        metrics(point(0.1, 0.3) | {"observed": 1e300, "high": 1e300}),
        metrics(point(0.1, 0.3) | {"units": 1e300}),
        metrics(point(0.1, 0.3) | {"units": -1.0}),
        metrics(point(0.1, 0.3)) | {"alert_budget": 0.0},
        metrics(point(0.1, 0.3)) | {"alert_budget": 1.0},
    ],
    ids=[
        "hidden",
        "no point",
        "nobody positive",
        "wrong way round",
        "rate",
        "many",
        "nobody",
        "no alert",
        "all alerts",
    ],
)
def test_where_nothing_can_be_said_nothing_is(said: dict[str, Any] | None) -> None:
    assert score_map(said) is None


def test_rates_at_the_ends_break_nothing() -> None:
    made = found(point(0.0, 0.0), point(1.0, 1.0))
    assert np.isfinite([made.slope, made.intercept, *made.cuts.values()]).all()
    assert made.probabilities(np.array([-1e9, 1e9])).tolist() == pytest.approx([0.0, 1.0])


def test_log_odds_of_rates_at_the_ends_are_finite() -> None:
    assert np.isfinite([log_odds(0.0), log_odds(1.0)]).all()


def test_it_says_what_half_means_and_where_to_cut() -> None:
    meaning, cuts = found(point(0.02, 0.01), point(0.3, 0.6)).lines
    assert "a score of .5" in meaning
    assert "best cut by F1" in cuts
    assert "alert budget" in cuts

"""Metrics from noisy counts: against exact ones, and intervals that hold what they say."""

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.support.federations.settings import make_study

from fieldfare.shared.evaluation.groups import Interval
from fieldfare.shared.evaluation.metrics import calibration, curve_metrics, evaluate
from fieldfare.shared.evaluation.score_table import inner_edges, prevalence_log_odds
from fieldfare.shared.privacy.samplers import SimulatedNoise
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds.evaluation import read_metrics
from fieldfare.shared.study.study import Study

Counts = NDArray[np.float64]
METRICS = ("auroc", "average_precision", "precision", "recall")
noisy_rows = arrays(
    np.float64, st.tuples(st.just(1), st.integers(1, 7)), elements=st.floats(-20, 60)
)


# -- curves ---------------------------------------------------------------------------------


def units(count: int, *, seed: int) -> tuple[NDArray[np.int64], Counts]:
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=count) < 0.2).astype(np.int64)
    return labels, random.normal(size=count) + 1.2 * labels


def binned(labels: NDArray[np.int64], scores: Counts, bins: int) -> tuple[Counts, Counts]:
    edges = np.linspace(scores.min(), scores.max(), bins + 1)[1:-1]
    cells = np.searchsorted(edges, scores, side="right")
    table = [np.bincount(cells[labels == c], minlength=bins).astype(np.float64) for c in (0, 1)]
    return table[0][None], table[1][None]


def test_fine_bins_give_what_scikit_learn_gives() -> None:
    labels, scores = units(4000, seed=1)
    negatives, positives = binned(labels, scores, 200_000)
    auroc, average, precision, recall = curve_metrics(negatives, positives, 0.1)[0]
    assert auroc == pytest.approx(roc_auc_score(labels, scores), abs=1e-5)
    assert average == pytest.approx(average_precision_score(labels, scores), abs=2e-3)
    reviewed = np.argsort(-scores)[:400]
    assert precision == pytest.approx(labels[reviewed].mean(), abs=1e-9)
    assert recall == pytest.approx(labels[reviewed].sum() / labels.sum(), abs=1e-9)


def test_bins_of_ties_give_the_auroc_of_scikit_learn_exactly() -> None:
    labels, scores = units(500, seed=2)
    tied = np.round(scores)
    negatives, positives = binned(labels, scores=tied, bins=int(np.ptp(tied)) + 1)
    auroc = curve_metrics(negatives, positives, 0.1)[0, 0]
    assert auroc == pytest.approx(roc_auc_score(labels, tied), abs=1e-12)


@pytest.mark.parametrize(
    ("negatives", "positives", "budget", "expected"),
    [
        ([4, 0], [0, 4], 0.5, (1.0, 1.0, 1.0, 1.0)),  # all positives above
        ([0, 4], [4, 0], 0.5, (0.0, None, 0.0, 0.0)),  # all below
        ([4, 4], [4, 4], 0.25, (0.5, 0.5, 0.5, 0.25)),  # no order
        ([8], [2], 0.5, (0.5, 0.2, 0.2, 0.5)),  # one bin: mixed evenly
        ([6, 2], [0, 2], 0.2, (0.875, 0.5, 0.5, 0.5)),  # half of the top bin is reviewed
        ([6, 2], [0, 2], 0.7, (0.875, 0.5, 2 / 7, 1.0)),  # beyond it
    ],
)
def test_small_tables_by_hand(
    negatives: list[float],
    positives: list[float],
    budget: float,
    expected: tuple[float | None, ...],
) -> None:
    found = curve_metrics(np.array([negatives], float), np.array([positives], float), budget)[0]
    for value, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert value == pytest.approx(wanted, abs=1e-12)


def test_a_missing_class_is_not_a_number_and_rows_do_not_meet() -> None:
    empty, some = [0.0, 0.0], [3.0, 1.0]
    negatives = np.array([empty, some, some, empty])
    positives = np.array([some, empty, some, empty])
    found = curve_metrics(negatives, positives, 0.3)
    assert np.isnan(found).all(axis=1).tolist() == [True, True, False, True]
    alone = curve_metrics(negatives[2:3], positives[2:3], 0.3)
    np.testing.assert_array_equal(found[2], alone[0])


# -- intervals ------------------------------------------------------------------------------


class World:
    """A population with known rates in every cell, and releases drawn from it."""

    def __init__(
        self,
        *,
        holdout: int,
        prevalence: float,
        sigma: float,
        negatives: list[tuple[float, float, float]],
        positives: list[tuple[float, float, float]],
        budget: float = 0.05,
        bins: int = 24,
    ) -> None:
        records = {"units": holdout * 5, "prevalence": prevalence}
        evaluation = {"holdout": 0.2, "score_bins": bins, "alert_budget": budget}
        self.study: Study = make_study(records=records, evaluation=evaluation)
        self.sigma, self.budget = sigma, budget
        edges = inner_edges(self.study) - prevalence_log_odds(self.study)
        ends = np.concatenate([[-np.inf], edges, [np.inf]])
        shares = [
            sum(w * np.diff(norm.cdf(ends, centre, spread)) for w, centre, spread in parts)
            for parts in (negatives, positives)
        ]
        self.rates = np.stack(
            [shares[0] * holdout * (1 - prevalence), shares[1] * holdout * prevalence]
        )

    def release(self, random: np.random.Generator) -> Counts:
        """Which units are held out is chance; then noise."""
        counts: Counts = random.poisson(self.rates).ravel().astype(np.float64)
        counts += random.normal(0.0, self.sigma, counts.size)
        return counts

    @property
    def truth(self) -> Counts:
        truth: Counts = curve_metrics(self.rates[:1], self.rates[1:], self.budget)[0]
        return truth


WORLDS = {
    "six banks, epsilon 1": World(
        holdout=8000,
        prevalence=0.047,
        sigma=12.0,
        negatives=[(1.0, -1.0, 1.0)],
        positives=[(0.65, 4.0, 1.2), (0.35, 0.0, 1.2)],
    ),
    "one crowd": World(
        holdout=8000,
        prevalence=0.05,
        sigma=12.0,
        negatives=[(1.0, -0.6, 1.1)],
        positives=[(1.0, 1.0, 1.1)],
    ),
    "many units": World(
        holdout=200_000,
        prevalence=0.01,
        sigma=12.0,
        negatives=[(1.0, -1.0, 1.2)],
        positives=[(1.0, 2.5, 1.5)],
        budget=0.01,
    ),
    "little noise": World(
        holdout=2000,
        prevalence=0.1,
        sigma=0.5,
        negatives=[(1.0, -1.0, 1.2)],
        positives=[(1.0, 1.5, 1.5)],
    ),
    "a model that knows nothing": World(
        holdout=8000,
        prevalence=0.05,
        sigma=12.0,
        negatives=[(1.0, -0.2, 0.6)],
        positives=[(1.0, -0.2, 0.6)],
    ),
}


@pytest.mark.promises
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name.startswith("six banks") else pytest.mark.promises)
        for name in WORLDS
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    """300 releases each; 95 % are promised, 90 to 99.5 % accepted, for every metric."""
    world, random = WORLDS[name], np.random.default_rng(7)
    held = np.zeros(len(METRICS))
    widths = np.zeros(len(METRICS))
    releases = 300
    for _ in range(releases):
        found = evaluate(world.study, world.release(random), world.sigma, random)
        assert found is not None
        for index, metric in enumerate(METRICS):
            low, high = found[metric]["low"], found[metric]["high"]
            assert 0.0 <= low <= found[metric]["value"] <= high <= 1.0
            held[index] += low <= world.truth[index] <= high
            widths[index] += high - low
    coverage = dict(zip(METRICS, held / releases, strict=True))
    assert all(0.90 <= share <= 0.995 for share in coverage.values()), coverage
    mean_widths = dict(zip(METRICS, widths / releases, strict=True))
    assert mean_widths["auroc"] < 0.3, mean_widths
    assert all(width < 0.5 for width in mean_widths.values()), mean_widths


@pytest.mark.parametrize(
    ("participants", "tolerance"), [(4, 2), pytest.param(6, 4, marks=pytest.mark.promises)]
)
def test_intervals_know_that_all_participants_added_a_share(
    participants: int, tolerance: int
) -> None:
    """The plan's sigma is what n - t shares make; where nobody colludes n are in the sum.

    300 releases each, with the noise that each participant draws: 93 to 97 % of the intervals
    hold the truth (of counts: what was counted); of one figure's 300, 90 to 99 %. With the plan's
    sigma 85 and 79 % would.
    """
    world, random = WORLDS["six banks, epsilon 1"], np.random.default_rng(1)
    privacy = {"epsilon": 1.0, "delta": 1e-5, "collusion_tolerance": tolerance}
    study = make_study(
        records={"units": 40_000, "prevalence": 0.047},
        evaluation={"holdout": 0.2, "score_bins": 24, "alert_budget": 0.05},
        privacy=privacy,
        aggregation={"minimum_institutions": participants},
    )
    plan, noise = plan_for(study), SimulatedNoise(random)
    share = plan.evaluation.share(participants, tolerance)
    names, held, releases = (*METRICS, "units", "positives"), np.zeros(6), 300
    for _ in range(releases):
        counts = random.poisson(world.rates).astype(np.float64)
        drawn = sum(noise.sample(counts.size, share) for _ in range(participants))
        found = read_metrics(
            plan, counts.ravel() + drawn * plan.evaluation.gamma, participants, np.zeros(1)
        )
        assert found is not None
        truths = (*world.truth, counts.sum(), counts[1].sum())
        held += [
            found[m]["low"] <= truth <= found[m]["high"]
            for m, truth in zip(names, truths, strict=True)
        ]
    coverage = dict(zip(names, held / releases, strict=True))
    assert 0.93 <= np.mean(list(coverage.values())) <= 0.97, coverage
    assert all(0.90 <= share <= 0.99 for share in coverage.values()), coverage


def test_less_noise_gives_narrower_intervals() -> None:
    world = WORLDS["one crowd"]
    table = world.rates.ravel()
    widths = []
    for sigma in (24.0, 12.0, 3.0):
        found = evaluate(world.study, table, sigma, np.random.default_rng(0))
        assert found is not None
        widths.append([found[metric]["high"] - found[metric]["low"] for metric in METRICS])
    assert np.all(np.diff(widths, axis=0) < 0)


def test_an_interval_holds_noise_even_where_there_are_many_units() -> None:
    """An interval of chance alone would be far too narrow: it must grow with sigma."""
    world = WORLDS["one crowd"]
    quiet = evaluate(world.study, world.rates.ravel(), 0.01, np.random.default_rng(0))
    loud = evaluate(world.study, world.rates.ravel(), 40.0, np.random.default_rng(0))
    assert quiet is not None
    assert loud is not None
    for metric in METRICS:
        narrow = quiet[metric]["high"] - quiet[metric]["low"]
        assert loud[metric]["high"] - loud[metric]["low"] > 1.5 * narrow


def test_counts_come_with_the_noise_of_the_cells_that_they_add_up() -> None:
    world, random = WORLDS["one crowd"], np.random.default_rng(3)
    inside = {"units": 0, "positives": 0}
    for _ in range(300):
        table = world.rates + random.normal(0.0, world.sigma, world.rates.shape)
        found = evaluate(world.study, table.ravel(), world.sigma, random)
        assert found is not None
        for name, truth in (("units", world.rates.sum()), ("positives", world.rates[1].sum())):
            inside[name] += found[name]["low"] <= truth <= found[name]["high"]
    assert all(0.91 * 300 <= count <= 0.985 * 300 for count in inside.values()), inside


def test_a_class_that_noise_has_hidden_leaves_nothing_to_measure() -> None:
    study = make_study(evaluation={"score_bins": 4})
    for table in (
        [5.0, 5.0, 5.0, 5.0, -1.0, 0.0, 0.0, 0.0],
        [-5.0, 0.0, 0.0, 1.0, 5.0, 5.0, 5.0, 5.0],
        [0.0] * 8,
    ):
        assert evaluate(study, np.array(table), 1.0, np.random.default_rng(0)) is None


def test_a_table_that_says_nothing_says_so() -> None:
    """Hardly any replicate has both classes: the interval is everything."""
    study = make_study(evaluation={"score_bins": 4})
    table = np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1])
    found = evaluate(study, table, 1e4, np.random.default_rng(0))
    assert found is not None
    assert (found["auroc"]["low"], found["auroc"]["high"]) == (0.0, 1.0)


def test_the_same_generator_gives_the_same_figures() -> None:
    world = WORLDS["one crowd"]
    table = world.release(np.random.default_rng(0))
    first, second = (
        evaluate(world.study, table, world.sigma, np.random.default_rng(5)) for _ in range(2)
    )
    assert first == second


def test_the_documented_keys() -> None:
    world = WORLDS["one crowd"]
    found = evaluate(world.study, world.rates.ravel(), 12.0, np.random.default_rng(0))
    assert found is not None
    assert set(found) == {*METRICS, "alert_budget", "units", "positives", "sigma", "calibration"}
    for name in (*METRICS, "units", "positives"):
        assert set(found[name]) == {"value", "low", "high"}
    for row in found["calibration"]:
        assert set(row) == {"predicted", "observed", "low", "high", "units"}
    assert Interval(1.0, 0.5, 1.5).as_dict() == {"value": 1.0, "low": 0.5, "high": 1.5}


# -- calibration ----------------------------------------------------------------------------


def test_calibration_points_rest_on_units_not_on_noise() -> None:
    world, random = WORLDS["six banks, epsilon 1"], np.random.default_rng(1)
    for _ in range(50):
        table = world.release(random).reshape(2, -1)
        rows = calibration(world.study, table, world.sigma)
        assert 3 <= len(rows) <= table.shape[1]
        predicted = [row["predicted"] for row in rows]
        assert predicted == sorted(predicted)
        for row in rows:
            assert row["units"] >= 3 * world.sigma
            assert 0.0 <= row["low"] <= row["observed"] <= row["high"] <= 1.0


def test_a_calibrated_model_is_found_to_be_calibrated() -> None:
    """Rates that follow the predicted probability lie in nearly all intervals; others do not."""
    world, random = WORLDS["six banks, epsilon 1"], np.random.default_rng(2)
    edges = inner_edges(world.study)
    middles = np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])
    rate = 1 / (1 + np.exp(-middles))
    crowd = world.rates.sum(axis=0)
    honest, boastful = (
        np.stack([crowd * (1 - share), crowd * share]) for share in (rate, rate / 3)
    )
    inside = {"honest": [], "boastful": []}  # type: dict[str, list[bool]]
    for _ in range(60):
        for name, rates in (("honest", honest), ("boastful", boastful)):
            table = random.poisson(rates) + random.normal(0.0, world.sigma, rates.shape)
            inside[name] += [
                row["low"] <= row["predicted"] <= row["high"]
                for row in calibration(world.study, table, world.sigma)
                if row["predicted"] > 0.2
            ]
    assert np.mean(inside["honest"]) > 0.9
    assert np.mean(inside["boastful"]) < 0.5


def test_a_table_of_noise_has_no_calibration() -> None:
    table = np.random.default_rng(0).normal(0.0, 12.0, (2, 24))
    assert calibration(make_study(evaluation={"score_bins": 24}), table, 12.0) == []

"""Two models on the same held-out units, and on resamples of them."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fieldfare.client.own_model import paired as paired_module
from fieldfare.client.own_model.paired import (
    HeldScores,
    HoldoutOrigin,
    kind_row,
    measured,
    paired_row,
)
from fieldfare.shared.joining.rows import RESAMPLES, KindRow

WHOSE = HoldoutOrigin("bank-a", 3, 1, 1.0, 80)


def units(count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = (random.random(count) < 0.2).astype(np.uint8)
    return labels, random.normal(size=count), random.normal(size=count) + labels


def test_a_weighted_metric_is_that_of_units_that_stand_so_often() -> None:
    labels, scores, _ = units()
    times = np.random.default_rng(2).multinomial(200, np.full(200, 1 / 200), size=3)
    found = measured(labels, scores, np.concatenate([np.ones((1, 200), np.int64), times]), 0.1)
    assert found[0, 0] == pytest.approx(average_precision_score(labels, scores))
    assert found[0, 2] == pytest.approx(roc_auc_score(labels, scores))
    top = np.argsort(-scores)[:20]
    assert found[0, 1] == pytest.approx(labels[top].sum() / labels.sum())
    for row, weights in zip(found[1:], times, strict=True):
        expected = average_precision_score(labels, scores, sample_weight=weights)
        assert row[0] == pytest.approx(expected)
        auroc = roc_auc_score(labels, scores, sample_weight=weights)
        assert row[2] == pytest.approx(auroc)
        often = np.repeat(np.arange(200), weights)
        top = often[np.argsort(-scores[often], kind="stable")[:20]]
        assert row[1] == pytest.approx(labels[top].sum() / labels[often].sum())


def test_a_row_is_paired_seeded_and_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, alone, home = units()
    row = paired_row(WHOSE, labels, HeldScores(alone, alone, home), 0.1)
    assert row.draws is not None
    assert len(row.draws.precision) == RESAMPLES
    gain = row.at_home.precision - (row.alone.precision if row.alone else 0.0)
    assert gain == pytest.approx(np.mean(row.draws.precision), abs=0.02)
    monkeypatch.setattr(paired_module, "MOST_CELLS", 1)  # one resample at a time
    assert paired_row(WHOSE, labels, HeldScores(alone, alone, home), 0.1) == row
    same = paired_row(WHOSE, labels, HeldScores(home, alone, home), 0.1)
    assert same.draws is not None
    assert set(same.draws.precision) == set(same.draws.share_found) == {0.0}
    other = paired_row(WHOSE._replace(place=2), labels, HeldScores(alone, alone, home), 0.1)
    assert other.draws != row.draws


def test_the_order_of_the_file_finds_nobody() -> None:
    """A model that tells nobody apart is no better where cases are listed first."""
    labels, level = np.repeat(np.array([1, 0], np.uint8), (100, 900)), np.zeros(1000)
    row = paired_row(WHOSE, labels, HeldScores(level, level, level), 0.1)
    assert row.at_home.found < 25  # ten of them by chance
    assert row.draws is not None
    assert np.mean(row.draws.auroc) == pytest.approx(0.5, abs=0.1)


def test_alerts_are_counted_until_as_many_are_found() -> None:
    labels = np.array([0, 1, 0, 1, 0, 0, 0, 1, 0, 0], np.uint8)
    alone = -np.arange(10.0)
    home = np.where(labels == 1, 1.0, 0.0)
    row = paired_row(WHOSE, labels, HeldScores(alone, alone, home), 0.2)
    assert (row.alerts, row.alone.found if row.alone else None, row.at_home.found) == (2, 1, 2)
    assert row.needed == 4  # the second case is the fourth in the own order


def test_without_a_class_nothing_is_compared() -> None:
    _, alone, home = units()
    for labels in (np.zeros(200, np.uint8), np.ones(200, np.uint8)):
        assert paired_row(WHOSE, labels, HeldScores(alone, alone, home), 0.1).draws is None


def test_cases_of_a_kind_are_those_that_each_model_finds() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], np.uint8)
    alone = np.array([9.0, 1, 2, 8, 7, 6, 5, 4, 3, 0])
    home = np.array([9.0, 8, 1, 7, 6, 5, 4, 3, 2, 0])
    empty = dict.fromkeys(
        ("learned", "cases", "alone", "at_home", "both", "alone_at", "at_home_at", "both_at"), 0
    )
    blank = KindRow(institution="a", seed=0, question="rare", kind="hub", **empty)
    of_kind = np.array([True, True, False] + [False] * 7)
    row = kind_row(blank, labels, of_kind, HeldScores(alone, alone, home), 0.2)
    assert (row.cases, row.alone, row.at_home, row.both) == (2, 1, 2, 1)
    # One of seven unlabelled ones may be reviewed: those above the second of them are found.
    assert (row.alone_at, row.at_home_at, row.both_at) == (1, 2, 1)

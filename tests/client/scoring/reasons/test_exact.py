import math
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.support.records.scored import KEY, customers, parameters, scored_study, units_of

from fieldfare.client.scoring.reasons import GRID_BITS, ExactRows, ExactScores, on_grid, ranks
from fieldfare.shared.features.basis import Basis

STUDY = scored_study()


def test_a_score_is_its_base_and_contributions_in_any_order(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(500), STUDY)
    exact = ExactScores.of(Basis(STUDY.features), parameters(STUDY), units.positions)
    scores = exact.scores(units.positions)
    contributions = exact.contributions(units.positions)
    for score, parts in zip(scores.tolist(), contributions.tolist(), strict=True):
        assert exact.base + sum(parts) == score
        assert exact.base + sum(reversed(parts)) == score
        assert math.fsum([exact.base, *parts]) == score


def test_the_grid_moves_a_score_by_less_than_anybody_could_see(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(500), STUDY)
    basis = Basis(STUDY.features)
    plain = basis.scores(parameters(STUDY), units.positions)
    exact = ExactScores.of(basis, parameters(STUDY), units.positions).scores(units.positions)
    assert np.abs(exact - plain).max() <= (2 + 2 * len(STUDY.features)) * 2.0**-GRID_BITS


def test_contributions_are_measured_from_the_institutions_own_mean(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(500), STUDY)
    exact = ExactScores.of(Basis(STUDY.features), parameters(STUDY), units.positions)
    assert np.abs(exact.contributions(units.positions).mean(axis=0)).max() < 2.0**-GRID_BITS
    assert abs(exact.scores(units.positions).mean() - exact.base) < 1e-7


def test_no_units_are_measured_from_nothing() -> None:
    none = np.empty((len(STUDY.features), 0), np.uint16)
    exact = ExactScores.of(Basis(STUDY.features), parameters(STUDY), none)
    assert exact.base == on_grid(parameters(STUDY)[:1])[0]
    assert len(exact.scores(none)) == 0


@given(st.lists(st.floats(-2e4, 2e4), min_size=1, max_size=40))
def test_the_grid_adds_up_exactly(values: list[float]) -> None:
    gridded = on_grid(np.array(values)).tolist()
    assert sum(gridded) == sum(reversed(gridded)) == math.fsum(gridded)


def test_equals_are_ranked_by_the_key_and_not_by_the_file() -> None:
    scores = np.array([1.0, 3.0, 1.0, 2.0])
    assert ranks(scores, [5, 0, 4, 9]).tolist() == [4, 1, 3, 2]
    assert len(KEY) == 32


def test_rows_are_one_contribution_from_the_mean_and_add_up() -> None:
    scores = np.random.default_rng(3).normal(-2, 4, 1001)
    shown = np.arange(1001) % 7 > 0
    exact = ExactRows.of(scores, shown)
    assert np.array_equal(exact.scores(), on_grid(scores)[shown])
    assert abs(exact.base - scores.mean()) < 2.0**-27
    places = np.array([3, 0])
    parts = exact.contributions(places)
    assert parts.shape == (2, 1)
    assert (exact.base + parts[:, 0]).tolist() == on_grid(scores)[shown][places].tolist()
    assert "parts" not in repr(exact)
    assert ExactRows.of(np.empty(0), np.empty(0, np.bool_)).base == 0.0

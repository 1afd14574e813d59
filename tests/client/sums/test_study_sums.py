"""The sums of one study: each unit counts once, on one side, by one in one cell."""

from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.bench import make_study, make_sums

from fieldfare.client.sums import StudySums
from fieldfare.client.sums.study_sums import count_cells
from fieldfare.shared.basis import EncodedUnits
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.models import model_for
from fieldfare.shared.plan import COUNT_GAMMA_BITS, ReleaseKind, plan_for
from fieldfare.shared.score_bins import inner_edges

STUDY: Final = make_study()
PLAN: Final = plan_for(STUDY)
EDGES: Final = inner_edges(STUDY)
ONE: Final = 1 << COUNT_GAMMA_BITS

units = st.lists(st.tuples(st.floats(-1e308, 1e308), st.integers(0, 1)), max_size=30)


def counted(rows: list[tuple[float, int]]) -> NDArray[np.int64]:
    scores = np.array([score for score, _ in rows], dtype=np.float64)
    return count_cells(scores, np.array([label for _, label in rows], dtype=np.uint8), EDGES)


@settings(deadline=None)
@given(units)
def test_counts_are_what_a_loop_over_units_counts(rows: list[tuple[float, int]]) -> None:
    expected = [0] * (2 * (len(EDGES) + 1))
    for score, label in rows:
        place = sum(score >= edge for edge in EDGES)
        expected[place + (len(EDGES) + 1) * label] += ONE
    assert counted(rows).tolist() == expected


@settings(deadline=None)
@given(units, st.floats(-1e308, 1e308), st.integers(0, 1), st.integers(0, 30))
def test_a_unit_more_moves_one_cell_by_exactly_one(
    rows: list[tuple[float, int]], score: float, label: int, place: int
) -> None:
    more = [*rows[:place], (score, label), *rows[place:]]
    moved = counted(more) - counted(rows)
    assert sorted(moved[moved != 0].tolist()) == [ONE]
    assert np.linalg.norm(moved / ONE) == PLAN.evaluation.vectors.clipping_norm


@pytest.mark.parametrize("units", [0, 1, 2, 100])
@pytest.mark.parametrize("label", [None, 0, 1])
def test_every_institution_gives_vectors_of_the_plans_length(units: int, label: int | None) -> None:
    sums = make_sums(STUDY, units, label=label)
    parameters = model_for(STUDY).initial(-1.0)
    for terms in (PLAN.training, PLAN.evaluation):
        vector = sums.vector(terms.kind, parameters)
        assert vector.shape == (terms.vectors.entries,)
        assert vector.dtype == np.int64
        assert units or not vector.any()


def test_a_unit_is_in_training_or_in_the_holdout() -> None:
    sums = make_sums(STUDY, 200)
    assert sums.training_count + len(sums.holdout) == 200
    assert 0 < len(sums.holdout) < 100
    counts = sums.vector(ReleaseKind.EVALUATION, model_for(STUDY).initial(0.0))
    assert counts.sum() == len(sums.holdout) * ONE


def split(data: EncodedUnits, holdout: NDArray[np.bool_]) -> StudySums:
    return StudySums.prepare(STUDY, data, holdout)


def test_training_does_not_see_the_holdout_nor_the_other_way_round() -> None:
    random = np.random.default_rng(1)
    data = EncodedUnits(
        random.integers(0, 4, (2, 100)).astype(np.uint16),
        random.integers(0, 2, 100).astype(np.uint8),
    )
    holdout = random.uniform(size=100) < 0.3
    flipped = EncodedUnits(data.positions, np.where(holdout, 1 - data.labels, data.labels))
    before, after = split(data, holdout), split(flipped, holdout)
    parameters = model_for(STUDY).initial(-1.0)
    training = [sums.vector(ReleaseKind.TRAINING, parameters) for sums in (before, after)]
    evaluation = [sums.vector(ReleaseKind.EVALUATION, parameters) for sums in (before, after)]
    assert (training[0] == training[1]).all()
    assert (evaluation[0] != evaluation[1]).any()


def test_training_is_the_models_own_clipped_sum() -> None:
    sums = make_sums(STUDY, 100)
    parameters = np.random.default_rng(2).normal(size=model_for(STUDY).vectors.entries)
    vector = sums.vector(ReleaseKind.TRAINING, parameters)
    assert (vector == sums.training.gradient_sum(parameters)).all()


def test_a_rehearsal_sums_no_records() -> None:
    with pytest.raises(PolicyRefusal) as found:
        make_sums(STUDY, 10).vector(ReleaseKind.REHEARSAL, model_for(STUDY).initial(0.0))
    assert found.value.code is RefusalCode.NOT_IN_PLAN


@pytest.mark.parametrize("show", [repr, str, "{!r}".format])
def test_sums_do_not_show_records(show: Any) -> None:
    """A traceback with locals, or a log line, would."""
    assert "array" not in show(make_sums(STUDY, 10))

"""The sums of one study: each unit counts once, on one side, by one in one cell."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kstest
from tests.support.federations.bench import make_study, make_sums
from tests.support.runs.grouped import grouped_study, grouped_sums

from fieldfare.client.records.encoding.asked import AskedUnits, AskedValues
from fieldfare.client.records.encoding.holdout import unit_order
from fieldfare.client.sums.study_sums import StudySums, count_cells
from fieldfare.shared.errors import PolicyRefusal, RefusalCode, StudyError
from fieldfare.shared.evaluation.group_cells import group_parts, group_weight
from fieldfare.shared.evaluation.score_table import inner_edges, with_threshold
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import COUNT_GAMMA_BITS, plan_for

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


# -- local mode -------------------------------------------------------------------------------

LOCAL: Final = make_study(training={"mode": "local", "steps": 3, "local_steps": 4})
LOCAL_PLAN: Final = plan_for(LOCAL)
BITS: Final = LOCAL_PLAN.training.vectors.gamma_bits
START: Final = model_for(LOCAL).initial(-1.0)


def drawn(steps: int, *, scale: float | None = None, seed: int = 0) -> NDArray[np.int64]:
    chosen = LOCAL_PLAN.training.share(4, 1) if scale is None else scale
    shape = (steps, LOCAL_PLAN.training.vectors.entries)
    return np.rint(np.random.default_rng(seed).normal(0, chosen, shape)).astype(np.int64)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_change_is_what_a_loop_of_noised_steps_makes(steps: int) -> None:
    sums, noise = make_sums(LOCAL, 100), drawn(steps)
    parameters = START
    for step in range(steps):
        noised = (sums.training.gradient_sum(parameters) + noise[step]) * 2.0**-BITS
        parameters = parameters - 0.5 / (0.2 * 0.8) * 4 / 320 * noised
    found = sums.local_change(START, noise, 4)
    assert found * 2.0**-BITS == pytest.approx(parameters - START, abs=2.0**-BITS)


def test_records_are_read_by_clipped_sums_and_their_noise_comes_first() -> None:
    """Nothing is computed from a sum but by way of its noise: noise that hides it hides all."""
    asked: list[NDArray[np.float64]] = []

    class Told:
        def __init__(self, total: int) -> None:
            self.total = total

        def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
            asked.append(parameters)
            return np.full(len(START), self.total, dtype=np.int64)

        def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
            raise NotImplementedError

    noise = drawn(4)
    shown = []
    for total in (0, 12_345_678):  # two sums, and noise that makes up for the difference
        sums = replace(make_sums(LOCAL, 10), training=Told(total))
        shown.append(sums.local_change(START, noise - total, 4))
    assert (shown[0] == shown[1]).all()
    assert all((a == b).all() for a, b in zip(asked[:4], asked[4:], strict=True))
    assert len(asked) == 8


@pytest.mark.parametrize("units", [0, 1, 100])
@pytest.mark.parametrize("label", [None, 0, 1])
def test_every_institution_changes_as_many_parameters(units: int, label: int | None) -> None:
    found = make_sums(LOCAL, units, label=label).local_change(START, drawn(4), 4)
    assert found.shape == (len(START),)
    assert found.dtype == np.int64


def test_a_change_is_bounded_whatever_noise_and_records_are() -> None:
    found = make_sums(LOCAL, 100).local_change(START, drawn(4, scale=2.0**58), 4)
    assert (np.abs(found) == 16 << BITS).any()
    assert (np.abs(found) <= 16 << BITS).all()


@pytest.mark.parametrize("steps", [1, 4])
def test_the_noise_of_a_change_is_the_plans(steps: int) -> None:
    """Where there are no units a change is its noise: as many sigmas as steps, added up."""
    sums, scale = make_sums(LOCAL, 0), LOCAL_PLAN.training.share(4, 1)
    found = np.concatenate(
        [sums.local_change(START, drawn(steps, seed=seed), 4) for seed in range(400)]
    ) * 2.0**-BITS  # fmt: skip
    sigma = scale * 2.0**-BITS * np.sqrt(steps) * 0.5 / (0.2 * 0.8) * 4 / 320
    for factor, right in ((1.0, True), (2 / 3, False), (3 / 2, False)):
        pvalue = kstest(found, "norm", args=(0.0, factor * sigma)).pvalue
        assert (pvalue > 1e-6) == right


# -- counts by group ------------------------------------------------------------------------

GROUPED: Final = grouped_study()
GROUPED_PLAN: Final = plan_for(GROUPED)


def with_threshold_at(threshold: float) -> NDArray[np.float64]:
    return with_threshold(model_for(GROUPED).initial(-1.0), threshold)


@pytest.mark.parametrize("units", [0, 1, 2, 300])
@pytest.mark.parametrize("threshold", [-1e4, 0.0, 1e4])
def test_counts_by_group_have_the_plans_length_and_every_held_out_unit(
    units: int, threshold: float
) -> None:
    sums = grouped_sums(GROUPED, units, seed=1)
    found = sums.vector(ReleaseKind.FAIRNESS, with_threshold_at(threshold))
    assert found.shape == (GROUPED_PLAN.fairness.vectors.entries,)
    for part in group_parts(GROUPED.groups):
        assert found[part].sum() == len(sums.holdout) * group_weight(GROUPED.groups)
        alerts = found[part].reshape(-1, 2, 2)[:, :, 1].sum() // group_weight(GROUPED.groups)
        assert alerts == {-1e4: len(sums.holdout), 1e4: 0}.get(threshold, alerts)


def test_a_score_at_the_threshold_is_an_alert() -> None:
    sums = grouped_sums(GROUPED, 50, seed=1)
    scores = sums.model.scores(model_for(GROUPED).initial(-1.0), sums.holdout)
    assert np.unique(scores).tolist() == [-1.0]
    found = sums.vector(ReleaseKind.FAIRNESS, with_threshold_at(-1.0))
    assert found.reshape(-1, 2, 2)[:, :, 0].sum() == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(0, 1000), st.data())
def test_a_unit_less_moves_the_counts_by_no_more_than_the_plans_norm(
    units: int, seed: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    positions = random.integers(0, [[3 * 256 + 2], [4]], (2, units)).astype(np.uint16)
    labels = random.integers(0, 2, units).astype(np.uint8)
    codes = {
        group.column: random.integers(0, 9, units).astype(np.int32) for group in GROUPED.groups
    }
    held = random.uniform(size=units) < 0.5
    order = unit_order([str(row) for row in range(units)], key=b"key")
    parameters = np.append(random.normal(size=len(model_for(GROUPED).initial(0.0))), 0.1)

    def vector(kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        asked = AskedUnits("bank", labels, AskedValues(codes=codes), order).values.select(kept)
        units_kept = AskedUnits("bank", labels[kept], asked, order[kept])
        encoded = EncodedUnits(positions[:, kept], labels[kept])
        sums = StudySums.prepare(GROUPED, encoded, held[kept], units_kept)
        return sums.vector(ReleaseKind.FAIRNESS, parameters)

    gone = data.draw(st.integers(0, units - 1))
    everybody = np.ones(units, np.bool_)
    moved = vector(everybody) - vector(np.arange(units) != gone)
    most = GROUPED_PLAN.fairness.vectors.clipping_norm * (1 << COUNT_GAMMA_BITS)
    assert sum(int(one) ** 2 for one in moved) <= most**2
    assert bool(moved.any()) == bool(held[gone])  # who trains is in no count


def test_groups_that_were_not_read_are_refused_at_once() -> None:
    with pytest.raises(StudyError, match="questions and groups"):
        StudySums.prepare(
            GROUPED,
            EncodedUnits(np.empty((2, 0), np.uint16), np.empty(0, np.uint8)),
            np.empty(0, np.bool_),
        )

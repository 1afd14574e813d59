import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.runs.started import small_start, starting_at
from tests.support.runs.written_runs import base

from fieldfare.client.sums.study_sums import StudySums, guard_sum
from fieldfare.shared.errors import PolicyRefusal
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for, started_model
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.messages import ReleaseKind
from fieldfare.shared.protocol.plan import GUARD_CLIP, RELATION, SIDES, plan_for
from fieldfare.shared.study.study import Study

MOST = int(GUARD_CLIP * 2**20)


def started() -> Study:
    return base(training=starting_at(small_start()))


def units(count: int, seed: int = 0) -> EncodedUnits:
    generator = np.random.default_rng(seed)
    positions = generator.integers(0, [[3 * 256 + 2], [4]], (2, count)).astype(np.uint16)
    return EncodedUnits(positions, generator.integers(0, 2, count).astype(np.uint8))


@given(st.integers(0, 2**32), st.floats(0.1, 100))
def test_one_unit_moves_the_guard_by_at_most_its_clip(seed: int, size: float) -> None:
    study, data = started(), units(8, seed)
    both = np.random.default_rng(seed).normal(0, size, 6)
    whole = int(guard_sum(study, both, data)[0])
    for place in range(8):
        without = int(guard_sum(study, both, data.select(np.arange(8) != place))[0])
        alone = int(guard_sum(study, both, data.select(np.arange(8) == place))[0])
        assert whole - without == alone
        assert abs(alone) <= MOST


def test_it_says_how_much_better_what_was_trained_is() -> None:
    study, data = started(), units(50)
    both = np.array([-0.1, 1.1, 0.9, 0.0, 1.0, 1.0])
    model = started_model(study)
    assert model is not None
    losses = []
    for half in (both[:3], both[3:]):
        scores = model_for(study).scores(model.delivered(half), data)
        signed = np.where(data.labels == 1, -scores, scores)
        losses.append(np.log1p(np.exp(signed)))
    gain = np.clip(losses[1] - losses[0], -GUARD_CLIP, GUARD_CLIP)
    assert guard_sum(study, both, data)[0] / 2**20 == pytest.approx(gain.sum(), abs=50 * 2**-20)


def test_a_hard_unit_reaches_its_clip_and_nobody_adds_nothing() -> None:
    study, hard = started(), np.array([1e4, 1e4, 1e4, -1e4, -1e4, -1e4])
    one = EncodedUnits(np.array([[700], [0]], dtype=np.uint16), np.ones(1, dtype=np.uint8))
    assert guard_sum(study, hard, one).tolist() == [MOST]
    assert guard_sum(study, hard, units(0)).tolist() == [0]
    terms = plan_for(study).guard
    assert terms.vectors.clipping_norm == GUARD_CLIP  # what is accounted for is what it clips at
    assert terms.sensitivity is not None
    assert terms.sensitivity.l2(RELATION) * 2**terms.vectors.gamma_bits == MOST


def test_it_reads_training_units_alone_and_is_debited_on_their_side() -> None:
    assert SIDES[ReleaseKind.GUARD] is Side.TRAINING
    study, data = started(), units(100)
    held = np.random.default_rng(1).uniform(size=100) < 0.3
    both = np.array([-0.1, 1.1, 0.9, 0.0, 1.0, 1.0])
    prepared = StudySums.prepare(study, data, held)
    expected = guard_sum(study, both, data.select(~held)).tolist()
    assert prepared.vector(ReleaseKind.GUARD, both).tolist() == expected
    plain = StudySums.prepare(base(), data, held)
    with pytest.raises(PolicyRefusal):
        plain.vector(ReleaseKind.GUARD, both)
    with pytest.raises(PolicyRefusal):
        guard_sum(base(), both, data)


def test_its_terms_are_two_percent_of_trainings_budget_and_within_it() -> None:
    plan, plain = plan_for(started()), plan_for(base())
    share = 0.02 * plain.training.mu2 * (plain.training.steps + plain.training.spare)
    assert plan.guard.mu2 == pytest.approx(share, rel=1e-9)
    trained = plan.training.mu2 * (plan.training.steps + plan.training.spare)
    guarded = plan.guard.mu2 * (plan.guard.steps + plan.guard.spare)
    assert trained + guarded == pytest.approx(share / 0.02, rel=1e-9)
    assert plan.evaluation.mu2 == plain.evaluation.mu2
    assert plan.study_limit <= plain.study_limit + 100
    assert plan.guard.first_step == plan.training.first_step + plan.training.steps
    assert plan.evaluation.first_step == plan.guard.first_step + 1
    assert (plan.guard.vectors.entries, plan.guard.parameter_entries) == (1, 6)
    assert plan.guard.vectors.rounded_entries == 0

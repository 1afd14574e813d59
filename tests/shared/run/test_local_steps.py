"""Local mode's arithmetic: steps inside that no private count divides, and a plain average."""

from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.federations.bench import make_study

from fieldfare.shared.protocol.plan import LOCAL_REACH, PARAMETER_LIMIT
from fieldfare.shared.run.optimizer import TrainingState, averaged_state, local_change, local_step

STUDY: Final = make_study(
    training={"mode": "local", "steps": 4, "local_steps": 2, "local_rate": 0.5}
)
BITS: Final = 28

sums = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3)


def vector(values: list[float]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


@settings(deadline=None)
@given(sums, sums, st.integers(3, 20))
def test_a_step_goes_down_by_rate_times_n_over_the_public_count(
    start: list[float], total: list[float], participants: int
) -> None:
    """Units 400, hold-out a fifth, prevalence .2: curvature .16, divisor 320."""
    moved = local_step(STUDY, vector(start) / 1e3, vector(total), participants)
    expected = vector(start) / 1e3 - 0.5 / 0.16 * participants / 320 * vector(total)
    assert moved == pytest.approx(np.clip(expected, -PARAMETER_LIMIT, PARAMETER_LIMIT), rel=1e-12)


def test_one_step_of_everybody_is_one_step_on_the_sum_of_all() -> None:
    """With one step inside, the plain average is gradient descent on all records together."""
    start = vector([0.5, -1.0, 0.0])
    parts = [vector([3.0, 1.0, -2.0]), vector([0.0, 0.0, 0.0]), vector([-1.0, 5.0, 8.0])]
    changes = [local_step(STUDY, start, part, 3) - start for part in parts]
    state = averaged_state(STUDY, TrainingState.start(start), sum(changes, np.zeros(3)), 3)
    together = start - 0.5 / 0.16 / 320 * sum(parts, np.zeros(3))
    assert state.parameters == pytest.approx(together, rel=1e-12)


@settings(deadline=None)
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5), sums)
def test_no_change_is_larger_than_the_public_bound(after: list[float], before: list[float]) -> None:
    start = np.resize(vector(before), len(after))
    change = local_change(start, vector(after), BITS)
    assert change.dtype == np.int64
    assert (np.abs(change) <= int(LOCAL_REACH) << BITS).all()
    within = np.clip(vector(after) - start, -LOCAL_REACH, LOCAL_REACH)
    assert (np.abs(np.ldexp(change.astype(np.float64), -BITS) - within) <= 2.0**-BITS).all()


def test_what_follows_the_sum_does_not_move() -> None:
    """Knots that were asked for stand behind the parameters that are trained."""
    start = vector([0.5, -1.0, 7.0, 9.0])
    moved = local_step(STUDY, start, vector([1.0, 1.0]), 3)
    assert (moved[:2] != start[:2]).all()
    assert moved[2:].tolist() == [7.0, 9.0]
    state = averaged_state(STUDY, TrainingState.start(start), vector([3.0, -3.0]), 3)
    assert state.parameters.tolist() == [1.5, -2.0, 7.0, 9.0]


def test_iterates_are_averaged_over_the_last_sums() -> None:
    state = TrainingState.start(vector([0.0]))
    for _ in range(STUDY.training.steps):
        state = averaged_state(STUDY, state, vector([3.0]), 3)
    assert (state.step, state.tail_count, state.parameters.tolist()) == (4, 2, [4.0])
    assert state.model.tolist() == [3.5]
    assert not state.first.any()
    assert TrainingState.from_bytes(state.to_bytes()).model.tolist() == [3.5]


def test_parameters_stay_within_what_requests_may_carry() -> None:
    edge = vector([PARAMETER_LIMIT, -PARAMETER_LIMIT])
    moved = local_step(STUDY, edge, vector([-1e9, 1e9]), 3)
    assert moved.tolist() == edge.tolist()
    state = averaged_state(STUDY, TrainingState.start(edge), vector([48.0, -48.0]), 3)
    assert state.parameters.tolist() == edge.tolist()

"""Adam and the tail average, against torch and against their own definition."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.federations.settings import make_study

from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, plan_for
from fieldfare.shared.run.optimizer import (
    ADAM_EPSILON,
    REACH,
    TrainingState,
    next_state,
    tail_length,
)
from fieldfare.shared.study.study import Study

Vector = NDArray[np.float64]


def descend(study: Study, start: Vector, sums: list[Vector]) -> list[TrainingState]:
    states, plan = [TrainingState.start(start)], plan_for(study)
    for gradient_sum in sums:
        states.append(next_state(plan, states[-1], gradient_sum))
    return states


def random_sums(entries: int, steps: int, *, seed: int = 0) -> list[Vector]:
    random = np.random.default_rng(seed)
    scales = 10.0 ** random.integers(-6, 4, entries)  # far apart, as rare slots and the bias are
    return [random.normal(0.0, 1.0, entries) * scales for _ in range(steps)]


@pytest.mark.parametrize(
    ("rate", "beta1", "beta2"), [(0.1, 0.9, 0.99), (0.03, 0.8, 0.999), (0.5, 0.0, 0.5)]
)
def test_iterates_are_those_of_torch(rate: float, beta1: float, beta2: float) -> None:
    changes = {"steps": 60, "learning_rate": rate, "beta1": beta1, "beta2": beta2}
    study = make_study(training=changes)
    start = np.linspace(-2.0, 2.0, 17)
    sums = random_sums(17, 60)
    parameter = torch.nn.Parameter(torch.tensor(start))
    optimiser = torch.optim.Adam([parameter], lr=rate, betas=(beta1, beta2), eps=ADAM_EPSILON)
    for state, gradient_sum in zip(descend(study, start, sums)[1:], sums, strict=True):
        parameter.grad = torch.tensor(gradient_sum / study.training_units)
        optimiser.step()
        np.testing.assert_allclose(state.parameters, parameter.detach().numpy(), atol=1e-12)


def test_the_divisor_is_the_public_count_and_no_other() -> None:
    """Twice the public count and twice the sum is the same mean; records are not asked."""
    small = make_study(records={"units": 400})
    large = make_study(records={"units": 800})
    sums = random_sums(5, 3)
    one = descend(small, np.zeros(5), sums)[-1]
    two = descend(large, np.zeros(5), [2.0 * s for s in sums])[-1]
    assert one.parameters.tobytes() == two.parameters.tobytes()
    first = next_state(plan_for(small), TrainingState.start(np.zeros(1)), np.array([3.2]))
    share = 1 - small.training.beta1
    assert first.first[0] == share * (3.2 / (400 * (1 - small.evaluation.holdout)))


@pytest.mark.parametrize(
    ("steps", "share", "averaged"), [(10, 0.5, 5), (7, 0.5, 3), (4, 1.0, 4), (3, 0.01, 1)]
)
def test_the_model_is_the_average_of_the_last_iterates(
    steps: int, share: float, averaged: int
) -> None:
    study = make_study(training={"steps": steps, "average_last": share})
    states = descend(study, np.zeros(6), random_sums(6, steps))
    assert tail_length(study) == averaged
    assert states[-1].tail_count == averaged
    expected = np.mean([state.parameters for state in states[-averaged:]], axis=0)
    np.testing.assert_allclose(states[-1].model, expected, rtol=0, atol=1e-12)
    for state in states[: steps - averaged + 1]:
        assert state.model is state.parameters


@given(
    order=st.permutations(range(12)),
    cut=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_entry_is_computed_by_itself(order: list[int], cut: int, seed: int) -> None:
    """Bit for bit: the model can be recomputed in any order, in parts, on another machine."""
    study = make_study(training={"steps": 8})
    sums = random_sums(12, 8, seed=seed)
    start = np.random.default_rng(seed).normal(size=12)
    whole = descend(study, start, sums)[-1].model
    moved = descend(study, start[order], [s[order] for s in sums])[-1].model
    assert moved.tobytes() == whole[order].tobytes()
    left = descend(study, start[:cut], [s[:cut] for s in sums])[-1].model
    right = descend(study, start[cut:], [s[cut:] for s in sums])[-1].model
    assert np.concatenate([left, right]).tobytes() == whole.tobytes()


def test_one_entry_is_plain_double_arithmetic() -> None:
    """The same operations on Python's floats, one by one, give the same bits."""
    study = make_study(training={"steps": 20})
    sums = [float(s[0]) for s in random_sums(1, 20)]
    state = descend(study, np.array([0.5]), [np.array([s]) for s in sums])[-1]
    training, parameter, first, second, power1, power2 = study.training, 0.5, 0.0, 0.0, 1.0, 1.0
    for total in sums:
        gradient = total / study.training_units
        first = training.beta1 * first + (1.0 - training.beta1) * gradient
        second = training.beta2 * second + (1.0 - training.beta2) * (gradient * gradient)
        power1, power2 = power1 * training.beta1, power2 * training.beta2
        spread = float(np.sqrt(second / (1.0 - power2))) + ADAM_EPSILON
        parameter = parameter - training.learning_rate * (first / (1.0 - power1)) / spread
    assert state.parameters[0] == parameter


@given(
    total=st.floats(-1e6, 1e6), rate=st.floats(0.01, 2.0), beta1=st.sampled_from([0.0, 0.5, 0.9])
)
def test_a_step_in_the_noise_is_as_long_as_the_sum_stands_out_of_it(
    total: float, rate: float, beta1: float
) -> None:
    """The first step: the sum over its noise's standard deviation, at most 3 of them."""
    training = {"beta2": 1.0, "beta1": beta1, "learning_rate": rate}
    plan = plan_for(make_study(training=training))
    state = next_state(plan, TrainingState.start(np.zeros(1)), np.array([total]))
    expected = -rate * min(max(total / plan.training.sigma, -REACH), REACH)
    assert state.parameters[0] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_steps_in_the_noise_are_plain_double_arithmetic() -> None:
    """The same operations on Python's floats, one by one, give the same bits."""
    study = make_study(training={"steps": 20, "beta2": 1.0, "learning_rate": 0.1})
    sums = [float(s[0]) for s in random_sums(1, 20)]
    state = descend(study, np.array([0.5]), [np.array([s]) for s in sums])[-1]
    training, parameter, first, power1 = study.training, 0.5, 0.0, 1.0
    spread = plan_for(study).training.sigma / study.training_units
    for total in sums:
        first = training.beta1 * first + (1.0 - training.beta1) * (total / study.training_units)
        power1 *= training.beta1
        mean = min(max(first / (1.0 - power1), -3.0 * spread), 3.0 * spread)
        parameter = parameter - training.learning_rate * mean / spread
    assert state.parameters[0] == parameter


def test_parameters_stay_where_a_custodian_accepts_them() -> None:
    study = make_study(training={"steps": 3, "learning_rate": 10.0})
    near = TrainingState.start(np.array([PARAMETER_LIMIT - 1, -PARAMETER_LIMIT + 1]))
    state = next_state(plan_for(study), near, np.array([-1e9, 1e9]))
    assert state.parameters.tolist() == [PARAMETER_LIMIT, -PARAMETER_LIMIT]


def test_a_sum_of_nothing_moves_nothing() -> None:
    state = next_state(plan_for(make_study()), TrainingState.start(np.ones(3)), np.zeros(3))
    assert state.parameters.tolist() == [1.0, 1.0, 1.0]


def test_states_are_not_changed_by_later_steps() -> None:
    study = make_study()
    before = next_state(plan_for(study), TrainingState.start(np.ones(4)), np.ones(4))
    kept = replace(before, parameters=before.parameters.copy(), tail=before.tail.copy())
    next_state(plan_for(study), before, np.full(4, 5.0))
    assert before.parameters.tobytes() == kept.parameters.tobytes()
    assert before.tail.tobytes() == kept.tail.tobytes()

"""Flower's strategies, unmodified, over the same units: by name, seeded, and told apart."""

import logging
import math
import random

import numpy as np
import pytest
from tests.simulations.conftest import BANKS
from tests.simulations.strategies.conftest import MakeGiven

from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.gaussian import epsilon_for
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.simulations.strategies.flower import NOISE, FlowerRun, FlowerStrategy, Wrapper

RUNS = [
    *[FlowerRun(named, None, 3) for named in FlowerStrategy],
    *[FlowerRun(FlowerStrategy.FEDAVG, wrapper, 3) for wrapper in Wrapper],
]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_the_same_seed_gives_the_same_bytes_and_only_noise_follows_it(
    run: FlowerRun, given: MakeGiven
) -> None:
    one, same, other = (run.train(given(seed=seed).trainer) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes()
    assert np.isfinite(one).all()
    assert (one.tobytes() != other.tobytes()) is (run.wrapper is not None)


def test_strategies_come_to_different_models(given: MakeGiven) -> None:
    reached = {run.train(given().trainer).tobytes() for run in RUNS[: len(FlowerStrategy)]}
    assert len(reached) == len(FlowerStrategy)


def test_fedavg_is_the_mean_by_units_of_what_institutions_reach(given: MakeGiven) -> None:
    trainer = given().trainer
    model = trainer.start.parameters
    run = FlowerRun(FlowerStrategy.FEDAVG, None, 3)
    for _ in range(run.rounds(trainer)):
        reached = []
        for name in sorted(trainer.sums):
            state = TrainingState.start(model)
            for _ in range(3):
                state = next_state(
                    trainer.plan, state, trainer.own_gradient(name)(state.parameters)
                )
            reached.append(state.parameters * trainer.units[name])
        model = np.sum(reached, axis=0) / sum(trainer.units.values())
    np.testing.assert_allclose(run.train(trainer), model, atol=1e-9)


def test_krum_takes_one_institutions_model(given: MakeGiven) -> None:
    trainer = given().trainer
    steps = trainer.plan.study.training.steps
    reached = FlowerRun(FlowerStrategy.KRUM, None, steps).train(trainer)  # one round
    own = []
    for name in BANKS:
        state = TrainingState.start(trainer.start.parameters)
        for _ in range(steps):
            gradient = trainer.own_gradient(name)(state.parameters)
            state = next_state(trainer.plan, state, gradient)
        own.append(state.parameters)
    assert min(float(np.abs(one - reached).max()) for one in own) < 1e-12


def test_institutions_take_as_many_steps_as_the_study(given: MakeGiven) -> None:
    trainer = given().trainer
    assert trainer.plan.study.training.steps == 6
    assert [FlowerRun(FlowerStrategy.FEDAVG, None, k).rounds(trainer) for k in (1, 3, 6, 50)] == [
        6,
        2,
        1,
        1,
    ]


@pytest.mark.parametrize("wrapper", Wrapper)
def test_a_wrapper_promises_a_whole_institution_and_only_where_noise_fits(
    wrapper: Wrapper, given: MakeGiven
) -> None:
    trainer = given().trainer
    delta = trainer.plan.study.privacy.delta
    run = FlowerRun(FlowerStrategy.FEDAVG, wrapper, 3)
    assert run.epsilon(trainer) == epsilon_for(delta=delta, mu2=2 / NOISE**2)
    for named in (FlowerStrategy.FEDADAM, FlowerStrategy.FEDMEDIAN, FlowerStrategy.KRUM):
        assert FlowerRun(named, wrapper, 3).epsilon(trainer) == math.inf
    assert FlowerRun(FlowerStrategy.FEDAVG, None, 3).epsilon(trainer) == math.inf


@pytest.mark.parametrize("wrapper", [Wrapper.SERVER_FIXED, Wrapper.CLIENT_FIXED])
def test_an_institution_without_units_ends_a_wrapped_run_with_an_error(
    wrapper: Wrapper, given: MakeGiven
) -> None:
    with pytest.raises(RunError, match="expected an update of every institution"):
        FlowerRun(FlowerStrategy.FEDAVG, wrapper, 3).train(given(others=("bank-z",)).trainer)


def test_what_flower_draws_from_and_its_log_are_left_as_they_were(given: MakeGiven) -> None:
    log = logging.getLogger("flwr")
    before = (np.random.normal, log.level)
    FlowerRun(FlowerStrategy.FEDAVG, Wrapper.SERVER_FIXED, 3).train(given().trainer)
    assert before == (np.random.normal, log.level)


def test_whom_flower_asks_first_changes_no_byte(given: MakeGiven) -> None:
    reached = set()
    for seed in range(4):
        random.seed(seed)  # Flower shuffles institutions by it
        reached.add(FlowerRun(FlowerStrategy.FEDAVG, None, 3).train(given().trainer).tobytes())
    assert len(reached) == 1

from dataclasses import replace

import numpy as np
import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.models import started_model
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.ring import encode, to_ring
from fieldfare.shared.run.kinds.guard import Guard, is_better, read_guard
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import LAST_BITS, initial_state
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import GuardRecord

PLAN = plan_for(STUDIES["start"]())
TERMS = PLAN.guard
KIND = Guard()
START = initial_state(PLAN.study)
TRAINED = replace(TrainingState.start(np.array([-1.0, 1.5, 0.5])), step=3)
RESULTS = Results(training=TRAINED, steps=3, started=START)
TWO_SIGMA = 2 * PLAN.guard.noise_on_sum(4, 1)


def summed(value: float) -> tuple[bytes, SummedRelease]:
    words = encode(to_ring(np.array([round(value * 2**20)]), TERMS.word_bits), TERMS.word_bits)
    return words, SummedRelease(TERMS, TERMS.first_step, 4, bytes_hash(words), None)


def test_it_binds_both_models_and_any_rounding_of_the_start() -> None:
    found = list(KIND.contents(PLAN, RESULTS))
    assert len({content.hash for content in found}) == len(LAST_BITS)
    bound = np.frombuffer(found[0].data)
    assert bound.tolist() == [*TRAINED.model, *START.parameters]
    assert found[0].results.started is not None
    assert len(bound) == TERMS.parameter_entries
    assert list(KIND.contents(PLAN, replace(RESULTS, training=None))) == []


@pytest.mark.parametrize("off", [-1e4, -1.0, -1e-4, 1e-4, 1.0])
def test_what_was_trained_goes_on_beyond_two_sigma_alone(off: float) -> None:
    words, found = summed(TWO_SIGMA + off)
    assert is_better(PLAN, TWO_SIGMA + off, 4) == (off > 0)
    record = KIND.write(PLAN, RESULTS, found, words)
    assert record == GuardRecord.of(words, trained=off > 0)
    after = KIND.read(PLAN, RESULTS, found, record.to_bytes())
    model = started_model(PLAN.study)
    assert model is not None
    assert after.training is not None
    taken = TRAINED if off > 0 else START
    assert after.training.model.tolist() == model.delivered(taken.parameters).tolist()
    assert after.training.step == 3
    assert after.guarded
    assert not KIND.is_due(PLAN, after)
    told = KIND.told(PLAN, after)["released_guard"]
    assert told == read_guard(PLAN, after.guard)
    assert told["taken"] == ("trained" if off > 0 else "start")
    assert told["gain"] == pytest.approx(TWO_SIGMA + off, abs=1e-5)


def test_another_choice_or_other_words_are_no_record_of_the_sum() -> None:
    words, found = summed(TWO_SIGMA + 1)
    lies = [GuardRecord.of(words, trained=False), GuardRecord.of(words[::-1], trained=True)]
    for lie in lies:
        with pytest.raises(MismatchError):
            KIND.read(PLAN, RESULTS, found, lie.to_bytes())


def test_a_choice_is_known_also_where_the_training_was_deleted() -> None:
    words, found = summed(TWO_SIGMA + 1)
    deleted = replace(RESULTS, training=None, started=None)
    after = KIND.read(PLAN, deleted, found, GuardRecord.of(words, trained=True).to_bytes())
    assert (after.training, after.guarded) == (None, True)


def test_only_a_study_with_a_start_guards() -> None:
    assert KIND.is_due(PLAN, Results())
    plain = plan_for(STUDIES["training"]())
    assert not KIND.is_due(plain, Results())
    assert KIND.told(plain, Results()) == {}
    assert (plain.guard.cost, plain.guard.steps) == (0, 0)


@pytest.mark.parametrize("spare", [0, 1, 3])
def test_a_guard_may_fail_once_though_the_evaluation_may_not(spare: int) -> None:
    evaluation = PLAN.study.evaluation.model_copy(update={"spare_releases": spare})
    plan = plan_for(PLAN.study.model_copy(update={"evaluation": evaluation}))
    assert plan.guard.spare == max(1, spare)
    assert plan.planned.training == sum(
        terms.cost * (terms.steps + terms.spare) for terms in (plan.training, plan.guard)
    )
    assert plan.planned.training <= plan.study_limit

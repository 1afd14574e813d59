import numpy as np
from tests.support.runs.written_runs import METRICS, STUDIES

from fieldfare.shared.protocol.messages import parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds.evaluation import Evaluation
from fieldfare.shared.run.kinds.kind import Summed
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import MetricsRecord

PLAN = plan_for(STUDIES["training"]())
KIND = Evaluation()


def test_it_binds_the_model_and_keeps_its_table() -> None:
    results = Results(training=initial_state(PLAN.study), bound="1" * 64)
    (content,) = KIND.contents(PLAN, results)
    assert content.data == parameters_to_bytes(initial_state(PLAN.study).model)
    summed = Summed(PLAN.evaluation, 3, 4, "", np.ones(16))
    after = KIND.after(PLAN, results, summed)
    assert (after.table, after.model) == (summed.values, "1" * 64)
    record = KIND.write(PLAN, after, b"", METRICS)
    assert record == MetricsRecord(metrics=METRICS)
    told = KIND.read(PLAN, after, summed, record.to_bytes())
    assert told.metrics == METRICS
    assert KIND.is_due(PLAN, after)
    assert not KIND.is_due(PLAN, told)


def test_a_study_that_only_asks_evaluates_nothing() -> None:
    assert not KIND.is_due(plan_for(STUDIES["questions"]()), Results())
    assert list(KIND.contents(PLAN, Results())) == []
    assert KIND.leads(plan_for(STUDIES["groups"]()))
    assert not KIND.leads(PLAN)

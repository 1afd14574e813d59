import json
from dataclasses import replace

import numpy as np
import pytest
import rfc8785
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.protocol.messages import parameters_to_bytes
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds.evaluation import Evaluation
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.run.results import Results
from fieldfare.shared.transcript.leaves import MetricsRecord

PLAN = plan_for(STUDIES["training"]())
KIND = Evaluation()


def test_it_binds_the_model_and_keeps_its_table() -> None:
    results = Results(training=initial_state(PLAN.study), bound="1" * 64)
    (content,) = KIND.contents(PLAN, results)
    assert content.data == parameters_to_bytes(initial_state(PLAN.study).model)
    summed = SummedRelease(PLAN.evaluation, 3, 4, "", np.ones(16))
    after = KIND.after(PLAN, results, summed)
    assert (after.table, after.model) == (summed.values, "1" * 64)
    record = KIND.write(PLAN, after, summed, b"")
    assert isinstance(record, MetricsRecord)
    told = KIND.read(PLAN, after, summed, record.to_bytes())
    assert (told.metrics, told.measured) == (record.metrics, True)
    assert KIND.is_due(PLAN, after)
    assert not KIND.is_due(PLAN, told)


def test_metrics_that_the_table_does_not_give_are_refused() -> None:
    results = Results(training=initial_state(PLAN.study), bound="1" * 64)
    summed = SummedRelease(PLAN.evaluation, 3, 4, "", np.linspace(20.0, 90.0, 16))
    honest = KIND.write(PLAN, results, summed, b"")
    assert isinstance(honest, MetricsRecord)
    said = json.loads(honest.metrics)
    said["auroc"]["value"] = 0.9991
    for forged in ("", '{"auroc":0.9991}', rfc8785.dumps(said).decode()):
        with pytest.raises(MismatchError, match="metrics that follow"):
            KIND.read(PLAN, results, summed, MetricsRecord(metrics=forged).to_bytes())
    with pytest.raises(MismatchError, match="deleted"):
        KIND.write(PLAN, results, replace(summed, values=None), b"")
    believed = KIND.read(PLAN, results, replace(summed, values=None), honest.to_bytes())
    assert not believed.measured


def test_a_study_that_only_asks_evaluates_nothing() -> None:
    assert not KIND.is_due(plan_for(STUDIES["questions"]()), Results())
    assert list(KIND.contents(PLAN, Results())) == []
    assert KIND.leads(plan_for(STUDIES["groups"]()))
    assert not KIND.leads(PLAN)

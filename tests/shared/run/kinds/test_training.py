from dataclasses import replace

import numpy as np
import pytest
from tests.support.runs.written_runs import STUDIES

from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.run.kinds.kind import SummedRelease
from fieldfare.shared.run.kinds.training import Training
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.replay import initial_state, state_hash, stepped
from fieldfare.shared.run.results import UNKNOWN, Results
from fieldfare.shared.transcript.leaves import ParametersRecord

KIND = Training()
H = "0" * 64


@pytest.mark.parametrize("shape", ["training", "local"])
def test_a_step_is_the_one_that_everybody_takes(shape: str) -> None:
    plan = plan_for(STUDIES[shape]())
    start, values = initial_state(plan.study), np.linspace(-1, 1, plan.training.vectors.entries)
    results = Results(rehearsed=True, training=start)
    unused = SummedRelease(plan.training, 0, 4, "", values)
    after = KIND.after(plan, results, unused)
    expected = stepped(plan, start, values, 4)
    assert after.training is not None
    assert after.training.to_bytes() == expected.to_bytes()
    assert (after.steps, after.parameters) == (1, state_hash(expected))
    record = KIND.write(plan, after, unused, b"")
    assert isinstance(record, ParametersRecord)
    assert record == ParametersRecord(step=1, parameters=after.parameters)
    assert KIND.read(plan, after, unused, record.to_bytes()).parameters == after.parameters
    for changes in ({"step": 2}, {"parameters": H}):
        with pytest.raises(MismatchError):
            KIND.read(plan, after, unused, record.model_copy(update=changes).to_bytes())


def test_where_a_sum_was_deleted_the_record_is_believed() -> None:
    plan = plan_for(STUDIES["training"]())
    purged = SummedRelease(plan.training, 0, 4, H, None)
    after = KIND.after(plan, Results(training=initial_state(plan.study)), purged)
    assert (after.training, after.parameters, after.steps) == (None, UNKNOWN, 1)
    assert list(KIND.contents(plan, after)) == []
    told = KIND.read(plan, after, purged, ParametersRecord(step=1, parameters=H).to_bytes())
    assert [content.hash for content in KIND.contents(plan, told)] == [H]


def test_due_until_the_last_step() -> None:
    plan = plan_for(STUDIES["training"]())
    steps = plan.study.training.steps
    assert [KIND.step(plan, Results(steps=i)) for i in range(steps)] == list(range(steps))
    assert KIND.is_due(plan, Results(steps=steps - 1))
    assert not KIND.is_due(plan, Results(steps=steps))
    assert not KIND.is_due(plan_for(STUDIES["questions"]()), replace(Results(), steps=0))

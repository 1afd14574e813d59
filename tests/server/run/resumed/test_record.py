"""A run is written down in order; a simulation does so in a list, and begins anew."""

import numpy as np
import pytest
from tests.support.federations.settings import BANKS, Setting

from fieldfare.server.run.record import DecodedSum, Record, RunCheckpoint
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, parameters_to_bytes
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.transcript.leaves import LeafKind


def a_sum() -> DecodedSum:
    return DecodedSum(
        np.zeros(2),
        ("bank-a", "bank-c"),
        1,
        {"bank-a": 1, "bank-b": 1, "bank-c": 2},
        b"R",
        {"bank-c": b"reply c", "bank-a": b"reply a"},
        {"bank-c": b"vector c", "bank-a": b"vector a"},
        bytes(16),
    )


def test_a_sum_travels_in_its_participants_order() -> None:
    assert a_sum().as_last == LastSum(b"R", (b"reply a", b"reply c"), (b"vector a", b"vector c"))


def test_a_run_begins_with_nothing() -> None:
    checkpoint = RunCheckpoint()
    assert (checkpoint.openings, checkpoint.request, checkpoint.answered) == (None, b"", True)
    assert (checkpoint.stayed, checkpoint.failed) == (frozenset(), 0)
    record = Record()
    assert record.checkpoint() == checkpoint
    assert (record.leaves, record.state, record.last) == ([], None, NO_LAST_SUM)
    with pytest.raises(RunError, match="expected a run that was opened, found none"):
        record.keep_sum(a_sum())


def test_a_simulation_keeps_its_run_in_a_list_and_nobody_stops_it(setting: Setting) -> None:
    job = setting.federation.job()
    outcome = setting.run(job)
    record, study = job.record, setting.federation.study
    kinds = [leaf.kind.value for leaf in record.leaves]
    opened = [*["approval"] * len(BANKS), *["hello"] * len(BANKS), "opening"]
    assert kinds[: 2 * len(BANKS) + 1] == opened
    released = ["request", *["commitment"] * len(BANKS), *["reply"] * len(BANKS), "sum"]
    assert kinds[3 * len(BANKS) + 1 :] == [
        *released,
        *[*released, "parameters"] * study.training.steps,
        *released,
        "metrics",
    ]
    assert record.run.due is LeafKind.MODEL
    record.keep_model(parameters_to_bytes(outcome.parameters))
    assert record.run.done
    assert record.run.model == bytes_hash(parameters_to_bytes(outcome.parameters))
    assert record.stopping() is False


def test_where_a_run_was_interrupted_follows_from_its_state(setting: Setting) -> None:
    job = setting.federation.job()

    def stop(state: TrainingState, total: DecodedSum) -> None:
        raise ConnectionError(state.step, total.attempt)

    job.on_step = stop
    with pytest.raises(ConnectionError):
        setting.run(job)
    state = job.record.run
    summed = RunCheckpoint.of(None, state)
    assert (summed.answered, summed.stayed, summed.failed) == (True, frozenset(), 0)
    requests = [leaf for leaf in job.record.leaves if leaf.kind is LeafKind.REQUEST]
    assert summed.request == requests[-1].content
    assert RunCheckpoint.of(None, None) == RunCheckpoint()

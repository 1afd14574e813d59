"""What is kept of a run is told in order; a simulation keeps nothing and begins anew."""

import numpy as np

from fieldfare.server.run.record import NoRecord, Opening, Record, Standing, Sum
from fieldfare.shared.run.last_sum import NO_LAST_SUM, LastSum
from fieldfare.shared.run.optimizer import TrainingState


def a_sum() -> Sum:
    return Sum(
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
    standing = Standing()
    assert (standing.opening, standing.state, standing.metrics) == (None, None, None)
    assert (standing.last, standing.request, standing.answered) == (NO_LAST_SUM, b"", True)
    assert (standing.debits, standing.failed, standing.done) == ({}, 0, False)


def test_a_simulation_keeps_nothing_and_nobody_stops_it() -> None:
    record: Record = NoRecord()
    state = TrainingState.start(np.zeros(2))
    record.opening(Opening(b"opening", ()))
    record.agreed(Opening(b"opening", (), (b"offer",)))
    record.requested(b"R")
    record.failed({"bank-a": b"reply"}, costs=True)
    record.summed(a_sum(), state)
    record.evaluated(a_sum(), "{}")
    record.heard("bank-a", "answered")
    record.answered_hello("bank-a", "approved", b"approval")
    record.waiting_for(["bank-b"])
    assert record.stopping() is False
    standing = record.standing()
    assert (standing.opening, standing.state, standing.request) == (None, None, b"")

"""The benchmark measures real custodians in processes of their own, and adds up."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.benchmarks.custodian import (
    MEASURED,
    TimedSums,
    institutions,
    made_up,
    measure_in,
    timed_release,
    timed_reveal,
)

from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, Refusal
from fieldfare.shared.study.file import load_study


@pytest.mark.promises
def test_two_processes_answer_and_their_sums_are_timed() -> None:
    with tempfile.TemporaryDirectory(prefix="ff-") as folder:  # short: it holds sockets
        found = measure_in(Path(folder), units=2000, steps=4)
        assert all((Path(folder) / f"{name}.sqlite").stat().st_size for name in MEASURED)
    assert 0 < found["sum_milliseconds"] < found["call_milliseconds"]
    assert found["beside_milliseconds"] <= found["beside_milliseconds_95"]
    assert found["beside_milliseconds"] <= found["beside_milliseconds_most"]


def test_timed_sums_are_the_sums(tmp_path: Path) -> None:
    made, _ = institutions(tmp_path, 1000, 4)
    sums = made_up(load_study(made[0].study), 1000, seed=1).training
    seconds: list[float] = []
    timed = TimedSums(sums, seconds)
    parameters = np.zeros(len(sums.gradient_sum(np.zeros(401))))
    assert np.array_equal(timed.gradient_sum(parameters), sums.gradient_sum(parameters))
    assert np.array_equal(timed.plain_gradient(parameters), sums.plain_gradient(parameters))
    assert len(seconds) == 1


class Refuses:
    """A port at which both messages of every release are refused."""

    def release(
        self, request: bytes, parameters: bytes, last: LastSum
    ) -> CommitmentReply | Refusal:
        del request, parameters, last
        return Refusal(RefusalCode.BUDGET_EXHAUSTED)

    def reveal(self, request: bytes, statements: Sequence[bytes]) -> bytes | Refusal:
        del request, statements
        return Refusal(RefusalCode.BUDGET_EXHAUSTED)


def test_a_refusal_is_no_figure() -> None:
    with pytest.raises(RunError, match="budget_exhausted"):
        timed_release(Refuses(), b"", b"", NO_LAST_SUM)  # type: ignore[arg-type]
    with pytest.raises(RunError, match="budget_exhausted"):
        timed_reveal(Refuses(), b"", [])  # type: ignore[arg-type]

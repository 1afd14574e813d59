"""The service: places, phases, statuses, and what is left when it stops."""

import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, Final

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.bench import NAMES, Bench, MakeBench, Run, make_study, make_sums
from tests.support.network.calling import connected
from tests.support.network.served import QUICK, Gated, hostile_channel, raw, serving, status_of

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.wire.calls import CALLS, SERVICE, path_of
from fieldfare.client.wire.frames import encode
from fieldfare.client.wire.service import ServiceLimits, TimeLimits, _Boundary, time_limits
from fieldfare.shared.errors import UsageError
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.system.sockets import UnixSocket

Code = grpc.StatusCode
RECORD: Final = "customer 4711"


@contextmanager
def at(bench: Bench, room: Path, limits: ServiceLimits | None = None) -> Iterator[grpc.Channel]:
    """A raw channel to bank-b's custodian."""
    with (
        serving(bench.custodian("bank-b"), UnixSocket(room), limits),
        hostile_channel(room) as channel,
    ):
        yield channel


def question(bench: Bench, run: Run, **changes: object) -> bytes:
    request = run.request().model_copy(update=changes)
    asked = {"request": bench.sign(request), "parameters": bench.parameters()}
    return encode(CALLS[Call.RELEASE].question, asked)


def with_training(make_bench: MakeBench, training: Any) -> Bench:
    """A federation in which bank-b's training sum is somebody's own."""
    study = make_study()
    sums = {name: make_sums(study, 100, seed=i) for i, name in enumerate(NAMES)}
    sums["bank-b"] = replace(sums["bank-b"], training=training)
    return make_bench(study, sums)


@pytest.fixture
def gated(make_bench: MakeBench) -> tuple[Bench, Gated]:
    gate = Gated(model_for(make_study()).vectors.entries)
    return with_training(make_bench, gate), gate


def hello(bench: Bench) -> bytes:
    return encode(CALLS[Call.HELLO].question, {"study": bench.study.id.encode(), "last_reply": b""})


def describes(bench: Bench, channel: grpc.Channel) -> grpc.StatusCode:
    return status_of(raw(channel, path_of(Call.HELLO)).future(hello(bench), timeout=60))


def until(condition: Any, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


# -- bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", Call)
def test_a_frame_has_a_largest_size(call: Call, shared: Bench, room: Path) -> None:
    size = CALLS[call].largest
    with at(shared, room) as channel:
        ask = raw(channel, path_of(call))
        assert status_of(ask.future(bytes(size))) is Code.OK  # the refusal `malformed`
        too_large = ask.future(bytes(size + 1))
        assert status_of(too_large) is Code.RESOURCE_EXHAUSTED
        assert str(size) in too_large.details()
        assert describes(shared, channel) is Code.OK


def test_no_message_at_all_is_said(shared: Bench, room: Path) -> None:
    with at(shared, room) as channel:
        stream: Any = channel.stream_unary(path_of(Call.RELEASE))
        assert status_of(stream.future(iter([]))) is Code.INVALID_ARGUMENT
        assert describes(shared, channel) is Code.OK


def test_a_second_message_is_never_read(shared: Bench, room: Path) -> None:
    with at(shared, room) as channel:
        two: Any = channel.stream_unary(path_of(Call.HELLO))
        answer = two(iter([hello(shared), b"\xff"]), timeout=60)
        assert "approval" in decode_answer(Call.HELLO, answer)


@pytest.mark.parametrize(
    "path",
    [
        f"/{SERVICE}/approve",
        f"/{SERVICE}/Release",
        "/fieldfare.custodian.v1.Admin/Approve",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Check",
        "/",
    ],
)
def test_there_is_no_other_call(path: str, shared: Bench, room: Path) -> None:
    with at(shared, room) as channel:
        assert status_of(raw(channel, path).future(b"")) is Code.UNIMPLEMENTED


def test_nothing_that_is_compressed_is_read(shared: Bench, room: Path) -> None:
    """200 MB that travel as 200 kB."""
    with at(shared, room) as channel:
        bomb = raw(channel, path_of(Call.RELEASE)).future(
            bytes(200_000_000), compression=grpc.Compression.Gzip
        )
        assert status_of(bomb) is Code.UNIMPLEMENTED
        assert describes(shared, channel) is Code.OK


# -- time --------------------------------------------------------------------------------------


def held_open(channel: grpc.Channel, release: threading.Event) -> Any:
    """A call whose message does not come."""

    def never() -> Iterator[bytes]:
        release.wait(120)
        yield from ()

    stream: Any = channel.stream_unary(path_of(Call.RELEASE))
    return stream.future(never())


def test_a_message_that_does_not_come_costs_its_place_only_for_a_while(
    shared: Bench, room: Path
) -> None:
    done = threading.Event()
    with at(shared, room, QUICK) as channel, hostile_channel(room) as other:
        calls: list[Any] = []

        def full() -> bool:
            calls.append(held_open(other, done))
            return describes(shared, channel) is Code.RESOURCE_EXHAUSTED

        assert until(full)
        ended = Counter(map(status_of, calls))
        assert ended[Code.CANCELLED] >= QUICK.calls
        assert set(ended) <= {Code.CANCELLED, Code.RESOURCE_EXHAUSTED}  # who found no place left
        assert until(lambda: describes(shared, channel) is Code.OK)
        done.set()


def keeps_an_answer(bench: Bench, run: Run) -> bool:
    """Say whether the bank's answer waits for its opening, undebited."""
    ledger = bench.ledger("bank-b")
    return (
        ledger.waiting(bench.study.id, run.federation.run) is not None
        and ledger.position().sequence == 0
    )


def test_a_turn_that_does_not_come_is_said(gated: tuple[Bench, Gated], room: Path) -> None:
    bench, gate = gated
    run = bench.open_run()
    with at(bench, room, ServiceLimits(turn_seconds=0.5)) as channel:
        ask = raw(channel, path_of(Call.RELEASE))
        first = ask.future(question(bench, run))
        assert gate.begun.wait(60)
        assert status_of(ask.future(question(bench, run))) is Code.DEADLINE_EXCEEDED
        gate.gate.set()
        assert status_of(first) is Code.OK
        assert status_of(ask.future(question(bench, run))) is Code.OK
    assert gate.sums == 1
    assert keeps_an_answer(bench, run)


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[grpc.ServicerContext]:
    """The calls whose messages have arrived, as the service has them."""
    found: list[grpc.ServicerContext] = []
    in_turn = _Boundary._in_turn

    def watched(
        boundary: _Boundary, call: str, frame: bytes, context: grpc.ServicerContext
    ) -> bytes | None:
        found.append(context)
        return in_turn(boundary, call, frame, context)

    monkeypatch.setattr(_Boundary, "_in_turn", watched)
    return found


def test_nothing_is_done_for_a_caller_that_went_away(
    gated: tuple[Bench, Gated], room: Path, arrived: list[grpc.ServicerContext]
) -> None:
    bench, gate = gated
    run = bench.open_run()
    with at(bench, room) as channel:
        ask = raw(channel, path_of(Call.RELEASE))
        first = ask.future(question(bench, run))
        assert gate.begun.wait(60)
        with hostile_channel(room) as other:
            gone = raw(other, path_of(Call.RELEASE)).future(question(bench, run, attempt=1))
            assert until(lambda: len(arrived) == 2)  # it waits for its turn
        assert status_of(gone) is Code.CANCELLED
        assert until(lambda: not arrived[1].is_active())
        gate.gate.set()
        assert status_of(first) is Code.OK
    assert gate.sums == 1
    assert keeps_an_answer(bench, run)


def test_a_callers_own_deadline_ends_its_wait(
    gated: tuple[Bench, Gated], room: Path, arrived: list[grpc.ServicerContext]
) -> None:
    bench, gate = gated
    run = bench.open_run()
    with at(bench, room) as channel:
        ask = raw(channel, path_of(Call.RELEASE))
        first = ask.future(question(bench, run))
        assert gate.begun.wait(60)
        late = ask.future(question(bench, run, attempt=1), timeout=0.5)
        assert status_of(late) is Code.DEADLINE_EXCEEDED
        assert until(lambda: not any(call.is_active() for call in arrived[1:]))
        gate.gate.set()
        assert status_of(first) is Code.OK
    assert gate.sums == 1


# -- defects -----------------------------------------------------------------------------------


class Defect:
    """Sums with a mistake in them, whose message would give a record away."""

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        raise ValueError(RECORD, parameters)

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        raise NotImplementedError


def test_a_defect_says_nothing(
    make_bench: MakeBench, room: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = with_training(make_bench, Defect())
    run = bench.open_run()
    with caplog.at_level(logging.DEBUG), at(bench, room) as channel:
        call = raw(channel, path_of(Call.RELEASE)).future(question(bench, run))
        assert status_of(call) is Code.INTERNAL
        assert call.details() == ""
        assert not call.trailing_metadata()
        assert describes(bench, channel) is Code.OK
    assert "release failed: ValueError" in caplog.text
    assert RECORD not in caplog.text
    assert all(record.exc_info is None for record in caplog.records)
    assert bench.ledger("bank-b").spent() == 0


# -- start and stop ----------------------------------------------------------------------------


def test_the_name_appears_when_it_is_answered_and_goes_with_it(shared: Bench, room: Path) -> None:
    with serving(shared.custodian("bank-b"), UnixSocket(room)), connected(room) as remote:
        assert isinstance(remote.describe(shared.study.id), HelloAnswer)
    assert not room.exists()


def test_one_custodian_to_a_socket(shared: Bench, room: Path) -> None:
    with (
        serving(shared.custodian("bank-b"), UnixSocket(room)),
        connected(room) as remote,
    ):
        with (
            pytest.raises(UsageError, match="expected no process that serves"),
            serving(shared.custodian("bank-c"), UnixSocket(room)),
        ):
            pass
        described = remote.describe(shared.study.id)
        assert isinstance(described, HelloAnswer)
        assert b'"bank-b"' in described.approval


@pytest.mark.parametrize("name", ["a b", "%41", "q?x#y", "\N{SNOWMAN}", "a:b"])
def test_any_path_will_do(name: str, shared: Bench, room: Path) -> None:
    path = room.parents[1] / name / "s"
    with serving(shared.custodian("bank-b"), UnixSocket(path)), connected(path) as remote:
        assert path.is_socket()
        assert isinstance(remote.describe(shared.study.id), HelloAnswer)


@pytest.mark.parametrize("stop_seconds", [60.0, 0.1])
def test_a_release_in_work_is_finished_before_the_service_ends(
    stop_seconds: float, gated: tuple[Bench, Gated], room: Path
) -> None:
    """Whoever closes the ledger next closes it after the commit; the caller may be cut off."""
    bench, gate = gated
    run = bench.open_run()
    limits = ServiceLimits(stop_seconds=stop_seconds)
    with hostile_channel(room) as channel:
        with serving(bench.custodian("bank-b"), UnixSocket(room), limits):
            call = raw(channel, path_of(Call.RELEASE)).future(question(bench, run))
            assert gate.begun.wait(60)
            if stop_seconds > 1:
                threading.Timer(0.5, gate.gate.set).start()
            else:  # once the caller was cut off
                call.add_done_callback(lambda _: gate.gate.set())
        assert keeps_an_answer(bench, run)
        assert (status_of(call) is Code.OK) == (stop_seconds > 1)


def test_the_end_does_not_wait_for_calls_that_never_come(shared: Bench, room: Path) -> None:
    done = threading.Event()
    with hostile_channel(room) as channel:
        with serving(
            shared.custodian("bank-b"),
            UnixSocket(room),
            ServiceLimits(arrive_seconds=120, stop_seconds=0.2),
        ):
            call = held_open(channel, done)
            time.sleep(0.2)
        assert status_of(call) in {Code.CANCELLED, Code.UNAVAILABLE}
        done.set()


def test_serving_can_be_waited_for(shared: Bench, room: Path) -> None:
    with serving(shared.custodian("bank-b"), UnixSocket(room)) as service:
        service.wait(0.01)
        assert service.port == 0


def test_the_process_with_the_records_holds_no_flower() -> None:
    """What is not loaded there cannot be reached from a socket."""
    check = (
        "import sys, fieldfare.client.wire.service; "
        "sys.exit(any(name.partition('.')[0] == 'flwr' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# -- what takes too long -----------------------------------------------------------------------


@pytest.fixture
def limits() -> Iterator[TimeLimits]:
    with time_limits() as kept:
        yield kept


def test_a_limit_ends_what_is_due_once(limits: TimeLimits) -> None:
    ended: list[float] = []
    done = Event()
    began = time.monotonic()

    def end() -> None:
        ended.append(time.monotonic() - began)
        done.set()

    limits.set("call", 0.05, end)
    assert done.wait(60)
    time.sleep(0.1)
    assert len(ended) == 1
    assert ended[0] >= 0.05


def test_a_limit_that_is_cleared_or_replaced_ends_nothing() -> None:
    early, late, other = Event(), Event(), Event()
    limits = TimeLimits()  # nobody looks yet: none of them can be due before it is cleared
    limits.set("cleared", 0.05, early.set)
    limits.set("replaced", 0.05, early.set)
    limits.clear("cleared")
    limits.clear("never set")
    limits.set("replaced", 0.2, late.set)
    limits.set("other", 0.05, other.set)
    thread = threading.Thread(target=limits.run)
    thread.start()
    assert other.wait(60)
    assert late.wait(60)
    limits.close()
    thread.join()
    assert not early.is_set()


def test_the_sooner_of_two_limits_is_not_late(limits: TimeLimits) -> None:
    sooner = Event()
    limits.set("later", 60.0, Event().set)
    time.sleep(0.05)  # it sleeps until then
    limits.set("sooner", 0.05, sooner.set)
    assert sooner.wait(30)


def test_many_limits_take_one_thread(limits: TimeLimits) -> None:
    before = {*threading.enumerate()}
    for key in range(1000):
        limits.set(key, 60.0, Event().set)
    assert {*threading.enumerate()} <= before


def test_nothing_is_ended_after_the_end() -> None:
    ended = Event()
    with time_limits() as limits:
        limits.set("call", 1.0, ended.set)
    assert not ended.wait(1.2)
    assert "time limits" not in {thread.name for thread in threading.enumerate()}

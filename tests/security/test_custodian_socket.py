"""Whoever has the socket gets what was agreed and nothing else, and the custodian still serves.

The outer zone is taken: the client here has the socket, the coordinator's key where an attack
needs it, and no manners. After every attack the ledger verifies and an honest call is answered.
"""

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.attacks.closing import HOSTILE
from tests.support.federations.bench import (
    NAMES,
    STEPS,
    Bench,
    MakeBench,
    OpenedVector,
    Run,
    make_study,
    make_sums,
)
from tests.support.network.calling import Caller, connected, question
from tests.support.network.raw_http2 import HEADERS, PREFACE, RST_STREAM, RawConnection
from tests.support.network.served import QUICK, Gated, hostile_channel, raw, served, status_of
from tests.support.properties import SHARING
from tests.support.rows import one_of_each

from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.node.client_app import decode_answer
from fieldfare.client.wire.calls import path_of
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.protocol.messages import Refusal, ReleaseKind
from fieldfare.simulations.federation.federation import LocalFederation

NAME: Final = "bank-b"
Code = grpc.StatusCode
# What gRPC itself keeps out; the table's own code is what the custodian would have said.
TOO_LARGE_FOR_A_FRAME: Final = {"seventeen megabytes"}


class Besieged:
    """A served custodian, and what it has to be able to do after an attack."""

    def __init__(self, bench: Bench, path: Path, remote: Caller) -> None:
        self.bench, self.path, self.remote = bench, path, remote

    @property
    def ledger(self) -> Ledger:
        return self.bench.ledger(NAME)

    def question(self, run: Run, **changes: Any) -> bytes:
        request = run.request(**changes)
        asked = {"request": self.bench.sign(request), "parameters": self.bench.parameters()}
        return question(Call.RELEASE, asked)

    def check(self) -> None:
        """The ledger verifies; an honest run is opened, agreed on and answered, once."""
        self.ledger.verify()
        run = self.bench.open_run()
        before = self.ledger.position()
        first = run.answer(NAME, run.request())
        assert run.answer(NAME, run.request()) == first
        assert self.ledger.position().sequence == before.sequence + 1


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Besieged]:
    """One service for all attacks: whoever attacks does not wait for a fresh one either."""
    study = make_study(privacy={"spare_releases": 1000}, evaluation={"spare_releases": 10})
    sums = {name: make_sums(study, 100, seed=index) for index, name in enumerate(NAMES)}
    folder = tmp_path_factory.mktemp("ledgers")
    with (
        tempfile.TemporaryDirectory(prefix="ff-") as short,
        LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation,
    ):
        bench, path = Bench(federation, sums), Path(short) / "run" / "custodian.sock"
        with served(bench, NAME, path, QUICK) as remote:
            yield Besieged(bench, path, remote)


@pytest.fixture
def besieged(fortress: Besieged) -> Iterator[Besieged]:
    yield fortress
    assert until(lambda: serves(fortress))
    fortress.check()


def serves(besieged: Besieged) -> bool:
    try:
        return isinstance(besieged.remote.describe(besieged.bench.study.id), HelloAnswer)
    except RunError:
        return False


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# -- what is said ------------------------------------------------------------------------------


def kind(row: str) -> tuple[RefusalCode, bool]:
    return HOSTILE[row].code, row in TOO_LARGE_FOR_A_FRAME


@pytest.mark.parametrize("row", one_of_each(HOSTILE, kind))
def test_every_hostile_call_gets_its_code_over_the_socket(
    row: str, fortress: Besieged, make_bench: MakeBench, room: Path
) -> None:
    """Other studies, changed parameters, smaller rosters, forged participants, and so on."""
    hostile, bench = HOSTILE[row], fortress.bench
    with ExitStack() as stack:
        if hostile.study:
            bench = make_bench(make_study(**hostile.study))
            stack.enter_context(served(bench, NAME, room))
        send = hostile.build(bench.open_run(), NAME)
        before = bench.ledger(NAME).position()
        if row in TOO_LARGE_FOR_A_FRAME:
            with pytest.raises(RunError, match="RESOURCE_EXHAUSTED"):
                send()
        else:
            assert send() == Refusal(hostile.code)
        assert bench.ledger(NAME).position() == before
        bench.ledger(NAME).verify()
        assert isinstance(bench.custodian(NAME).describe(bench.study.id), HelloAnswer)


def test_no_more_is_released_than_was_approved(make_bench: MakeBench, room: Path) -> None:
    """Every run, step, attempt and kind that there is, asked for until nothing comes any more."""
    study = make_study(privacy={"spare_releases": 1}, evaluation={"spare_releases": 0})
    bench = make_bench(study)
    released: Counter[str] = Counter()
    with served(bench, NAME, room, QUICK) as remote:
        for turn in range(4):
            run = bench.open_run()
            # The first run tries nothing again: it comes to its evaluation, a side of its own.
            attempts = study.aggregation.attempts if turn else 1
            for step in range(STEPS + 1):
                kind = ReleaseKind.TRAINING if step < STEPS else ReleaseKind.EVALUATION
                for attempt in range(attempts):
                    content = run.best_guess(kind, step)
                    request = run.request(kind, step, attempt, parameters=content)
                    answer = run.ask(NAME, request)
                    released[answer.code.value if isinstance(answer, Refusal) else kind.value] += 1
        besieged = Besieged(bench, room, remote)
        assert besieged.ledger.spent() <= bench.plan.study_limit
        costs, limit = besieged.ledger.costs(study.id), bench.plan.study_limit
        for terms in (bench.plan.training, bench.plan.evaluation):  # each side is used up
            assert costs.room(terms.side, limit) < terms.cost
        assert besieged.ledger.position().sequence == released["training"] + released["evaluation"]
        exhausted = RefusalCode.BUDGET_EXHAUSTED.value
        assert exhausted in released
        assert set(released) <= {"training", "evaluation", exhausted}
        besieged.ledger.verify()
        assert serves(besieged)


def test_huge_vectors_are_refused_by_their_numbers(besieged: Besieged) -> None:
    run = besieged.bench.open_run()
    entries = besieged.bench.plan.training.vectors.entries
    for wanted in (entries + 1, 2**30, 2**53 - 1):
        request = run.request(entries=wanted)
        assert run.ask(NAME, request) == Refusal(RefusalCode.WRONG_TERMS)
    content = bytes(15 * 2**20)
    request = run.request(parameters=content)
    assert run.ask(NAME, request, content) == Refusal(RefusalCode.BAD_PARAMETERS)


# -- how it is said ----------------------------------------------------------------------------


def test_a_thousand_calls_at_once(besieged: Besieged) -> None:
    """Few are in work; the others are refused, and all of them together cost one debit."""
    run = besieged.bench.open_run()
    question, before = besieged.question(run), besieged.ledger.position()
    with ExitStack() as stack:
        channels = [stack.enter_context(hostile_channel(besieged.path)) for _ in range(20)]
        calls = [
            raw(channel, path_of(Call.RELEASE)).future(question)
            for _ in range(50)
            for channel in channels
        ]
        ended = Counter(status_of(call) for call in calls)
        answers = {call.result() for call in calls if status_of(call) is Code.OK}
    assert sum(ended.values()) == 1000
    assert ended[Code.OK] > 0
    # On a busy machine calls are ended too whose message or whose turn did not come in time.
    busy = {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.CANCELLED}
    assert set(ended) <= {Code.OK, *busy}
    assert len(answers) == 1
    workers = [t for t in threading.enumerate() if t.name.startswith("custodian")]
    assert len(workers) <= QUICK.calls
    (committed,) = (decode_answer(Call.RELEASE, one) for one in answers)
    assert besieged.ledger.position() == before
    assert run.answer(NAME, run.request()).commitment == committed["commitment"]
    assert besieged.ledger.position().sequence == before.sequence + 1


def test_hundreds_of_connections_that_say_nothing(besieged: Besieged) -> None:
    """The ledger opens files too: idle connections must not use them up."""
    assert serves(besieged)
    before = open_files()
    with ExitStack() as stack:
        count = 400  # this process holds both ends, and 1,024 files
        connections = [stack.enter_context(RawConnection(besieged.path)) for _ in range(count)]
        time.sleep(0.2)
        assert until(lambda: open_files() - before - count < 100)
        assert serves(besieged)  # over the connection that it had
        besieged.check()
        assert all(c.closed_by_the_other_side() for c in connections)
        with connected(besieged.path) as newcomer:
            assert until(lambda: serves(Besieged(besieged.bench, besieged.path, newcomer)))


def test_half_open_calls_lose_their_places(besieged: Besieged) -> None:
    """Headers and no message, until no place is left; in one, half of a message."""
    question = besieged.question(besieged.bench.open_run())
    with RawConnection(besieged.path) as connection:
        connection.greet()
        connection.send_half(connection.begin(path_of(Call.RELEASE)), question)

        def full() -> bool:
            connection.begin(path_of(Call.RELEASE))
            return not serves(besieged)

        assert until(full)
        assert until(lambda: serves(besieged))


def test_answers_that_nobody_reads_lose_their_places(make_bench: MakeBench, room: Path) -> None:
    """A window of zero: gRPC would keep the answer, and its memory, for ever."""
    bench = make_bench()
    with served(bench, NAME, room, QUICK) as remote:
        besieged = Besieged(bench, room, remote)
        question = besieged.question(bench.open_run())
        with RawConnection(room) as connection:
            connection.greet(window=0)

            def full() -> bool:
                connection.send(connection.begin(path_of(Call.RELEASE)), question)
                return not serves(besieged)

            assert until(full)
            assert until(lambda: serves(besieged))
            frames = connection.frames(enough=lambda found: len(resets(found)) >= QUICK.calls)
        assert len(resets(frames)) >= QUICK.calls  # the others were refused, and are over
        besieged.check()


def resets(frames: list[tuple[int, int]]) -> set[int]:
    return {stream for kind, stream in frames if kind == RST_STREAM}


def test_a_caller_that_leaves_in_the_middle_gets_the_same_bytes_later(
    make_bench: MakeBench, room: Path
) -> None:
    study = make_study()
    sums = {name: make_sums(study, 100, seed=i) for i, name in enumerate(NAMES)}
    gate = Gated(sums[NAME].model.vectors.entries)
    sums[NAME] = replace(sums[NAME], training=gate)
    bench = make_bench(study, sums)
    with served(bench, NAME, room) as remote:
        besieged = Besieged(bench, room, remote)
        run = bench.open_run()
        request = run.request()
        with hostile_channel(room) as channel:
            gone = raw(channel, path_of(Call.RELEASE)).future(besieged.question(run))
            assert gate.begun.wait(60)
        assert status_of(gone) is Code.CANCELLED
        waits = partial(besieged.ledger.waiting, request.study, request.run)
        assert waits() is None
        gate.gate.set()
        assert until(lambda: waits() is not None)
        waiting = waits()
        assert waiting is not None
        assert run.commit(NAME, request) == CommitmentReply(waiting.commitment, waiting.vector)
        answer = run.answer(NAME, request)
        assert (answer.seed, answer.vector) == (waiting.seed.hex(), waiting.vector)
        assert gate.sums == 1
        assert besieged.ledger.spent() == bench.plan.training.cost
        besieged.check()


def test_parallel_attempts_at_one_step_are_one_debit_each(besieged: Besieged) -> None:
    """Different requests for one step race; each attempt is answered once or refused."""
    run = besieged.bench.open_run()
    before = besieged.ledger.position().sequence
    attempts = besieged.bench.study.aggregation.attempts
    content = besieged.bench.parameters()
    others = [name for name in NAMES if name != NAME]
    circles = [NAMES, *((NAME, *others[:index], *others[index + 1 :]) for index in range(3))]

    def ask(index: int) -> OpenedVector | Refusal:
        request = run.request(attempt=index % attempts, names=circles[index % 4])
        with connected(besieged.path):
            while True:
                try:
                    return run.ask(NAME, request, content)
                except RunError:
                    time.sleep(0.05)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    released = sum(isinstance(answer, OpenedVector) for answer in answers)
    assert 1 <= released <= attempts
    assert besieged.ledger.position().sequence == before + released


# -- noise on the wire -------------------------------------------------------------------------

FUZZ: Final = settings(SHARING, max_examples=60)


@FUZZ
@given(content=st.binary(max_size=200))
def test_any_bytes_on_the_socket(content: bytes, besieged: Besieged) -> None:
    with RawConnection(besieged.path) as connection:
        connection.socket.sendall(content)


@FUZZ
@given(frames=st.lists(st.binary(min_size=9, max_size=60), max_size=5))
def test_any_bytes_after_the_greeting(frames: list[bytes], besieged: Besieged) -> None:
    with RawConnection(besieged.path) as connection:
        connection.socket.sendall(PREFACE + b"".join(frames))


@FUZZ
@given(
    call=st.sampled_from(Call),
    frame=st.binary(max_size=300),
)
def test_any_message_of_any_call(call: Call, frame: bytes, besieged: Besieged) -> None:
    before = besieged.ledger.position()
    with hostile_channel(besieged.path) as channel:
        assert status_of(raw(channel, path_of(call)).future(frame)) is Code.OK  # a refusal
    assert besieged.ledger.position() == before


def test_a_greeting_is_answered_so_that_noise_is_known_to_arrive(besieged: Besieged) -> None:
    with RawConnection(besieged.path) as connection:
        connection.greet()
        stream = connection.begin(path_of(Call.HELLO))
        connection.send(stream, b"")
        answered = (HEADERS, stream)
        assert answered in connection.frames(enough=lambda found: answered in found)
    with RawConnection(besieged.path) as connection:
        connection.socket.sendall(PREFACE + b"\xff" * 100)
        assert connection.closed_by_the_other_side()

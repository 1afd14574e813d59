"""The node's rules, and its loop over a SuperLink that lives in memory."""

import math
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.node.client_app import client_app
from fieldfare.client.node.fleet import (
    APP_FAILED,
    BUNDLE_REFUSED,
    Arrival,
    LinkError,
    ReportedRun,
    RunOverError,
)
from fieldfare.client.node.node import (
    LONGEST_PAUSE,
    LOOKS,
    MESSAGE_TYPES,
    MOST_OBJECTS,
    MOST_RUNS,
    OBJECTIONS,
    SHORTEST_PAUSE,
    Node,
    objection_to,
    pause_after,
)
from fieldfare.client.wire.calls import CALLS, CustodianPort
from fieldfare.client.wire.frames import encode
from fieldfare.shared.errors import RefusalCode, RunError
from fieldfare.shared.protocol.flower_record import RECORD, REFUSAL, Call
from fieldfare.shared.protocol.messages import Refusal

BUNDLE: Final = "ab" * 32
LISTED: Final = frozenset({BUNDLE})
NODE: Final = 7
HELLO: Final = Call.HELLO.message_type
FINE: Final = ReportedRun(BUNDLE, {})


# -- the rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", Call)
def test_every_call_of_the_protocol_passes(call: Call) -> None:
    assert objection_to(call.message_type, MOST_OBJECTS, FINE, LISTED) == ""


@pytest.mark.parametrize("bundle", ["", "cd" * 32, BUNDLE.upper(), BUNDLE[:-1], BUNDLE + "0"])
def test_a_bundle_is_on_the_list_or_not(bundle: str) -> None:
    assert objection_to(HELLO, 3, ReportedRun(bundle, {}), LISTED) == "bundle"


def test_an_empty_list_answers_no_run() -> None:
    assert objection_to(HELLO, 3, ReportedRun("", {}), frozenset()) == "bundle"


@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"study": "", "run": ""},
        {"study": "5f" * 32},
        {"study": "5f" * 32, "run": "monday-1_a.b"},
        {"run": "x" * 64},
    ],
)
def test_a_run_may_name_its_study_and_itself(configuration: dict[str, Any]) -> None:
    assert objection_to(HELLO, 3, ReportedRun(BUNDLE, configuration), LISTED) == ""


@pytest.mark.parametrize(
    "configuration",
    [
        *({"study": 1}, {"study": "5f" * 31}, {"study": "5F" * 32}, {"study": "5f" * 32 + "\n"}),
        *({"run": 1}, {"run": "a b"}, {"run": "../x"}, {"run": "x" * 65}, {"run": "x\n"}),
        *(
            {"run": None},
            {"rounds": 3},
            {"job": ""},
            {"Study": ""},
            {"study": "", "run": "", "x": ""},
        ),
    ],
)
def test_a_run_may_set_nothing_else(configuration: dict[str, Any]) -> None:
    assert objection_to(HELLO, 3, ReportedRun(BUNDLE, configuration), LISTED) == "configuration"


@given(
    st.text() | st.sampled_from(["train", "query", "query.hello2", "query.HELLO", " query.hello"])
)
def test_no_other_type_passes(text: str) -> None:
    expected = "" if text in MESSAGE_TYPES else "type"
    assert objection_to(text, 3, FINE, LISTED) == expected


def test_a_message_of_more_than_one_record_is_not_pulled() -> None:
    assert objection_to(HELLO, MOST_OBJECTS + 1, FINE, LISTED) == "size"


def test_a_message_of_one_record_has_as_many_objects() -> None:
    fleet = Memory()
    fleet.put()
    assert fleet.waiting[0][0].objects == MOST_OBJECTS


def test_pauses_grow_from_short_to_long() -> None:
    pauses = [pause_after(seconds) for seconds in range(0, 2000, 10)]
    assert pauses[:3] == [SHORTEST_PAUSE] * 3
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_a_run_is_asked_for_as_often_for_a_step_however_long_one_takes() -> None:
    """With a fixed pause a SuperLink's work for a step grows with the square of its nodes."""
    for rhythm in (1.0, 3.0, 9.0):
        assert pause_after(rhythm / 2, rhythm) == pytest.approx(rhythm / LOOKS)
    assert pause_after(0.1, 0.2) == SHORTEST_PAUSE  # short steps are not waited for longer
    for rhythm in (29.0, 31.0, 500.0):  # or a coordinator that is slow would be asked most of all
        assert pause_after(0.1, rhythm) == LONGEST_PAUSE
    assert pause_after(0.1, 3600.0) == SHORTEST_PAUSE  # a night between two runs is no rhythm
    for rhythm in (0.0, 5.0, 120.0, 3600.0):
        pauses = [pause_after(seconds, rhythm) for seconds in range(0, 2000, 10)]
        assert pauses == sorted(pauses)
        assert pauses[-1] == LONGEST_PAUSE


# -- the loop --------------------------------------------------------------------------------------


class EndError(Exception):
    """Ends a loop that never ends."""


@dataclass
class Memory:
    """A SuperLink in memory: what it holds is what a node gets."""

    runs: dict[int, ReportedRun] = field(default_factory=lambda: {1: FINE})
    node_id: int = NODE
    waiting: list[tuple[Arrival, Message]] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)
    pulled: int = 0
    asked: list[int] = field(default_factory=list)
    ends: bool = False

    def put(self, message_type: str = HELLO, run: int = 1, **records: Any) -> None:
        """A message of a coordinator; by default one that a custodian does not know."""
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = run, run, 1
        chosen: Any = records or {RECORD: {"study": b"x", "last_reply": b""}}
        content: Any = {name: ConfigRecord(record) for name, record in chosen.items()}
        message = Message(RecordDict(content), NODE, message_type)
        message.metadata.__dict__["_message_id"] = f"m{len(self.waiting)}"
        arrival = Arrival(message, 2 + len(content), None)
        self.waiting.append((arrival, message))

    def receive(self) -> Arrival | None:
        if not self.waiting:
            if self.ends:
                raise EndError
            return None
        arrival = self.waiting[0][0]
        TaskIdentity.node_id = NODE
        return arrival

    def run(self, run_id: int) -> ReportedRun:
        self.asked.append(run_id)
        if run_id not in self.runs:
            self.waiting.pop(0)
            raise RunOverError("over")
        return self.runs[run_id]

    def pull(self, arrival: Arrival) -> Message:
        self.pulled += 1
        return next(message for held, message in self.waiting if held is arrival)

    def send(self, reply: Message) -> None:
        self.waiting.pop(0)
        self.sent.append(reply)


class Custodian:
    """One that refuses everything, and can be down or broken."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.contexts = error, list[Context]()

    def ask(self, call: Call, frame: bytes) -> bytes:
        del frame
        if self.error:
            raise self.error
        refusal = Refusal(RefusalCode.UNKNOWN_STUDY).to_bytes()
        return encode(CALLS[call].refused, {REFUSAL: refusal})


def node_at(fleet: Memory, custodian: Custodian | None = None) -> Node:
    found = custodian or Custodian()

    def of(context: Context) -> CustodianPort:
        found.contexts.append(context)
        return found.ask

    return Node(fleet, client_app(of), LISTED)


def test_a_message_is_answered() -> None:
    fleet, custodian = Memory(), Custodian()
    fleet.put()
    assert node_at(fleet, custodian).step()
    (reply,) = fleet.sent
    assert reply.metadata.reply_to_message_id == "m0"
    record: Any = reply.content[RECORD]
    assert dict(record) == {"refusal": Refusal(RefusalCode.UNKNOWN_STUDY).to_bytes()}
    (context,) = custodian.contexts
    assert (context.run_id, context.node_id) == (1, NODE)


def test_nothing_of_the_coordinator_and_nothing_of_before_is_in_the_context() -> None:
    fleet, custodian = Memory({1: ReportedRun(BUNDLE, {"run": "monday"})}), Custodian()
    for _ in range(2):
        fleet.put()
    node = node_at(fleet, custodian)
    assert node.step()
    custodian.contexts[0].state["left"] = ConfigRecord({"here": 1})
    assert node.step()
    first, second = custodian.contexts
    assert first is not second
    assert (len(second.state), second.run_config, second.node_config) == (0, {}, {})


@pytest.mark.parametrize(
    ("rule", "code", "run", "put"),
    [
        ("bundle", BUNDLE_REFUSED, ReportedRun("cd" * 32, {}), {}),
        ("configuration", APP_FAILED, ReportedRun(BUNDLE, {"x": 1}), {}),
        ("type", APP_FAILED, FINE, {"message_type": "train"}),
        ("size", APP_FAILED, FINE, {RECORD: {"a": b""}, "b": {"c": b""}}),
    ],
)
def test_what_is_refused_is_never_pulled(
    rule: str, code: int, run: ReportedRun, put: dict[str, Any]
) -> None:
    fleet, custodian = Memory({1: run}), Custodian()
    fleet.put(**put)
    assert node_at(fleet, custodian).step()
    (reply,) = fleet.sent
    assert (reply.error.code, reply.error.reason) == (code, OBJECTIONS[rule].reason)
    assert fleet.pulled == 0
    assert not custodian.contexts


def test_a_run_is_looked_up_once() -> None:
    fleet = Memory()
    for _ in range(3):
        fleet.put()
    node = node_at(fleet)
    assert [node.step() for _ in range(4)] == [True, True, True, False]
    assert fleet.asked == [1]


def test_runs_that_a_superlink_invents_fill_no_memory() -> None:
    fleet = Memory(dict.fromkeys(range(MOST_RUNS + 10), FINE))
    node = node_at(fleet)
    for run in fleet.runs:
        fleet.put(run=run)
        assert node.step()
        assert len(node._runs) <= MOST_RUNS


@pytest.mark.parametrize("error", [RunError("of n4711"), ZeroDivisionError("of n4711")])
def test_a_failure_is_told_by_its_type_alone(error: Exception) -> None:
    fleet = Memory()
    fleet.put()
    assert node_at(fleet, Custodian(error)).step()
    (reply,) = fleet.sent
    assert reply.error.code == APP_FAILED
    assert reply.error.reason in {"RunError", "RuntimeError"}
    assert "n4711" not in repr(reply.__dict__)


def test_a_message_that_is_lost_does_not_stop_the_next() -> None:
    fleet = Memory()
    fleet.put(run=9)
    fleet.put()
    node = node_at(fleet)
    assert node.step()
    assert not fleet.sent
    assert node.step()
    assert len(fleet.sent) == 1


def test_the_loop_waits_between_looks_and_ends_with_what_is_raised() -> None:
    fleet, slept = Memory(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        fleet.ends = len(slept) == 3

    fleet.put()
    node = node_at(fleet)
    node.sleep, node.monotonic = sleep, iter(range(0, 10_000, 20)).__next__
    with pytest.raises(EndError):
        node.serve()
    assert len(fleet.sent) == 1
    assert len(slept) == 3
    assert slept == sorted(slept)


def test_a_node_that_starts_is_in_no_hurry_and_then_takes_up_the_runs_rhythm() -> None:
    fleet, slept, now = Memory(), list[float](), [0.0]
    arrivals = iter([10.0, 13.0, 16.0])  # messages of a run
    due = [next(arrivals)]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        if now[0] >= due[0]:
            fleet.put()
            due[0] = next(arrivals, math.inf)
        fleet.ends = now[0] > 18.0

    node = node_at(fleet)
    node.sleep, node.monotonic = sleep, lambda: now[0]
    with pytest.raises(EndError):
        node.serve()
    assert len(fleet.sent) == 3
    assert slept[:10] == [LONGEST_PAUSE] * 10
    assert slept[10] == SHORTEST_PAUSE  # nothing is known of the run yet
    assert slept[-1] == pytest.approx(3.0 / LOOKS, rel=0.1)


def test_a_superlink_that_fails_ends_the_loop() -> None:
    fleet = Memory()

    def receive() -> None:
        raise LinkError("status 500")

    fleet.receive = receive  # type: ignore[method-assign]
    with pytest.raises(LinkError):
        node_at(fleet).serve()

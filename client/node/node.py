"""The node: carries messages between the SuperLink and the custodian, in the outer zone.

It holds no record and no key to one; it runs the locally installed ClientApp and nothing
that the coordinator sends. A message that it refuses never reaches the custodian, which checks
everything again (docs/design.md, "Processes and zones").

Edge cases:
    | a message | gets |
    |---|---|
    | of a run whose bundle is not on the institution's list | an error; never pulled |
    | of a run with a setting that is not in `RunConfiguration` | an error; never pulled |
    | of a type that is not one of shared.exchange.Call | an error; never pulled |
    | of more objects than one record of bytes has | an error; never pulled |
    | whose run ended meanwhile, or which did not come whole | nothing |
    | that the custodian did not answer | an error with the type of the failure, no text |
"""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NoReturn, Protocol

from flwr.app import Context, Message, RecordDict
from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.client.node.fleet import (
    APP_FAILED,
    BUNDLE_REFUSED,
    Arrival,
    LinkError,
    ReportedRun,
    RunOverError,
    error_reply,
)
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.protocol.flower_record import Call
from fieldfare.shared.protocol.messages import RunId
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.watch.log import correlated

log = logging.getLogger(__name__)

MESSAGE_TYPES: Final = frozenset(call.message_type for call in Call)
MOST_OBJECTS: Final = 3  # a message, its content and the one record in it
MOST_RUNS: Final = 256  # that are remembered; a SuperLink could invent any number

BUSY_SECONDS: Final = 30.0  # after a message, during which the next one is expected soon
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
LOOKS: Final = 10  # between two messages of a run
NEW_RUN_SECONDS: Final = 600.0  # between two messages; no step takes as long

Answer = Callable[[Message, Context], Message]


class RunConfiguration(BaseModel):
    """The settings that a coordinator may give a run: which run it is, and nothing for a node.

    Attributes:
        study: the study's id, for the ServerApp; empty: none yet.
        run: the run's id, for the ServerApp; empty: the study is only offered.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    study: Hex32 | Literal[""] = ""
    run: RunId | Literal[""] = ""


class Superlink(Protocol):
    """The part of client/node/fleet.py that a node uses."""

    @property
    def node_id(self) -> int:
        """This node's number at the SuperLink."""
        ...

    def receive(self) -> Arrival | None:
        """Return the next message, or None."""
        ...

    def run(self, run_id: int) -> ReportedRun:
        """Return the SuperLink's report on a run."""
        ...

    def pull(self, arrival: Arrival) -> Message:
        """Fetch the content of a message."""
        ...

    def send(self, reply: Message) -> None:
        """Send a reply."""
        ...


@dataclass(frozen=True)
class MessageObjection:
    """Why a message is not answered.

    Attributes:
        code: Flower's error code.
        reason: a fixed text: it depends on the rule alone.
    """

    code: int
    reason: str


def objection_to(message_type: str, objects: int, run: ReportedRun, bundles: frozenset[str]) -> str:
    """Return why a message is not answered, or nothing.

    Args:
        message_type: as announced.
        objects: that its content consists of.
        run: what the SuperLink says of its run.
        bundles: sha256 of the bundles whose runs the institution answers, hex.
    """
    if run.bundle not in bundles:
        return "bundle"
    if not _is_known_configuration(run.configuration):
        return "configuration"
    if message_type not in MESSAGE_TYPES:
        return "type"
    return "size" if objects > MOST_OBJECTS else ""


OBJECTIONS: Final[Mapping[str, MessageObjection]] = {
    "bundle": MessageObjection(
        BUNDLE_REFUSED, "this run's bundle is not on this institution's list"
    ),
    "configuration": MessageObjection(
        APP_FAILED, "this run has settings that this node does not know"
    ),
    "type": MessageObjection(APP_FAILED, "this node does not know this type of message"),
    "size": MessageObjection(APP_FAILED, "expected a message of one record"),
}


def pause_after(idle_seconds: float, rhythm: float = 0.0) -> float:
    """Return seconds to wait before asking again, so many seconds after the last message.

    Short while a run goes on, but a share of its rhythm: asking costs the SuperLink milliseconds,
    and with many nodes steps take longer, so that with a fixed pause its work for a step would
    grow with the square of their number. A node that nobody needs asks once a second.

    Args:
        idle_seconds: since the last message.
        rhythm: seconds between that one and the one before it.
    """
    shortest = SHORTEST_PAUSE
    if rhythm < NEW_RUN_SECONDS:  # else a run has just begun, and shows its rhythm soon
        shortest = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, rhythm / LOOKS))
    if idle_seconds < BUSY_SECONDS:
        return shortest
    return min(LONGEST_PAUSE, max(shortest, SHORTEST_PAUSE * idle_seconds / BUSY_SECONDS))


@dataclass
class Node:
    """One institution's node at one SuperLink.

    Attributes:
        fleet: the SuperLink.
        answer: the locally installed ClientApp.
        bundles: sha256 of the bundles whose runs are answered, hex.
    """

    fleet: Superlink
    answer: Answer
    bundles: frozenset[str]
    tell: Callable[[str, str], None] = lambda *_: None  # a message's type, what became of it
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    _runs: dict[int, ReportedRun] = field(default_factory=dict)

    def serve(self) -> NoReturn:
        """Answer one message after another, until something is raised.

        Raises:
            LinkError: the SuperLink failed in a way that waiting does not fix.
        """
        # As if no call had come for long: twenty nodes that start would else look for a run that
        # is not there yet as often as if they were in the middle of one.
        last, rhythm = -math.inf, math.inf
        while True:
            asked = self.monotonic()
            answered = self.step()
            now = self.monotonic()
            if answered:
                rhythm, last = now - last, now
            else:  # a SuperLink that held the question has waited already
                self.sleep(max(0.0, pause_after(now - last, rhythm) - (now - asked)))

    def step(self) -> bool:
        """Answer one message; False if there was none.

        Raises:
            LinkError: nothing can be received.
        """
        arrival = self.fleet.receive()
        if arrival is None:
            return False
        try:
            self._handle(arrival)
        except (LinkError, RunOverError) as error:  # this message is lost, the next may not be
            self.tell(arrival.envelope.metadata.message_type, "dropped")
            log.warning(
                "run %d: a message was dropped: %s", arrival.envelope.metadata.run_id, error
            )
        return True

    def _handle(self, arrival: Arrival) -> None:
        with correlated(**self._named(arrival.envelope.metadata.run_id)):
            self._carry(arrival)

    def _named(self, run_id: int) -> dict[str, str]:
        """Return study and run as the coordinator calls them, where both can be ids."""
        try:
            named = RunConfiguration.model_validate(dict(self._run(run_id).configuration))
        except ValidationError:
            return {}
        return {name: value for name, value in named.model_dump().items() if value}

    def _carry(self, arrival: Arrival) -> None:
        found = arrival.envelope.metadata
        rule = objection_to(
            found.message_type, arrival.objects, self._run(found.run_id), self.bundles
        )
        if rule:
            objection = OBJECTIONS[rule]
            log.warning("run %d: refused: %s", found.run_id, objection.reason)
            self.fleet.send(error_reply(arrival, objection.code, objection.reason))
            self.tell(found.message_type, "refused")
            return
        message = self.fleet.pull(arrival)
        reply = self._answered(arrival, message)
        self.fleet.send(reply)
        self.tell(found.message_type, "failed" if reply.has_error() else "answered")
        if not reply.has_error():
            # Not how long it took: that hints at how many records there are.
            log.info("run %d: %s answered", found.run_id, found.message_type)

    def _answered(self, arrival: Arrival, message: Message) -> Message:
        found = arrival.envelope.metadata
        # Made anew for every message: nothing is kept from one to the next, and nothing that a
        # coordinator set reaches the app.
        context = Context(
            run_id=found.run_id,
            node_id=self.fleet.node_id,
            node_config={},
            state=RecordDict(),
            run_config={},
        )
        try:
            return self.answer(message, context)
        except (
            FieldfareError,
            RuntimeError,
        ) as error:  # as client/node/client_app.py raises them, no other
            log.warning("run %d: no answer: %s", found.run_id, error.__cause__ or error)
            return error_reply(arrival, APP_FAILED, type(error).__name__)

    def _run(self, run_id: int) -> ReportedRun:
        known = self._runs.get(run_id)
        if known is None:
            known = self.fleet.run(run_id)
            if len(self._runs) >= MOST_RUNS:
                self._runs.clear()
            self._runs[run_id] = known
        return known


def _is_known_configuration(configuration: Mapping[str, Any]) -> bool:
    try:
        RunConfiguration.model_validate(dict(configuration))
    except ValidationError:
        return False
    return True

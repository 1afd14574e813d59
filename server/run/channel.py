"""One exchange with many institutions over a Flower Grid, with a deadline.

Flower's Message API only. Messages are pushed and pulled here, by a short poll, in
place of Flower's own loop that sleeps seconds between polls. A message can be lost with
the node that had it, and an error may mean that a custodian is being started: the same
content is sent again until the deadline, which is free, because institutions answer the
same bytes with the same bytes.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fieldfare.shared.protocol.flower_record import RECORD, Call, Content

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.03
POLL_SHARE: Final = 0.05  # of the time since the question, where that is longer
MOST_POLL_SECONDS: Final = 0.5
LEAST_POLL_SECONDS: Final = 0.001
AFTER_ERROR_SECONDS: Final = 1.0  # before the same content is sent again
SILENT_SHARE: Final = 0.25  # of the deadline without an answer, after which it is sent again
# Flower's ErrorCode.INVALID_FAB: the institution's list does not have this run's bundle, and
# will not have it a second later.
FINAL_ERRORS: Final = frozenset({7})
UNLISTED: Final = (
    "its node does not list this run's bundle: it joins again with this coordinator's invitation"
)


@dataclass
class _Exchange:
    """One exchange: the sent messages, their receivers, and the times to send them again."""

    messages: dict[str, int] = field(default_factory=dict)  # node by message id
    again: dict[int, float] = field(default_factory=dict)  # time of the next sending, by node
    answers: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    unlisted: set[int] = field(default_factory=set)

    def due(self, now: float) -> list[int]:
        return [node for node, moment in self.again.items() if moment <= now]

    def take(self, reply: Message, now: float) -> None:
        """Take one reply; late ones and strangers' are passed over."""
        node = self.messages.pop(reply.metadata.reply_to_message_id, None)
        if node is None or node not in self.again:
            return
        if not reply.has_error():
            self.answers[node] = _content_of(reply)
            del self.again[node]
            return
        # Flower's code and its text, which is the node's: a fixed one, or a type's name.
        log.info("node %d: error %d: %s", node, reply.error.code, reply.error.reason)
        if reply.error.code in FINAL_ERRORS:
            del self.again[node]
            self.unlisted.add(node)
        else:
            self.again[node] = min(self.again[node], now + AFTER_ERROR_SECONDS)


@dataclass(frozen=True)
class GridChannel:
    """A Grid, a clock that only goes forward, and a way to wait.

    Attributes:
        nonce: draws 32 bytes, hex.
        refused: the reasons of nodes that answer no call of this run.
    """

    grid: Grid
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    nonce: Callable[[], str] = secrets.token_hex
    refused: dict[int, str] = field(default_factory=dict)

    def ask(
        self, call: Call, contents: Mapping[int, Content], deadline_seconds: float
    ) -> dict[int, Mapping[str, Any]]:
        """Ask nodes and return the answers that came in time.

        Args:
            call: the call to make.
            contents: one content for each node id.
            deadline_seconds: how long to wait for all of them.

        Returns:
            Contents by node id; nodes that were late or answered with errors only are absent.
        """
        begun = now = self.monotonic()
        end, silent = begun + deadline_seconds, deadline_seconds * SILENT_SHARE
        asking = _Exchange(again=dict.fromkeys(contents, begun))
        while asking.again:
            # An institution that gets a question after the deadline would pay for nothing.
            due = asking.due(now) if now < end or now == begun else []
            if due:
                self._push(call, {node: contents[node] for node in due}, asking)
                asking.again |= dict.fromkeys(due, now + silent)
            looked = self.monotonic()
            for reply in self.grid.pull_messages(list(asking.messages)):
                asking.take(reply, self.monotonic())
            if not asking.again or self.monotonic() >= end:
                break
            now = self.monotonic()
            pause = _pause(now - begun, min(end, *asking.again.values()) - now)
            self.sleep(max(0.0, pause - (now - looked)))  # a SuperLink that held it has waited
            now = self.monotonic()
        self.refused.update(dict.fromkeys(asking.unlisted, UNLISTED))
        return asking.answers

    def _push(self, call: Call, contents: Mapping[int, Content], asking: _Exchange) -> None:
        messages = [self._message(call, node, content) for node, content in contents.items()]
        ids = self.grid.push_messages(messages)
        asking.messages |= dict(zip(ids, contents, strict=True))

    def _message(self, call: Call, node: int, content: Content) -> Message:
        # Flower's records are generic in a way that no checker can follow here.
        record: Any = ConfigRecord(content)  # type: ignore[arg-type]
        return Message(
            RecordDict({RECORD: record}), dst_node_id=node, message_type=call.message_type
        )


def _pause(elapsed: float, to_do: float) -> float:
    """Return seconds to wait before looking again.

    A look costs the SuperLink milliseconds, and more nodes take longer: a fixed pause would make
    its work for a step grow with the square of their number.

    Args:
        elapsed: seconds since the question.
        to_do: seconds until the next call is repeated, or until the wait ends.
    """
    pause = min(MOST_POLL_SECONDS, max(POLL_SECONDS, POLL_SHARE * elapsed))
    return max(LEAST_POLL_SECONDS, min(pause, to_do))


def _content_of(reply: Message) -> Mapping[str, Any]:
    record = reply.content.get(RECORD)
    return dict(record) if isinstance(record, ConfigRecord) else {}

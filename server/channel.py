"""One exchange with many institutions over a Flower Grid, with a deadline.

Flower's Message API only. Messages are pushed and pulled here, by a short poll, in
place of Flower's own loop that sleeps seconds between polls.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fieldfare.shared.exchange import RECORD, Call, Content

POLL_SECONDS: Final = 0.03


@dataclass(frozen=True)
class Channel:
    """A Grid, a clock that only goes forward, and a way to wait."""

    grid: Grid
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def ask(
        self, call: Call, contents: Mapping[int, Content], deadline_seconds: float
    ) -> dict[int, Mapping[str, Any]]:
        """Ask nodes and return what came back in time.

        Args:
            call: what is asked.
            contents: one content for each node id.
            deadline_seconds: how long to wait for all of them.

        Returns:
            Contents by node id; nodes that were late or answered with an error are absent.
        """
        end = self.monotonic() + deadline_seconds
        waiting = self._push(call, contents)
        answers: dict[int, Mapping[str, Any]] = {}
        while waiting:
            for reply in self.grid.pull_messages(list(waiting)):
                node = waiting.pop(reply.metadata.reply_to_message_id, None)
                if node is not None and not reply.has_error():
                    answers[node] = _content_of(reply)
            if not waiting or self.monotonic() >= end:
                break
            self.sleep(POLL_SECONDS)
        return answers

    def _push(self, call: Call, contents: Mapping[int, Content]) -> dict[str, int]:
        """Push one message a node; returns message ids, each with its node."""
        messages = [self._message(call, node, content) for node, content in contents.items()]
        ids = self.grid.push_messages(messages)
        return dict(zip(ids, contents, strict=True))

    def _message(self, call: Call, node: int, content: Content) -> Message:
        # Flower's records are generic in a way that no checker can follow here.
        record: Any = ConfigRecord(content)  # type: ignore[arg-type]
        return Message(
            RecordDict({RECORD: record}), dst_node_id=node, message_type=call.message_type
        )


def _content_of(reply: Message) -> Mapping[str, Any]:
    record = reply.content.get(RECORD)
    return dict(record) if isinstance(record, ConfigRecord) else {}

"""A Flower Grid inside one process: the unmodified apps, no network, no processes.

All private imports of flwr that simulations need live here (docs/design.md, "Processes and zones"),
with a contract test that fails loudly when flwr changes.
"""

import copy
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from fieldfare.shared.errors import FieldfareError

SERVER_NODE: Final = 1
CLIENT_ERROR: Final = 2  # flwr's ErrorCode.CLIENT_APP_RAISED_EXCEPTION

Drop = Callable[[Message], bool]
Tap = Callable[[Message], None]


class InProcessGrid(Grid):
    """Carries messages between one ServerApp and many ClientApps by calling them.

    One run at a time in a process: flwr's TaskIdentity is global.

    Args:
        app: the ClientApp that every node runs.
        institutions: node id by institution name.
        drop: a message for which it is true gets no answer (faults in tests).
        tap: sees every message that passes, both ways.
        lose: a message for which it is true is answered, and the answer gets lost.
    """

    def __init__(
        self,
        app: ClientApp,
        institutions: Mapping[str, int],
        *,
        drop: Drop | None = None,
        tap: Tap | None = None,
        lose: Drop | None = None,
    ) -> None:
        """Connect nodes to `app`."""
        self._app = app
        self._names = {node: name for name, node in institutions.items()}
        self._drop = drop
        self._tap = tap
        self._lose = lose
        self._replies: dict[str, Message] = {}
        self._run_id = 1
        TaskIdentity.task_id = TaskIdentity.run_id = self._run_id
        TaskIdentity.node_id = SERVER_NODE

    def set_run(self, run: Any) -> None:
        """Take the run's id."""
        self._run_id = run.run_id

    @property
    def run(self) -> Any:
        """Not kept in process: the job defines the run.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("an in-process grid has no stored run")

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return the connected nodes, sorted."""
        return sorted(self._names)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Deliver messages at once; replies wait to be pulled."""
        ids = []
        for message in messages:
            message_id = uuid.uuid4().hex
            message.metadata.__dict__["_message_id"] = message_id
            ids.append(message_id)
            if self._tap:
                self._tap(message)
            if not (self._drop and self._drop(message)):
                self._deliver(message)
            if self._lose and self._lose(message):
                self._replies.pop(message_id, None)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived, each once."""
        return [self._replies.pop(i) for i in message_ids if i in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Push and pull; nothing is late in one process, so `timeout` never passes."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> None:
        node = message.metadata.dst_node_id
        context = Context(
            run_id=self._run_id,
            node_id=node,
            node_config={"institution": self._names[node]},
            state=RecordDict(),
            run_config={},
        )
        reply = self._call(copied(message), context)
        if self._tap:
            self._tap(reply)
        self._replies[message.metadata.message_id] = reply

    def _call(self, message: Message, context: Context) -> Message:
        TaskIdentity.node_id = context.node_id
        try:
            return self._app(message, context)
        except FieldfareError as error:
            # A node answers like this; the type only, for a text may hold what its raiser saw.
            # Anything else is a defect and ends the simulation.
            return Message(Error(CLIENT_ERROR, type(error).__name__), reply_to=message)
        finally:
            TaskIdentity.node_id = SERVER_NODE


def copied(message: Message) -> Message:
    """Return a message of which nothing that can be changed is shared with the first.

    flwr hands records on by reference: without a copy one node could change another's. Bytes
    cannot be changed, and are most of it.
    """
    found = copy.copy(message)
    found.__dict__["_metadata"] = copy.deepcopy(message.metadata)
    if message.has_content():
        records = message.content.items()
        found.content = RecordDict({name: _copied_record(record) for name, record in records})
    return found


def _copied_record(record: Any) -> Any:
    if not isinstance(record, ConfigRecord):
        return copy.deepcopy(record)
    return ConfigRecord(
        {name: [*value] if isinstance(value, list) else value for name, value in record.items()}
    )

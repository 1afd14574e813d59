"""The node's own report of its state: a small file beside its settings.

The node runs in the outer zone, perhaps as another user, and can be asked nothing: it opens
no port. So it writes down what it sees, for users who may read it. While the node lives it holds
a lock on the file, which ends with it, also after a kill: what a dead node wrote is known as
that. Nothing secret is in it.
"""

import fcntl
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.terminal.texts import one_line

SIZE: Final = 2048  # bytes of the file; written whole each time, so never cut short
READABLE: Final = 0o644
LONGEST_REASON: Final = 300
HEARD_SECONDS: Final = 5.0  # between two notes that the SuperLink still answers


class LinkState(Enum):
    """The node's activity; the value is the screen's text."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    ENDED = "not connected"


class NodeState(BaseModel):
    """A node's own report; times are ISO 8601, UTC.

    Attributes:
        since: when it came to this.
        superlink: host:port.
        node: its number there, as text; empty until it was admitted.
        heard: when the SuperLink answered last; empty if it never has.
        message: when the last message arrived; empty if none has.
        reason: why it ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    link: LinkState = Field(strict=False)
    since: str
    superlink: str
    node: str = ""
    heard: str = ""
    message: str = ""
    reason: str = ""


class NodeReport:
    """A node's own file, as long as the node lives."""

    def __init__(
        self,
        path: Path,
        superlink: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the file over.

        Raises:
            OSError: it cannot be written, or another node holds it.
        """
        self._clock = clock
        self._monotonic = monotonic
        self._noted = float("-inf")
        self._state = NodeState(link=LinkState.CONNECTING, since=self._now(), superlink=superlink)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, READABLE)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(self._file, SIZE)
        self._write()

    def connected(self, node: int) -> None:
        """Note that the SuperLink let the node in."""
        now = self._now()
        self._change(link=LinkState.CONNECTED, since=now, node=str(node), heard=now, reason="")

    def heard(self) -> None:
        """Note that the SuperLink answered; on the disk every few seconds."""
        if self._monotonic() - self._noted >= HEARD_SECONDS:
            self._noted = self._monotonic()
            self._change(heard=self._now())

    def arrived(self) -> None:
        """Note that a message arrived."""
        self._change(heard=self._now(), message=self._now())

    def ended(self, reason: str) -> None:
        """Note why the node ends."""
        said = one_line(reason)[:LONGEST_REASON]
        self._change(link=LinkState.ENDED, since=self._now(), reason=said)

    def _change(self, **fields: object) -> None:
        self._state = self._state.model_copy(update=fields)
        self._write()

    def _write(self) -> None:
        content = self._state.model_dump_json().encode()
        os.pwrite(self._file, content.ljust(SIZE), 0)

    def _now(self) -> str:
        return self._clock().isoformat(timespec="seconds")


def read_node_state(path: Path) -> tuple[NodeState, bool] | None:
    """Return the last node's written state and whether it lives; None if none ever ran.

    A dead node is not connected, even if its last report says so.
    """
    try:
        with path.open("rb") as file:
            alive = _is_held(file.fileno())
            state = NodeState.model_validate_json(file.read(SIZE))
    except (OSError, ValidationError):
        return None
    return (state if alive else state.model_copy(update={"link": LinkState.ENDED})), alive


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False

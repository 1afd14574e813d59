"""The console's end of a desk: one question, one connection."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.shared.desk.calls import (
    LARGEST_ANSWER,
    Answered,
    Asked,
    DeskCall,
    question_bytes,
    read_answer,
)
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.system.sockets import peer_user, received

CONNECT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class DeskClient:
    """Where a desk is.

    Attributes:
        path: of its socket.
        owner: number of the user who has to answer there: nobody else is told anything.
        start: the command that starts it.
    """

    path: Path
    owner: int
    start: str

    def ask(self, call: DeskCall[Asked, Answered], asked: Asked) -> Answered:
        """Ask one question and wait for its answer.

        Raises:
            FieldfareError: what the desk answered.
            UsageError: another user answers there.
            RunError: nobody does, or not in time; an act may have been done then.
        """
        content, ends = question_bytes(call.name, asked), time.monotonic() + call.seconds
        with self._connected() as line:
            if peer_user(line) != self.owner:
                raise UsageError(
                    f"{self.path}: expected the desk of user number {self.owner}, found another "
                    "user's: nothing was asked; remove what serves there"
                )
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # a refusal says why
                    line.sendall(content)
                    line.shutdown(socket.SHUT_WR)
                found = received(line, LARGEST_ANSWER, ends)
            except TimeoutError:
                raise RunError(
                    "the desk has not answered yet; what was asked of it goes on: open this page "
                    "again in a minute"
                ) from None
            except OSError as error:
                raise self._gone(error.strerror or "no answer") from None
        if not found:
            raise RunError(
                f"{self.path}: expected an answer of the desk, found that it ended: open this page "
                "again, and see the desk's own lines"
            )
        return read_answer(found, call.answered)

    def runs(self) -> bool:
        """Whether a process listens there."""
        try:
            with self._connected():
                return True
        except RunError:
            return False

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(CONNECT_SECONDS)
            try:
                line.connect(os.fspath(self.path))
            except OSError as error:
                raise self._gone(error.strerror or "no answer") from None
            yield line

    def _gone(self, found: str) -> RunError:
        return RunError(
            f"{self.path}: expected the desk, which answers what stands on this page, found: "
            f"{found}: start it with `{self.start}`"
        )

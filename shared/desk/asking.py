"""The console's end of a desk: one question, one connection."""

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.shared.desk.calls import (
    DESK_WORDS,
    LARGEST_ANSWER,
    Answered,
    Asked,
    DeskCall,
    DeskWords,
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
        words: of messages for people.
    """

    path: Path
    owner: int
    start: str
    words: DeskWords = DESK_WORDS

    def ask(self, call: DeskCall[Asked, Answered], asked: Asked) -> Answered:
        """Ask one question and wait for its answer.

        Raises:
            FieldfareError: what the desk answered.
            UsageError: another user answers there.
            RunError: nobody does, or not in time; an act may have been done then.
        """
        try:
            line = self.connect()
        except OSError as error:
            raise RunError(
                f"{self.path}: expected {self.words.name}, which answers what stands on this page, "
                f"found: {error.strerror or 'no answer'}: start it with `{self.start}`"
            ) from None
        return self.ask_over(line, call, asked)

    def ask_over(
        self, line: socket.socket, call: DeskCall[Asked, Answered], asked: Asked
    ) -> Answered:
        """Ask over a connection, which is closed then.

        Raises:
            FieldfareError: what the desk answered.
            UsageError: another user answers there.
            RunError: nobody does, or not in time; an act may have been done then.
        """
        name, again = self.words.name, self.words.again
        with line:
            ends = time.monotonic() + call.seconds
            if peer_user(line) != self.owner:
                raise UsageError(
                    f"{self.path}: expected {name} of user number {self.owner}, found another "
                    "user's: nothing was asked; remove what serves there"
                )
            content = question_bytes(call.name, asked)
            try:
                with suppress(BrokenPipeError, ConnectionResetError):  # a refusal says why
                    line.sendall(content)
                    line.shutdown(socket.SHUT_WR)
                found = received(line, LARGEST_ANSWER, ends)
            except TimeoutError:
                raise RunError(
                    f"{name} has not answered yet; what was asked of it goes on: {again} in a "
                    "minute"
                ) from None
            except OSError as error:
                raise self._report_end(error.strerror or "no answer") from None
        if not found:
            raise self._report_end("that it ended")
        return read_answer(found, call.answered)

    def runs(self) -> bool:
        """Whether a process listens there."""
        try:
            with self.connect():
                return True
        except OSError:
            return False

    def connect(self) -> socket.socket:
        """Return a connection that nothing was said over yet.

        Raises:
            OSError: nobody listens there, or not for this user.
        """
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(CONNECT_SECONDS)
        try:
            line.connect(os.fspath(self.path))
        except OSError:
            line.close()
            raise
        return line

    def _report_end(self, found: str) -> RunError:
        name, again = self.words.name, self.words.again
        return RunError(
            f"{self.path}: expected an answer of {name}, found {found}: {again}, and see {name}'s "
            "own lines"
        )

"""The other end of a desk: a socket for named users, a closed list, limits of bytes and time.

Edge cases:
    | a connection | gets |
    |---|---|
    | of another user, whatever the socket's mode | one refusal, before a byte is read |
    | while all places are taken | one refusal |
    | whose question does not end in time, or is too large | closed; nothing was done |
    | with an unknown call, or words that are not its type's | an error; nothing was done |
    | whose answer is not read in time | closed; what was done stands |
    | whose answer needs a file that fails | an error that says so; the log names the file |
    | that meets a defect | closed without an answer; the log names the error's type only |
"""

import logging
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import BoundedSemaphore, Event, Thread
from typing import Any, Final, Generic

from pydantic import ValidationError

from fieldfare.shared.desk.calls import (
    DESK_WORDS,
    LARGEST_ASKED,
    Answered,
    Asked,
    DeskCall,
    DeskWords,
    answer_bytes,
    error_bytes,
    read_question,
)
from fieldfare.shared.errors import FieldfareError, ProtocolError, RunError, UsageError
from fieldfare.shared.system.listening import Listener, named
from fieldfare.shared.system.sockets import UnixSocket, claimed, peer_user, received

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True)
class DeskLimits:
    """How much of a desk somebody can take.

    Attributes:
        places: questions at once; others are refused.
        arrive_seconds: for a question to arrive as a whole.
        read_seconds: for its answer to be read.
    """

    places: int = 8
    arrive_seconds: float = 5.0
    read_seconds: float = 10.0


@dataclass(frozen=True)
class DeskLine(Generic[Asked, Answered]):
    """A call and what answers it: its question, and the number of the user who asks."""

    call: DeskCall[Asked, Answered]
    answer: Callable[[Asked, int], Answered]

    def reply(self, words: bytes, user: int) -> bytes:
        """Return the answer to a question's words, as it travels.

        Raises:
            ProtocolError: they are not the call's.
            FieldfareError: as `answer`.
        """
        try:
            asked = self.call.asked.model_validate_json(words)
        except ValidationError:
            raise ProtocolError(
                f"{self.call.name}: expected the words of this question, found others"
            ) from None
        return answer_bytes(self.answer(asked, user))


class Desk:
    """The closed list of one process, and who may ask."""

    def __init__(
        self,
        lines: Collection[DeskLine[Any, Any]],
        users: Callable[[], Collection[int]],
        limits: DeskLimits | None = None,
        words: DeskWords = DESK_WORDS,
    ) -> None:
        """Answer these lines to these users, who are looked up anew for each question.

        Raises:
            UsageError: two lines have one name.
        """
        self._lines: Mapping[str, DeskLine[Any, Any]] = {one.call.name: one for one in lines}
        if len(self._lines) != len(lines):
            raise UsageError("expected each call of a desk once, found one twice")
        self._users, self.limits, self._words = users, limits or DeskLimits(), words

    def answer(self, content: bytes, user: int) -> bytes:
        """Answer a question that came as a whole; an error is an answer."""
        try:
            name, words = read_question(content)
            line = self._lines.get(name)
            if line is None:
                raise ProtocolError("expected a call of this desk, found another: it does nothing")
            return line.reply(words, user)
        except FieldfareError as error:
            return error_bytes(error)
        except OSError as error:  # of a file of this side: whoever went away is met below
            log.warning("a question failed: %s: %s", error.filename or "file", error.strerror)
            found = error.strerror or "no answer"
            return error_bytes(RunError(f"expected files that can be used, found: {found}"))

    def serve_one(self, line: socket.socket) -> None:
        """Answer one connection; who took it closes it."""
        with suppress(OSError):  # whoever went away, or is too slow, has no answer
            user = peer_user(line)
            if user not in self._users():
                refused = f"expected a user who may ask {self._words.name}, found number {user}"
                self._say(line, error_bytes(UsageError(refused)))
                return
            content = received(line, LARGEST_ASKED, time.monotonic() + self.limits.arrive_seconds)
            self._say(line, self.answer(content, user))

    def refuse(self, line: socket.socket) -> None:
        """Say that all places are taken."""
        busy = f"{self._words.name} is busy: {self._words.again}"
        with line, suppress(OSError):
            line.setblocking(False)  # its buffer is empty: this never waits
            line.sendall(error_bytes(RunError(busy)))

    def _say(self, line: socket.socket, content: bytes) -> None:
        line.settimeout(self.limits.read_seconds)
        line.sendall(content)


@contextmanager
def serving_desk(desk: Desk, where: UnixSocket) -> Iterator[None]:
    """Answer at a socket until the block ends; questions that are being answered are finished.

    Raises:
        UsageError: the socket cannot be had.
    """
    ended = Event()
    with claimed(where) as claim, named(claim.binding) as listener:
        claim.publish()
        thread = Thread(target=_accept, args=(desk, listener, ended), name="desk")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _accept(desk: Desk, listener: Listener, ended: Event) -> None:
    places = BoundedSemaphore(desk.limits.places)
    listener.settimeout(LOOK_SECONDS)

    def serve(line: socket.socket) -> None:
        """Answer one line, then give its place back."""
        with line:
            try:
                desk.serve_one(line)
            finally:
                places.release()  # first: who sees its line close finds the place free

    def over(done: "Future[None]") -> None:
        """Log that an answer failed, by its type alone."""
        error = done.exception()
        if error is not None:
            log.error("a question failed: %s", type(error).__name__)  # its text may be a record's

    with ThreadPoolExecutor(desk.limits.places, "desk") as pool:
        while not ended.is_set():
            try:
                line, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError as error:  # too many files are open, say: it passes, and so does this
                log.warning("no connection was taken: %s", error.strerror)
                ended.wait(LOOK_SECONDS)
                continue
            if places.acquire(blocking=False):
                pool.submit(serve, line).add_done_callback(over)
            else:
                desk.refuse(line)

"""A part of a page that follows what it shows, while somebody looks: server-sent events.

The browser asks for the events of a page (console.js); each event is the part, filled in anew by
the page's own template, and comes only where it has changed. Without scripts nothing is asked for,
and the page has a link that looks again. Nothing here writes, and following is no use of a session.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from fieldfare.shared.console.frame import Visit
from fieldfare.shared.errors import FieldfareError

EVENTS: Final = "text/event-stream"
EVERY: Final = 1.0  # seconds between two looks
QUIET: Final = 15.0  # seconds after which a line without content says that somebody is here
LONGEST: Final = 300.0  # seconds of one answer; the browser asks again by itself
MOST: Final = 20  # that follow at once, of 100 connections
MOST_OF_PERSON: Final = 5
_OVER: Final = "event: over\ndata:\n\n"


@dataclass(frozen=True)
class FollowedPart:
    """A part of a page at one moment.

    Attributes:
        text: HTML.
        over: whether it will not change any more.
    """

    text: str
    over: bool


@dataclass
class Followers:
    """Who follows a page; a few at once, so that nobody holds every connection.

    Attributes:
        monotonic: seconds of a clock that never goes back.
        every: seconds between two looks.
        longest: seconds of one answer.
    """

    monotonic: Callable[[], float]
    every: float = EVERY
    longest: float = LONGEST
    _here: Counter[str] = field(default_factory=Counter)
    _lock: Lock = field(default_factory=Lock)

    def follow(self, visit: Visit, look: Callable[[], FollowedPart]) -> Response:
        """Answer with the events of a part.

        Args:
            visit: whose.
            look: fills the part in anew.
        """
        return StreamingResponse(self._events(visit, look), media_type=EVENTS)

    async def _events(self, visit: Visit, look: Callable[[], FollowedPart]) -> AsyncIterator[str]:
        with self._place(visit.person.name) as free:
            if free:
                async for one in self._changes(visit, look):
                    yield one
            else:
                yield _OVER

    async def _changes(self, visit: Visit, look: Callable[[], FollowedPart]) -> AsyncIterator[str]:
        begun = said = self.monotonic()
        before = ""
        while self.monotonic() - begun < self.longest:
            if not await run_in_threadpool(lambda: visit.goes_on):
                yield _OVER
                return
            try:
                found = await run_in_threadpool(look)
            except FieldfareError:  # the page itself says what it is
                yield _OVER
                return
            if found.text != before:
                before, said = found.text, self.monotonic()
                yield _event(found.text)
            if found.over:
                yield _OVER
                return
            if self.monotonic() - said >= QUIET:
                said = self.monotonic()
                yield ":\n\n"
            await asyncio.sleep(self.every)

    @contextmanager
    def _place(self, person: str) -> Iterator[bool]:
        """Take a place among those who follow; yields whether there was one."""
        with self._lock:
            free = self._here.total() < MOST and self._here[person] < MOST_OF_PERSON
            self._here[person] += free
        try:
            yield free
        finally:
            with self._lock:
                self._here[person] -= free


def _event(text: str) -> str:
    """Return an event: each line of its content stands after a word of its own."""
    return "event: part\n" + "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"

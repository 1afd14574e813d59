"""Following a run until it ends; a watcher changes nothing."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from fieldfare.server.desk import Desk
from fieldfare.server.run_view import Pace, Picture
from fieldfare.server.steering import Life, look

POLL_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 3.0  # between questions to the SuperLink, which has a run to serve


def follow(
    desk: Desk,
    run: str,
    *,
    now: Callable[[], datetime],
    monotonic: Callable[[], float],
    sleep: Callable[[float], None],
) -> Iterator[Picture]:
    """Yield a run's picture now and then; the last one is of its end or its interruption.

    Args:
        desk: the coordinator's.
        run: its id.
        now: the present, with a time zone.
        monotonic: seconds that only go forward.
        sleep: waits for so many seconds.

    Raises:
        RunError: the run store cannot be read.
    """
    pace, seen, looked = Pace(), look(desk.store, desk.control, run), monotonic()
    while True:
        yield desk.picture(seen, now(), pace)
        if seen.life in {Life.ENDED, Life.INTERRUPTED}:
            return
        sleep(POLL_SECONDS)
        if monotonic() - looked >= LOOK_SECONDS:
            seen, looked = look(desk.store, desk.control, run), monotonic()
        else:
            seen = desk.again(seen)


def news(pictures: Iterator[Picture], said: Callable[[Picture], str]) -> Iterator[Picture]:
    """Keep the pictures of which something else is said than of the one before."""
    before = None
    for picture in pictures:
        text = said(picture)
        if text != before:
            before = text
            yield picture

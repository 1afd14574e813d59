"""The work of the process that sends notices: look, keep, send, wait.

It looks once a minute, and sends to each address what waits for it: not in quiet hours, not more
than so many an hour, and after a failure not before a pause that doubles. A failure makes no
notice, so nothing here can feed itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.quiet_hours import quiet_hours
from fieldfare.shared.system.processes import Stopped
from fieldfare.shared.terminal.texts import counted, duration
from fieldfare.shared.watch.notice_settings import MOST_AN_HOUR, NoticesSettings, load_notices
from fieldfare.shared.watch.outbox import HOUR, Observation, Outbox, open_outbox
from fieldfare.shared.watch.sending import Route, routes_of
from fieldfare.shared.watch.sentences import Notice, NoticeKind, rounded

LOOK_SECONDS: Final = 60.0

Look = Callable[[datetime], Observation]
Say = Callable[[str], None]


@dataclass(frozen=True)
class NoticesHome:
    """Where a home keeps what belongs to notices.

    Attributes:
        folder: the home.
        settings: its notices.toml.
        outbox: its outbox.
    """

    folder: Path
    settings: Path
    outbox: Path


@dataclass
class Dispatcher:
    """One round after the other; what is wrong is said once, for as long as it lasts.

    Attributes:
        home: whose notices are sent.
        look: says what holds now, from files that hold no record.
        say: takes a line of the log.
        clock: the present, with a time zone.
    """

    home: NoticesHome
    look: Look
    say: Say
    clock: Callable[[], datetime]
    _routes: tuple[Route, ...] = ()
    _settings: NoticesSettings | None = None
    _trouble: str = ""

    def serve(self, stopped: Stopped) -> None:
        """Go on until told to stop.

        Raises:
            NoticeError: the outbox cannot be opened.
        """
        with open_outbox(self.home.outbox) as outbox:
            while True:
                self.round(outbox)
                if stopped(LOOK_SECONDS):
                    return

    def round(self, outbox: Outbox) -> None:
        """Look once, and send what is due."""
        try:
            self._read()
            seen = self.look(self.clock())
            outbox.look(seen, [route.address for route in self._routes], self.clock())
            trouble = "; ".join(seen.troubles)
        except FieldfareError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            self.say(trouble)
        self._trouble = trouble
        if self._settings is not None:
            for route in self._routes:
                send_waiting(outbox, route, self._settings, self.clock, self.say)

    def _read(self) -> None:
        """Read the settings, and keep the routes where nothing changed: one may still hang."""
        settings = load_notices(self.home.settings)
        if settings != self._settings:
            self._settings, self._routes = settings, routes_of(settings, self.home.folder)


def send_waiting(
    outbox: Outbox,
    route: Route,
    settings: NoticesSettings,
    clock: Callable[[], datetime],
    say: Say,
) -> None:
    """Send an address what waits for it, as far as hours, rate and pauses allow.

    Args:
        outbox: holds what waits.
        route: to the address.
        settings: of the home.
        clock: the present, with a time zone.
        say: takes a line of the log.
    """
    now, quiet = clock(), quiet_hours(settings.quiet_hours)
    if outbox.rests(route.address, now) or (quiet is not None and quiet.until(now)):
        return
    room = MOST_AN_HOUR - outbox.sent_since(route.address, now - HOUR)
    sent = 0
    for notice in outbox.waiting(route.address, max(room, 0)):
        try:
            route.send(notice, clock())
        except FieldfareError as error:
            pause = outbox.failed(route.address, clock())
            again = duration(pause.total_seconds())
            say(f"{route.address}: {error}; it is tried again in {again}")
            break
        outbox.sent(notice, route.address, clock())
        sent += 1
    if sent:
        say(f"{route.address}: {counted(sent, 'notice')} sent")


def trial_notice(now: datetime, token: str) -> Notice:
    """Return a notice that says that it is a test.

    Args:
        now: with a time zone.
        token: 32 random hexadecimal digits.
    """
    return Notice(token, NoticeKind.TEST, "", "", rounded(now))

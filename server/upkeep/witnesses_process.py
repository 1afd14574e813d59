"""The process that asks witnesses for their signatures, as a child of `coordinator start`.

It holds no key: every checkpoint was signed with the head that it covers. A witness that does not
answer is asked again, less and less often, and no run knows of it.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.public_keys import roster_public
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.upkeep.submission import (
    Post,
    WitnessStanding,
    ask_witness,
    poster,
)
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import Stopped, end_with_parent, stop_signals
from fieldfare.shared.transcript.head_log import origin_of
from fieldfare.shared.watch.log import begin_log

log: Final = logging.getLogger("fieldfare.server.upkeep.witnesses_process")  # it runs as __main__

LOOK_SECONDS: Final = 2.0  # between two looks at the log of heads
PAUSE_SECONDS: Final = 30.0  # after a first failure; each one is twice the one before
LONGEST_PAUSE: Final = 3600.0


class WitnessRounds:
    """Asks each witness for what it lacks, and waits longer for one that fails."""

    def __init__(
        self,
        home: CoordinatorHome,
        post: Post,
        monotonic: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        """Read nothing yet; settings are read anew in each round."""
        self._home, self._post, self._monotonic, self._say = home, post, monotonic, say
        self._pauses: dict[str, tuple[float, float]] = {}  # until when, and how long it was

    def round(self, store: RunStore) -> tuple[WitnessStanding, ...]:
        """Ask everybody who is due once.

        Raises:
            FieldfareError: the settings or the run store cannot be read.
        """
        settings = load_settings(self._home).witnesses
        origin = origin_of(roster_public(self._home), settings.log)
        now = self._monotonic()
        due = [one for one in settings.witness if self._pauses.get(one.key, (now, 0.0))[0] <= now]
        return tuple(
            self._heard(one.key, ask_witness(store, origin, one, self._post)) for one in due
        )

    def _heard(self, key: str, found: WitnessStanding) -> WitnessStanding:
        name = found.key.name
        if not found.trouble:
            if self._pauses.pop(key, None):
                self._say(f"witness {name} signs again: {found.cosigned} heads")
            return found
        _, before = self._pauses.get(key, (0.0, PAUSE_SECONDS / 2))
        pause = min(2 * before, LONGEST_PAUSE)
        if key not in self._pauses:
            self._say(f"witness {name} did not sign: {found.trouble}")
        self._pauses[key] = (self._monotonic() + pause, pause)
        return found


def serve(home: CoordinatorHome, stopped: Stopped) -> None:
    """Go on until told to stop.

    Raises:
        FieldfareError: the run store cannot be opened.
    """
    rounds, trouble = WitnessRounds(home, poster(), time.monotonic, log.info), ""
    while not stopped(LOOK_SECONDS):
        try:
            with run_store(home.runs_database) as store:
                rounds.round(store)
            trouble = ""
        except FieldfareError as error:
            if str(error) != trouble:
                log.warning("%s", error)
            trouble = str(error)


def main(arguments: Sequence[str]) -> int:
    """Ask the witnesses of a home."""
    os.umask(OTHERS)
    begin_log("witnesses")
    try:
        end_with_parent()
        home = CoordinatorHome.open(Path(arguments[0]))
        with stop_signals() as stopped:
            serve(home, stopped)
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

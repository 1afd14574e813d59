"""The desk's process, a child of `institution start` or by itself; ends with its parent.

It answers the closed list, and takes over what persons signed in the casework folder. It parses
nothing that a browser sent, but the typed fields of a question. What an answer needs is loaded for
the first of its kind: nothing that decides is loaded before somebody decides.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fieldfare.client.alerts.casework import TERMS, Casework, casework_of
from fieldfare.client.desk.calls import BUDGET, CHECK, DECIDE, LOG, STUDIES, STUDY
from fieldfare.client.desk.model_calls import JOINING, MODEL, MODELS, RECORDS
from fieldfare.client.desk.place import desk_socket, desk_users
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.shared.desk.answering import Desk, DeskLine, serving_desk
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.clock import since_boot, utc_now
from fieldfare.shared.system.late import LateValue, late
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.processes import Stopped, end_with_parent, read_given, stop_signals
from fieldfare.shared.watch.log import begin_log, show_defects_by_place

COLLECT_SECONDS: Final = 3.0
EXIT_FAILED: Final = 1

study_desk: Final = late("fieldfare.client.desk.deciding", "StudyDesk")
view_studies: Final = late("fieldfare.client.desk.study_reading", "view_studies")
view_study: Final = late("fieldfare.client.desk.study_reading", "view_study")
view_budget: Final = late("fieldfare.client.desk.budget_reading", "view_budget")
view_log: Final = late("fieldfare.client.desk.log_reading", "view_log")
view_checks: Final = late("fieldfare.client.desk.check_reading", "view_checks")
view_models: Final = late("fieldfare.client.desk.model_reading", "view_models")
view_model: Final = late("fieldfare.client.desk.model_reading", "view_model")
view_joining: Final = late("fieldfare.client.desk.model_reading", "view_joining")
view_records: Final = late("fieldfare.client.desk.model_reading", "view_records")
collect: Final = late("fieldfare.client.alerts.alert_queue", "collect")

log: Final = logging.getLogger("fieldfare.client.desk.process")  # it runs as __main__


def main(arguments: Sequence[str]) -> int:
    """Answer for the home that is named; returns the status to end with."""
    begin_log("desk", prefix="fieldfare: desk: ")
    show_defects_by_place()
    try:
        keep_out_of_dumps()
        passphrase = read_given()
        end_with_parent()
        serve_home(Path(arguments[0]), passphrase, _say)
    except FieldfareError as error:
        _say(str(error))
        return error.exit_code
    except OSError as error:
        _say(f"{error.filename or 'file'}: {error.strerror or error}")
        return EXIT_FAILED
    return 0


def serve_home(home: Path, passphrase: bytes | None, say: Callable[[str], None]) -> None:
    """Answer for a home until this process is told to stop; for the main thread.

    Args:
        home: the institution's folder.
        passphrase: of the identity, or None.
        say: tells the operator a line.

    Raises:
        UsageError, StudyError: the home, its settings, or the socket.
    """
    opened = Home.open(home.absolute())
    with stop_signals() as stopped:
        where = desk_socket(opened, casework_of(opened, load_settings(opened)))
        with serving_desk(Desk(desk_lines(opened, passphrase), lambda: _users(opened)), where):
            say(f"answering on {where.path}")
            Collector(opened, say).serve(stopped)
    say("stopped")


def desk_lines(home: Home, passphrase: bytes | None = None) -> list[DeskLine[Any, Any]]:
    """Return the closed list of a home: what is not here does not exist."""
    deciding = LateValue(lambda: study_desk(home, passphrase, os.environ, utc_now, since_boot))
    return [
        DeskLine(DECIDE, lambda asked, user: deciding().decide(asked, user)),
        DeskLine(STUDIES, lambda _asked, _user: view_studies(home.path)),
        DeskLine(STUDY, lambda asked, _user: view_study(home.path, asked.digits, utc_now())),
        DeskLine(BUDGET, lambda _asked, _user: view_budget(home.path, utc_now())),
        DeskLine(LOG, lambda asked, _user: view_log(home.path, asked)),
        DeskLine(CHECK, lambda _asked, _user: view_checks(home.path, utc_now())),
        DeskLine(MODELS, lambda _asked, _user: view_models(home.path)),
        DeskLine(MODEL, lambda asked, _user: view_model(home.path, asked)),
        DeskLine(JOINING, lambda asked, _user: view_joining(home.path, asked)),
        DeskLine(RECORDS, lambda _asked, _user: view_records(home.path)),
    ]


def _users(home: Home) -> frozenset[int]:
    try:
        casework = casework_of(home, load_settings(home))
    except FieldfareError:
        casework = None  # a folder that others can change names nobody
    return desk_users(casework)


@dataclass
class Collector:
    """Takes over what persons signed, as soon as their files change; says what is wrong once.

    Attributes:
        home: the institution's.
        say: takes a line of the log.
    """

    home: Home
    say: Callable[[str], None]
    _seen: object = None
    _trouble: str = ""

    def serve(self, stopped: Stopped) -> None:
        """Go on until told to stop."""
        while not stopped(COLLECT_SECONDS):
            self.look()

    def look(self) -> None:
        """Take over what is new."""
        trouble = ""
        try:
            casework = casework_of(self.home, load_settings(self.home))
            state = _read_signatures(casework) if casework else None
            if casework and state != self._seen:
                trouble = "; ".join(collect(self.home, casework).complaints)
                self._seen = state
        except FieldfareError as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            self.say(trouble)
        self._trouble = trouble


def _read_signatures(casework: Casework) -> tuple[tuple[str, int, int], ...]:
    """Return what tells that somebody signed, or that rights changed; before lines are read."""
    found = []
    for path in (casework.path / TERMS, *sorted(casework.decisions.glob("*.jsonl"))):
        with suppress(OSError):
            one = path.lstat()
            found.append((path.name, one.st_size, one.st_mtime_ns))
    return tuple(found)


def _say(line: str) -> None:
    log.info("%s", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

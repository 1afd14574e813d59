"""The audit log: every call to the SuperLink as JSON lines; never a payload, never a token.

A line for each call of the control API that was let in. All others (nodes ask for messages
twenty times a second, and strangers may ask as often as they like) are counted: the first at
once, the others of the same kind within a minute as one line with `calls`.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from fieldfare.server.superlink.gate import CONTROL, FLEET, Answered, Headers
from fieldfare.shared.flood import Flood, Withheld
from fieldfare.shared.system.private_files import PRIVATE_FILE

MOST_KINDS: Final = 1000  # counted at once; more of them come only from an attack
LONGEST_PATH: Final = 80  # characters
FILE_BYTES: Final = 16 * 1024 * 1024
OLDER_FILES: Final = 20

log = logging.getLogger(__name__)

UNAUTHORIZED: Final = 401
BEFORE_PROOF: Final = frozenset({0, 400, 408, 413, 415})  # said before a key or token is checked
FIRST_REFUSAL: Final = 400
FIRST_FAILURE: Final = 500


@dataclass(frozen=True)
class CallKind:
    """The key under which the log counts equal calls."""

    listener: str
    path: str  # empty for all that are not offered: strangers invent any number
    who: str
    peer: str
    status: int


class AuditLog:
    """Writes the gates' events to a log.

    Args:
        path: the file; older ones lie beside it with a number.
        name_of: names the node whose key is in the headers of a call that it signed; None
            where it is no registered one's.
        now: the clock.
    """

    def __init__(
        self,
        path: Path,
        name_of: Callable[[Headers], str | None],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Open the file.

        Raises:
            OSError: the disk or the folder says no.
        """
        self._file = _PrivateFile(path)
        self._name_of, self._now = name_of, now
        self._flood: Flood[CallKind] = Flood()

    def tell(self, call: Answered) -> None:
        """Take note of a call."""
        at, kind = self._now(), self._kind(call)
        shown = call.path[:LONGEST_PATH]
        if kind.path.startswith(CONTROL) and kind.status < FIRST_REFUSAL:
            self._write(kind, shown, at)
            return
        if len(self._flood) >= MOST_KINDS:
            self.flush(everything=True)
        if self._flood.admits(kind, 1, at.timestamp()):
            self._write(kind, shown, at)

    def flush(self, *, everything: bool = False) -> None:
        """Write the counts of the minutes that are over, or all counts."""
        for counted in self._flood.over(self._now().timestamp(), at_once=everything):
            last = datetime.fromtimestamp(counted.last, UTC)
            self._write(counted.kind, counted.kind.path, last, counted)

    def close(self) -> None:
        """Write the counts, and close the file."""
        self.flush(everything=True)
        self._file.close()

    def _kind(self, call: Answered) -> CallKind:
        path = call.path if call.offered else ""
        return CallKind(call.listener, path, self._who(call), call.peer[0], call.status)

    def _who(self, call: Answered) -> str:
        """Name who called, as far as it was proven; what a stranger claims is not repeated."""
        if not call.offered or call.status == UNAUTHORIZED:
            return "nobody known"
        if call.path.startswith(CONTROL):
            return "the control token"
        if call.status in BEFORE_PROOF:
            return "nobody known"
        if call.path.startswith(FLEET):
            return self._name_of(call.headers) or "a key that is not registered"
        return "a run"

    def _write(
        self, kind: CallKind, path: str, at: datetime, counted: Withheld[CallKind] | None = None
    ) -> None:
        line: dict[str, object] = {
            "listener": kind.listener,
            "outcome": _outcome(kind.status),
            "path": path,
            "peer": kind.peer,
            "status": kind.status,
            "time": at.isoformat(timespec="milliseconds"),
            "who": kind.who,
        }
        if counted is not None:
            begun = datetime.fromtimestamp(counted.begun, UTC)
            line |= {"calls": counted.lines, "since": begun.isoformat(timespec="milliseconds")}
        text = json.dumps(line, sort_keys=True)
        self._file.emit(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))


def _outcome(status: int) -> str:
    if not status or status >= FIRST_FAILURE:
        return "failed"
    return "done" if status < FIRST_REFUSAL else "refused"


class _PrivateFile(RotatingFileHandler):
    """A file that is turned over when it is full, and that only its owner may read."""

    def __init__(self, path: Path) -> None:
        self._errors: list[BaseException | None] = []
        self._failing = False
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; says once that lines are lost, and once that they no longer are.

        The SuperLink goes on without: a disk that is full must not keep runs from being stopped.
        """
        self._errors.clear()
        super().emit(record)
        if bool(self._errors) != self._failing:
            self._failing = bool(self._errors)
            became = f"cannot be written: {self._errors[0]}" if self._errors else "is written again"
            log.warning("%s: the audit log %s", self.baseFilename, became)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 -- logging's name
        """Keep the error."""
        del record
        self._errors.append(sys.exc_info()[1])

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, PRIVATE_FILE)
        os.fchmod(descriptor, PRIVATE_FILE)
        return os.fdopen(descriptor, "a", encoding="utf-8")

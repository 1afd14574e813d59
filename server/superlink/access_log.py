"""The audit log: every call to the SuperLink as JSON lines; never a payload, never a token.

A line for each call of the control API that was let in. All others (nodes ask for messages
twenty times a second, and strangers may ask as often as they like) are counted: the first at
once, the others of the same kind within a minute as one line with `calls`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from fieldfare.server.superlink.gate import CONTROL, FLEET, AnsweredRequest, Headers
from fieldfare.shared.flood import Flood, WithheldLines
from fieldfare.shared.watch.log import PrivateLog

MOST_KINDS: Final = 1000  # counted at once; more of them come only from an attack
LONGEST_PATH: Final = 80  # characters
FILE_BYTES: Final = 16 * 1024 * 1024
OLDER_FILES: Final = 20

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
            OSError: the disk or the folder refuses it.
        """
        self._file = PrivateLog(path, FILE_BYTES, OLDER_FILES)
        self._name_of, self._now = name_of, now
        self._flood: Flood[CallKind] = Flood()

    def tell(self, call: AnsweredRequest) -> None:
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

    def _kind(self, call: AnsweredRequest) -> CallKind:
        path = call.path if call.offered else ""
        return CallKind(call.listener, path, self._who(call), call.peer[0], call.status)

    def _who(self, call: AnsweredRequest) -> str:
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
        self,
        kind: CallKind,
        path: str,
        at: datetime,
        counted: WithheldLines[CallKind] | None = None,
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
        self._file.write(json.dumps(line, sort_keys=True))


def _outcome(status: int) -> str:
    if not status or status >= FIRST_FAILURE:
        return "failed"
    return "done" if status < FIRST_REFUSAL else "refused"

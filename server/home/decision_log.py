"""The coordinator's own log of members let in, members removed and rosters published; JSON lines.

    {"event": "removal", "identity": "...", "institution": "bank-a", "time": "...", "user": "..."}

What the SuperLink was asked is another log (audit.py). A line is on the disk before what it
says takes effect.
"""

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.system.private_files import PRIVATE_FILE, os_user


class DecisionKind(Enum):
    """Everything that is written down."""

    FOUNDING = "founding"
    INVITATION = "invitation"
    CERTIFICATE = "certificate"  # the SuperLink's was replaced
    ONLINE_KEY = "online key"  # it was replaced
    ENROLMENT = "enrolment"
    ROTATION = "rotation"
    REVOCATION = "revocation"
    REMOVAL = "removal"
    ROSTER = "roster"
    RECOVERY_KEY = "recovery key"
    BACKUP = "backup"
    RESTORE = "restore"
    DELETION = "deletion"  # of a file, by hand
    CONSOLE = "console"  # what a person did there, in `act`; `user` runs the console


def write_down(
    home: CoordinatorHome,
    decision: DecisionKind,
    facts: Mapping[str, str | int],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Append a line and bring it to the disk.

    Args:
        home: the coordinator's.
        decision: the decision.
        facts: short ones: ids, keys, versions.
        now: the clock.

    Raises:
        OSError: the disk failed; the decision must then not be carried out.
    """
    line = {
        **facts,
        "event": decision.value,
        "time": now().isoformat(timespec="milliseconds"),
        "user": os_user(),
    }
    content = json.dumps(line, sort_keys=True).encode() + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(home.decisions, flags, PRIVATE_FILE)
    try:
        os.fchmod(descriptor, PRIVATE_FILE)
        os.write(descriptor, content)  # one call: lines of two commands do not mix
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

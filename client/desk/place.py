"""Where a desk listens: beside the group's folder for a console of its own user, else in the home.

The folder `run/` in a casework folder is the operator's; the group may connect, and of the group
the desk hears the console's user alone.
"""

import grp
import os
import pwd
import sys
from pathlib import Path
from typing import Final

from fieldfare.client.alerts.casework import Casework
from fieldfare.client.home.layout import Home
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.processes import Child, given_line
from fieldfare.shared.system.sockets import UnixSocket

PROCESS: Final = "fieldfare.client.desk.process"
SOCKET: Final = "desk.sock"
OWNER_SOCKET: Final = 0o600
OWNER_FOLDER: Final = 0o700
START: Final = "fieldfare institution start"


def desk_socket(home: Home, casework: Casework | None) -> UnixSocket:
    """Return where a home's desk listens.

    Raises:
        UsageError: the group of the folder has no name.
    """
    if casework is None:
        return UnixSocket(home.run / SOCKET, mode=OWNER_SOCKET, directory_mode=OWNER_FOLDER)
    number = casework.path.stat().st_gid
    try:
        group = grp.getgrgid(number).gr_name
    except KeyError:
        raise UsageError(
            f"{casework.path}: expected a folder of a group of this machine, found {number}"
        ) from None
    return UnixSocket(beside(casework), group)


def desk_users(casework: Casework | None) -> frozenset[int]:
    """Return the numbers of the users who may ask: the operator, and whoever runs the console."""
    own = frozenset({os.geteuid()})
    if casework is None or not casework.terms.console:
        return own
    try:
        return own | {pwd.getpwnam(casework.terms.console).pw_uid}
    except KeyError:
        return own  # no such user: nobody can be that


def desk_child(home: Path, passphrase: bytes | None = None) -> Child:
    """Return the process that answers for a home, and opens what the console does not."""
    return Child(
        name="desk",
        command=[sys.executable, "-I", "-m", PROCESS, str(home)],
        environment=os.environ,
        given=given_line(passphrase),
    )


def beside(casework: Casework) -> Path:
    """Return the socket of the desk that answers a group's console."""
    return casework.path / "run" / SOCKET

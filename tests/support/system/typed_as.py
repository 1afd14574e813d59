"""A command typed by another user of this machine: a process with that user's rights alone.

The interpreter may lie where that user cannot read it, as below /root: so the process is forked
from this one, and what the command imports is imported first, by trying it as root, whom no
casework folder names.
"""

import grp
import io
import os
import pwd
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Final

from fieldfare.shared.cli.root import run

# Users and a group that every Linux machine has.
CONSOLE: Final = "daemon"
MEMBER: Final = "games"
OUTSIDER: Final = "nobody"
GROUP: Final = "mail"


def typed_as(user: str, *arguments: object, member: bool = True) -> tuple[int, str, str]:
    """Return status, stdout and stderr of `fieldfare ARGUMENTS`."""
    call = [str(argument) for argument in arguments]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        run(call)  # for its imports
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:

        def typed() -> int:
            with redirect_stdout(out), redirect_stderr(err):
                status = run(call)
            out.flush()
            err.flush()
            return status

        status = as_user(user, typed, member=member)
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


def as_user(user: str, do: Callable[[], int], *, member: bool = True) -> int:
    """Return what `do` returns (0 to 200), done in a process of that user."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            _become(user, GROUP if member else "")
            status = do()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _become(user: str, group: str) -> None:
    """Give up every right but those of a user, in a group besides."""
    entry = pwd.getpwnam(user)
    os.setgroups([grp.getgrnam(group).gr_gid] if group else [])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)

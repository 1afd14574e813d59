"""`fieldfare institution custodian`: the one process that reads records, in the foreground.

Errors pass through: the root command turns them into exit codes.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import typer

from fieldfare.client.institution.admin import ADMIN_LIMITS, admin_socket, administration
from fieldfare.client.institution.admin_status import Followed
from fieldfare.client.institution.building import Institution
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.client.institution.guard import Ground, Guard, guarding
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.settings import custodian_socket_path
from fieldfare.client.service import data_plane, serving_calls
from fieldfare.client.sockets import UnixSocket
from fieldfare.shared.clock import utc_now
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.os_user import os_user
from fieldfare.shared.stop_signals import Stopped, stop_signals

LOOK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 10.0  # between looks while nothing can be served

Say = Callable[[str], None]

custodian_app = typer.Typer(add_completion=False)


@custodian_app.command("custodian")
def custodian(
    home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None
) -> None:
    """Guard the records and answer for the approved studies; runs until it is stopped.

    Decisions, a new roster, another identity and a changed policy take effect without a restart.
    """
    guard_home(home, read_passphrase(passphrase_file))


def guard_home(home: Path, passphrase: bytes | None) -> None:
    """Serve a home's custodian until this process is told to stop; for the main thread.

    Raises:
        UsageError, StudyError, KeysError: the home, its settings, roster or keys.
        LedgerError: ledger or log cannot be trusted or written.
    """
    ground = Ground(home=home, passphrase=passphrase, environment=os.environ, clock=utc_now)
    # Records are loaded before the socket appears: nobody is refused for being early.
    with stop_signals() as stopped, guarding(ground) as guard:
        serve(guard, stopped, _say)


def serve(guard: Guard, stopped: Stopped, say: Say) -> None:
    """Serve whoever is on duty, and follow what the home says, until `stopped`.

    Args:
        guard: has a custodian on duty.
        stopped: waits at most so many seconds; true once it is time to end.
        say: tells the operator a line.

    Raises:
        UsageError: a socket cannot be had.
        LedgerError: start or stop cannot be logged.
    """
    where, user = socket_of(guard.institution), os_user()
    _tell_left_out(guard, say)
    with (
        serving_calls(administration(guard), admin_socket(guard.institution), ADMIN_LIMITS),
        serving_calls(data_plane(guard.answer), where),
    ):
        guard.journal.append(Event.START, user, user=user)
        say(f"serving on {where.path}")
        _watch(guard, stopped, say)
    guard.log.settle(at_once=True)
    guard.journal.append(Event.STOP, user, user=user)
    say("stopped")


def _watch(guard: Guard, stopped: Stopped, say: Say) -> None:
    """Look every second; what a look brings is said, also where somebody else asked for it.

    A change is followed once nothing has moved for a second: an editor may be in the middle of
    writing, and half a policy would close the door on a run. Commands need not wait, they tell.
    """
    looked, seen = time.monotonic(), guard.look()
    while not stopped(LOOK_SECONDS):
        with suppress(LedgerError):  # the counts are kept; decisions that need the log are refused
            guard.log.settle()
        before, seen = seen, guard.look()
        again = guard.trouble and time.monotonic() - looked >= RETRY_SECONDS
        if before == seen and (guard.changed() or again):
            guard.follow()
            looked = time.monotonic()
        for followed in guard.told():
            for line in lines_of(followed):
                say(line)


def lines_of(followed: Followed) -> list[str]:
    """Return what a look brought, a line each."""
    lines = [f"in force: {line}" for line in followed.changed]
    lines += [f"nothing is served: {followed.trouble}"] if followed.trouble else []
    return lines + [f"left out: {one.id}: {one.reason}" for one in followed.left_out]


def _tell_left_out(guard: Guard, say: Say) -> None:
    for one in guard.status().studies:
        if not one.serving:
            say(f"left out: {one.id}: {one.reason}")
        elif one.records:
            say(f"study {one.id}: {one.records}; why: fieldfare institution review {one.id[:12]}")
    say("approved studies loaded")


def socket_of(institution: Institution) -> UnixSocket:
    """Return where the data plane listens, as institution.toml says."""
    group = institution.settings.custodian.group or None
    return UnixSocket(custodian_socket_path(institution.home, institution.settings), group)


def _say(line: str) -> None:
    typer.echo(f"fieldfare: custodian: {line}", err=True)

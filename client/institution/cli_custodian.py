"""`fieldfare institution custodian`: the one process that reads records, in the foreground.

Errors pass through: the root command turns them into exit codes.
"""

import os
from collections.abc import Callable
from typing import Final

import typer

from fieldfare.client.institution.building import (
    Custody,
    Institution,
    Loader,
    open_custody,
    open_institution,
    records_loader,
    utc_now,
)
from fieldfare.client.institution.cli_home import (
    DEFAULT_HOME,
    HomeOption,
    PassphraseFileOption,
)
from fieldfare.client.institution.decisions import resume
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.journal import Event
from fieldfare.client.institution.os_user import os_user
from fieldfare.client.service import serving
from fieldfare.client.sockets import UnixSocket
from fieldfare.shared.key_files import read_passphrase
from fieldfare.shared.stop_signals import Stopped, stop_signals

LOOK_SECONDS: Final = 1.0

Say = Callable[[str], None]

custodian_app = typer.Typer(add_completion=False)


@custodian_app.command("custodian")
def custodian(
    home: HomeOption = DEFAULT_HOME, passphrase_file: PassphraseFileOption = None
) -> None:
    """Guard the records and answer for the approved studies; runs until it is stopped.

    Decisions that are taken meanwhile (approve, withdraw) take effect without a restart.
    """
    institution = open_institution(home)
    with (
        stop_signals() as stopped,
        open_custody(institution, read_passphrase(passphrase_file), utc_now) as custody,
    ):
        serve(custody, records_loader(institution, os.environ), stopped, _say)


def serve(custody: Custody, load: Loader, stopped: Stopped, say: Say) -> None:
    """Load what is approved, serve it, and follow decisions until `stopped`.

    Args:
        custody: the custodian and what it stands on.
        load: reads the institution's records for a study.
        stopped: waits at most so many seconds; true once it is time to end.
        say: tells the operator a line.

    Raises:
        UsageError: the socket cannot be had.
        LedgerError: start or stop cannot be logged.
    """
    home, user = custody.institution.home, os_user()
    where = socket_of(custody.institution)
    decided = None
    # Records are loaded before the socket appears: nobody is refused for being early.
    decided = _follow(custody, load, decided, say)
    with serving(custody.custodian, where):
        custody.journal.append(Event.START, user, user=user)
        say(f"serving on {where.path}")
        while not stopped(LOOK_SECONDS):
            if decisions_of(home) != decided:
                decided = _follow(custody, load, decided, say)
    custody.journal.append(Event.STOP, user, user=user)
    say("stopped")


def socket_of(institution: Institution) -> UnixSocket:
    """Return where the data plane listens, as institution.toml says."""
    settings, home = institution.settings.custodian, institution.home
    path = home.resolve(settings.socket) if settings.socket else home.custodian_socket
    return UnixSocket(path, settings.group or None)


def decisions_of(home: Home) -> tuple[tuple[str, int, int], ...]:
    """Return what tells one state of the home's studies and decisions from another."""
    found = []
    for path in sorted(home.studies.iterdir()):
        try:
            state = path.stat()
        except FileNotFoundError:
            continue  # a file that is just being replaced: the next look sees what came of it
        found.append((path.name, state.st_mtime_ns, state.st_size))
    return tuple(found)


def _follow(
    custody: Custody, load: Loader, before: object, say: Say
) -> tuple[tuple[str, int, int], ...]:
    """Load every study that may run; says what was left out and why."""
    decided = decisions_of(custody.institution.home)
    for line in resume(custody, load):
        say(f"left out: {line}")
    say("decisions followed" if before is not None else "approved studies loaded")
    return decided


def _say(line: str) -> None:
    typer.echo(f"fieldfare: custodian: {line}", err=True)

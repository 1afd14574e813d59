"""The process in which a custodian runs as a child of `institution start`; ends with its parent.

The passphrase comes as the first line of the standard input, so that it stands in no argument
and no environment, and can be given again to a custodian that is started again.

Its administration is served beside the data plane, as a desk is (shared/desk), to the user who runs
it and to root. That socket has mode 0600 in the run folder: to connect to a unix socket is to write
to it (unix(7)), so nobody else ever reaches it, and who does is asked for the user all the same.
There is nothing to be proved beyond that, and nothing to be gained: its calls tell and look, and
neither takes anything in.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final

from fieldfare.client.daemon.reload import (
    APPROVALS_READ,
    CustodianInputs,
    CustodianReloader,
    custodian_reloader,
)
from fieldfare.client.daemon.watching import custodian_samples, moment_of, telling
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import (
    STOP_SECONDS,
    CustodianSection,
    custodian_socket_path,
)
from fieldfare.client.institution.institution import Institution
from fieldfare.client.journal.entries import Event
from fieldfare.client.wire.admin_calls import CUSTODIAN_WORDS, RELOAD, STATUS, ReloadReport
from fieldfare.client.wire.service import data_plane, serving_calls
from fieldfare.shared.desk.answering import Desk, DeskLimits, DeskLine, serving_desk
from fieldfare.shared.desk.calls import Nothing
from fieldfare.shared.errors import FieldfareError, LedgerError, RunError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import os_user
from fieldfare.shared.system.processes import Stopped, end_with_parent, read_given, stop_signals
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.shared.watch.log import begin_log, show_defects_by_place
from fieldfare.shared.watch.metrics import MetricSample

if TYPE_CHECKING:
    from fieldfare.client.daemon.link import LinkKeeper

OWNER_SOCKET: Final = 0o600
OWNER_FOLDER: Final = 0o700
ROOT: Final = 0
# Questions at once. Looks take all places but one, so that a status is told while they load
# records, also where nobody waits for them any more.
ADMIN_LIMITS: Final = DeskLimits(places=4, arrive_seconds=5, read_seconds=10)


def administration(reloader: CustodianReloader) -> Desk:
    """Return the administration of a custodian."""
    looks = BoundedSemaphore(ADMIN_LIMITS.places - 1)

    def look(_asked: Nothing, _user: int) -> ReloadReport:
        """Look at the home, unless looks that have yet to begin see the same."""
        if not looks.acquire(blocking=False):
            raise RunError(f"{CUSTODIAN_WORDS.name} is busy: {CUSTODIAN_WORDS.again}")
        try:
            return reloader.reload()
        finally:
            looks.release()

    return Desk(
        [DeskLine(STATUS, lambda _asked, _user: reloader.status()), DeskLine(RELOAD, look)],
        lambda: {os.geteuid(), ROOT},
        ADMIN_LIMITS,
        CUSTODIAN_WORDS,
    )


def admin_socket(institution: Institution) -> UnixSocket:
    """Return where the administration listens, as institution.toml says, for this user alone."""
    path = institution.home.admin_socket
    return UnixSocket(path, mode=OWNER_SOCKET, directory_mode=OWNER_FOLDER)


# -- process --------------------------------------------------------------------------------------

EXIT_FAILED: Final = 1

log: Final = logging.getLogger("fieldfare.client.daemon.process")  # it runs as __main__


def main(arguments: Sequence[str]) -> int:
    """Guard the home that is named; returns the status to end with."""
    _speak()
    try:
        keep_out_of_dumps()
        passphrase = read_given()
        end_with_parent(STOP_SECONDS)
        guard_home(Path(arguments[0]), passphrase)
    except FieldfareError as error:
        _complain(str(error))
        return error.exit_code
    except OSError as error:
        _complain(f"{error.filename or 'file'}: {error.strerror or error}")
        return EXIT_FAILED
    return 0


def _speak() -> None:
    begin_log("custodian", prefix="fieldfare: custodian: ")
    show_defects_by_place()


def _complain(message: str) -> None:
    for line in message.split("\n"):
        log.error("%s", line)


LOOK_SECONDS: Final = 1.0


RETRY_SECONDS: Final = 10.0  # between looks while nothing can be served


Say = Callable[[str], None]


def guard_home(home: Path, passphrase: bytes | None) -> None:
    """Serve a home's custodian until this process is told to stop; for the main thread.

    Raises:
        UsageError, StudyError, KeysError: the home, its settings, roster or keys.
        LedgerError: ledger or log cannot be trusted or written.
    """
    _speak()
    inputs = CustodianInputs(
        home=home, passphrase=passphrase, environment=os.environ, clock=utc_now
    )
    # Records are loaded before the socket appears: no early call is refused.
    with stop_signals() as stopped, custodian_reloader(inputs) as reloader:
        serve(reloader, stopped, _say)


def serve(reloader: CustodianReloader, stopped: Stopped, say: Say) -> None:
    """Serve the home's custodian, and reload it at changes, until `stopped`.

    Args:
        reloader: has begun to serve.
        stopped: waits at most so many seconds; true once it is time to end.
        say: tells the operator a line.

    Raises:
        UsageError: a socket cannot be had.
        LedgerError: start or stop cannot be logged.
    """
    institution, user = reloader.institution, os_user()
    settings = institution.settings.custodian
    keeper = _keeper(institution.home, settings) if settings.listen else None
    where = keeper.begin() if keeper else socket_of(institution)
    # Which studies lack their records is for people: `status` says it, a log does not.
    say(APPROVALS_READ)
    with (
        serving_desk(administration(reloader), admin_socket(institution)),
        serving_calls(
            data_plane(reloader.answer), where, beside=[keeper.service()] if keeper else []
        ),
        telling(_textfile(institution), lambda: _samples(reloader, keeper)),
    ):
        reloader.journal.append(Event.START, user, user=user)
        say(f"serving on {where.path if isinstance(where, UnixSocket) else where.address}")
        _watch(reloader, stopped, say, keeper)
    reloader.log.settle(at_once=True)
    reloader.journal.append(Event.STOP, user, user=user)
    say("stopped")


def _keeper(home: Home, settings: CustodianSection) -> "LinkKeeper":
    # A custodian that listens at no port loads nothing that makes and signs certificates.
    from fieldfare.client.daemon.link import LinkKeeper  # noqa: PLC0415 -- above

    return LinkKeeper(home, settings, utc_now)


def _textfile(institution: Institution) -> Path | None:
    """Return where metrics are written, as institution.toml says; None: nowhere."""
    named = institution.settings.watch.textfile
    return institution.home.resolve(named) if named else None


def _samples(
    reloader: CustodianReloader, keeper: "LinkKeeper | None" = None
) -> Iterator[MetricSample]:
    institution = reloader.institution
    delta, now = institution.policy.budget.delta, utc_now()
    status, counts = reloader.status(), reloader.counts()
    yield from custodian_samples(moment_of(institution.home, delta, status, counts, now))
    if keeper:
        yield from keeper.samples()


def _watch(
    reloader: CustodianReloader, stopped: Stopped, say: Say, keeper: "LinkKeeper | None" = None
) -> None:
    """Look every second; print the changes of every look, whichever command asked for it.

    A change counts once nothing has moved for a second: an editor may be in the middle of
    writing, and half a policy would close the door on a run. Commands need not wait, they tell.
    """
    looked, seen = time.monotonic(), reloader.look()
    while not stopped(LOOK_SECONDS):
        if keeper:
            keeper.look()
        with suppress(LedgerError):  # the counts are kept; decisions that need the log are refused
            reloader.log.settle()
        before, seen = seen, reloader.look()
        again = reloader.trouble and time.monotonic() - looked >= RETRY_SECONDS
        if before == seen and (reloader.changed() or again):
            reloader.reload()
            looked = time.monotonic()
        for report in reloader.told():
            for line in lines_of(report):
                say(line)


def lines_of(report: ReloadReport) -> list[str]:
    """Return what a log says of a reload, a line each."""
    lines = [f"in force: {line}" for line in report.changed]
    lines += [f"nothing is served: {report.trouble}"] if report.trouble else []
    return lines


def socket_of(institution: Institution) -> UnixSocket:
    """Return where the data plane listens, as institution.toml says."""
    group = institution.settings.custodian.group or None
    return UnixSocket(custodian_socket_path(institution.home, institution.settings), group)


def _say(line: str) -> None:
    log.info("%s", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

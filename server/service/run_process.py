"""The process that is one run's server, as a child of the runner (runner.py).

A process of its own because flwr keeps what a run is in globals, and because a run that goes
wrong then takes no other with it. The token that makes it the run's server comes through its
standard input: what stands in arguments or the environment, others can read.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn, Protocol

from flwr.serverapp import Grid

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.server.store.store import run_store
from fieldfare.server.superlink.facts import ServerTask
from fieldfare.server.superlink.retention import quiet_flower
from fieldfare.server.superlink.superlink import server_task
from fieldfare.shared.errors import FieldfareError, RunError
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import OTHERS, read_public
from fieldfare.shared.system.processes import (
    EXIT_DEFECT,
    STOP_SIGNALS,
    dismiss_itself,
    end_at_once,
    end_on_defect,
    end_with_parent,
    given_line,
    read_given,
)
from fieldfare.shared.watch.log import begin_log, correlated

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 3  # the SuperLink was told why
EXIT_STOPPED: Final = 4  # so was it
EXIT_OVER: Final = 5  # it said so itself
NAMED_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
TOLD: Final = frozenset({EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, EXIT_OVER})

STOPPED: Final = (
    "the coordinator was stopped: `fieldfare coordinator run resume` goes on with the next step"
)


class RunConductor(Protocol):
    """The function that carries out a run (run/conduct.py)."""

    def __call__(
        self,
        home: CoordinatorHome,
        grid: Grid,
        study: str,
        run: str,
        *,
        passphrase: bytes | None = None,
    ) -> None:
        """Carry out a run of a study."""
        ...


@dataclass(frozen=True)
class RunnerInput:
    """The values that the runner hands over on standard input, one line each.

    Attributes:
        token: makes this process the run's server.
        passphrase: of the coordinator's signing key, None where it has none.
    """

    token: str = field(repr=False)
    passphrase: bytes | None = field(repr=False)

    def lines(self) -> bytes:
        """Return the lines that are written to the process."""
        return f"{self.token}\n".encode() + given_line(self.passphrase)


log = logging.getLogger("fieldfare.server.service.run_process")  # it runs as __main__


class StoppedError(BaseException):
    """The process was told to stop. Not an Exception, so that no handler takes it for a failure."""


class RunDismissedError(BaseException):
    """The SuperLink ended the run: flwr says so by SIGINT to itself."""


def run_task(home: CoordinatorHome, handed: RunnerInput, carry_out: RunConductor) -> int:
    """Be a run's server until its end; returns the status to end with.

    Raises:
        RunError: the SuperLink does not give the run, or did not hear of its end.
    """
    address = load_settings(home).local_address
    try:
        with server_task(address, read_public(home.authority), handed.token) as task:
            return _carried_out(home, task, handed.passphrase, carry_out)
    except RunDismissedError:
        log.info("the SuperLink ended the run")
        return EXIT_OVER


def _carried_out(
    home: CoordinatorHome, task: ServerTask, passphrase: bytes | None, carry_out: RunConductor
) -> int:
    study, run = task.configuration.get("study", ""), task.configuration.get("run", "")
    try:
        with correlated(study=study, run=run):
            if run:
                check_newest(home, run, task.run)
            carry_out(home, task.grid, study, run, passphrase=passphrase)
    except FieldfareError as error:
        log.warning("%s: %s", run or study, error)
        task.finish(str(error))
        return EXIT_FAILED
    except StoppedError:
        task.finish(STOPPED)
        return EXIT_STOPPED
    task.finish(None)
    return EXIT_DONE


def check_newest(
    home: CoordinatorHome,
    run: str,
    flower_run: int,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Refuse to carry on a run for which another process was started.

    Whoever starts one says so in the run store right afterwards. One that was killed before it
    could is followed by another start, and then there are two processes: this one leaves.

    Raises:
        RunError: the store names another one.
    """
    end = monotonic() + NAMED_SECONDS
    with run_store(home.runs_database) as store:
        while store.is_known(run) and store.row(run).flower_run != flower_run:
            if monotonic() >= end:
                raise RunError(f"run {run}: another process was started for it, this one ends")
            sleep(POLL_SECONDS)


def main(arguments: Sequence[str], carry_out: RunConductor) -> int:
    """Be the server of the run whose token is on standard input; for the runner alone."""
    os.umask(OTHERS)
    begin_log("run")
    quiet_flower()
    keep_out_of_dumps()
    _listen()
    try:
        token = read_given()
        if token is None:
            raise RunError("expected a line on standard input, found none: the runner writes it")
        handed = RunnerInput(token.decode("ascii", "replace"), read_given())
        end_with_parent()
        return run_task(CoordinatorHome.open(Path(arguments[0])), handed, carry_out)
    except FieldfareError as error:
        log.warning("%s", error)
        return EXIT_DEFECT
    except StoppedError:
        return EXIT_DEFECT  # before it had the run: the runner says so


def _listen() -> None:
    """Take signals; the first one counts."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        """End the run on a signal."""
        del number, frame
        _ignore()
        raise StoppedError

    def dismiss(number: int, frame: FrameType | None) -> NoReturn:
        """End the run because whoever started it is gone."""
        del number, frame
        _ignore()
        raise RunDismissedError

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    signal.signal(signal.SIGINT, dismiss)
    # A heartbeat that fails for good ends its thread only; the SuperLink would end the run.
    threading.excepthook = dismiss_itself


def _ignore() -> None:
    for each in STOP_SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # the end is not interrupted


if __name__ == "__main__":
    # Not above: the runner imports this module too, and needs none of what a run needs.
    from fieldfare.server.run.conduct import carry_out
    from fieldfare.shared.study.allowed_packages import permit_as_told

    permit_as_told(os.environ)
    sys.excepthook = end_on_defect
    end_at_once(main(sys.argv[1:], carry_out))

"""The process of the runner, a child of `coordinator start`; it ends with its parent.

Beside serving runs it keeps the SuperLink's list of nodes as the enrolments say, so that a
change that was made while the SuperLink was down is made up for.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.members.enrolment import members
from fieldfare.server.members.node_registration import settle_nodes
from fieldfare.server.service.run_process import first_line
from fieldfare.server.service.runner import RunCommand, Runner
from fieldfare.server.superlink.control import control_target, read_token
from fieldfare.server.superlink.retention import flower_environment, quiet_flower
from fieldfare.server.superlink.superlink import control, tasks
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import end_with_parent, stop_signals

RUN_PROCESS: Final = "fieldfare.server.service.run_process"
SETTLE_SECONDS: Final = 60.0

log = logging.getLogger("fieldfare.server.service.runner_process")  # it runs as __main__


@dataclass
class Settling:
    """Registers the nodes of those who enrolled, whenever that may have changed.

    Attributes:
        home: the coordinator's.
        say: takes a line about each change.
        monotonic: a clock that only goes forward, seconds.
    """

    home: CoordinatorHome
    say: Callable[[str], None]
    monotonic: Callable[[], float] = time.monotonic
    _seen: int = 0
    _due: float = 0.0
    _trouble: str = ""

    def __call__(self) -> None:
        """Look, and settle if there is cause to."""
        seen = self.home.members.stat().st_mtime_ns
        if seen == self._seen and self.monotonic() < self._due:
            return
        self._seen, self._due = seen, self.monotonic() + SETTLE_SECONDS
        try:
            with control(control_target(self.home)) as link:
                done = settle_nodes(members(self.home), link)
        except FieldfareError as error:
            self._complain(str(error))
            return
        if done.registered:
            self.say(f"nodes may sign on now: {', '.join(done.registered)}")
        if done.taken_off:
            self.say(f"nodes taken off: {done.taken_off}")
        self._complain("; ".join(f"{name}: {reason}" for name, reason in done.refused))

    def _complain(self, trouble: str) -> None:
        """Report a fault, once for as long as it lasts."""
        if trouble and trouble != self._trouble:
            self.say(f"nodes are not as the enrolments say: {trouble}")
        self._trouble = trouble


def run_command(home: CoordinatorHome, passphrase: bytes | None) -> RunCommand:
    """Return how a home's runs are started.

    Raises:
        StudyError, KeysError: the home's settings or the authority cannot be read.
    """
    target = control_target(home)
    return RunCommand(
        command=[sys.executable, "-I", "-m", RUN_PROCESS, str(home.path)],
        environment=flower_environment(os.environ, home.run),
        address=target.address,
        authority=target.authority,
        passphrase=passphrase,
    )


def serve_runs(home: CoordinatorHome, command: RunCommand) -> None:
    """Serve runs until a stop signal."""
    secret = read_token(home.runtime_token).encode()
    runner = Runner(command, log.info, Settling(home, log.info))
    with stop_signals() as stopped, tasks(command.address, command.authority, secret) as desk:
        runner.serve(desk, stopped)


def main(arguments: Sequence[str]) -> int:
    """Serve the runs of a home; the signing key's passphrase is on standard input."""
    os.umask(OTHERS)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("fieldfare").setLevel(logging.INFO)
    quiet_flower()
    try:
        passphrase = first_line() or None
        end_with_parent()
        home = CoordinatorHome.open(Path(arguments[0]))
        serve_runs(home, run_command(home, passphrase))
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

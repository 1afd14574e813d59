"""The process of the coordinator's desk, as a child of `coordinator start`.

It is small until somebody acts: what an act needs is loaded for the first one, 0.2 s and 31 MB
before it, 2.4 s and 217 MB with it.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from fieldfare.server.desk.calls import (
    ASK,
    GREET,
    PROPOSE,
    RESUME_RUN,
    START_RUN,
    STOP_RUN,
    ActReceipt,
    desk_socket,
)
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.desk.answering import Desk, DeskLine, serving_desk
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import end_with_parent, read_given, stop_signals
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.shared.watch.log import begin_log

if TYPE_CHECKING:
    from fieldfare.server.desk.acts import CoordinatorDesk

LOOK_SECONDS: Final = 0.5
SOCKET_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

log: Final = logging.getLogger("fieldfare.server.desk.process")  # it runs as __main__


@dataclass
class LateActs:
    """The acts of a home, made when the first one is asked for.

    Attributes:
        home: the coordinator's.
        passphrase: of its online key, None where it has none.
    """

    home: CoordinatorHome
    passphrase: bytes | None = field(repr=False)
    _made: "CoordinatorDesk | None" = None
    _one: Lock = field(default_factory=Lock)

    def __call__(self) -> "CoordinatorDesk":
        """Return them."""
        with self._one:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> "CoordinatorDesk":
        from fieldfare.server.desk.acts import CoordinatorDesk  # noqa: PLC0415 -- see above
        from fieldfare.server.home.initial_setup import load_signing_key  # noqa: PLC0415
        from fieldfare.server.studies.open_coordinator import open_coordinator  # noqa: PLC0415
        from fieldfare.server.superlink.retention import quiet_flower  # noqa: PLC0415
        from fieldfare.shared.protocol.messages import IdentitySigner  # noqa: PLC0415
        from fieldfare.shared.study.allowed_packages import permit_as_told  # noqa: PLC0415

        quiet_flower()
        permit_as_told(os.environ)  # plans of studies whose model is a module of its own
        opened = partial(open_coordinator, self.home.path)

        def signer() -> IdentitySigner:
            return IdentitySigner(load_signing_key(self.home, self.passphrase))

        return CoordinatorDesk(self.home, signer, opened, utc_now, time.monotonic)


def desk_lines(acts: "Callable[[], CoordinatorDesk]") -> tuple[DeskLine[Any, ActReceipt], ...]:
    """Return the closed list."""
    return (
        DeskLine(PROPOSE, lambda asked, _: acts().propose(asked)),
        DeskLine(GREET, lambda asked, _: acts().greet(asked)),
        DeskLine(ASK, lambda asked, _: acts().ask(asked)),
        DeskLine(START_RUN, lambda asked, _: acts().start(asked)),
        DeskLine(RESUME_RUN, lambda asked, _: acts().resume(asked)),
        DeskLine(STOP_RUN, lambda asked, _: acts().stop(asked)),
    )


def main(arguments: Sequence[str]) -> int:
    """Serve the desk of a home; the signing key's passphrase is on standard input."""
    os.umask(OTHERS)
    begin_log("desk")
    keep_out_of_dumps()
    try:
        passphrase = read_given()
        end_with_parent()
        serve_desk(CoordinatorHome.open(Path(arguments[0])), passphrase)
    except FieldfareError as error:
        log.warning("no console can act: %s", error)
        return error.exit_code
    return 0


def serve_desk(home: CoordinatorHome, passphrase: bytes | None) -> None:
    """Answer this user's console until a stop signal.

    Raises:
        UsageError: the socket cannot be had.
    """
    desk = Desk(desk_lines(LateActs(home, passphrase)), lambda: {os.getuid()})
    with stop_signals() as stopped, serving_desk(desk, desk_place(home)):
        while not stopped(LOOK_SECONDS):
            pass


def desk_place(home: CoordinatorHome) -> UnixSocket:
    """Return where a coordinator's desk listens: for its own user alone."""
    return UnixSocket(desk_socket(home), mode=SOCKET_MODE, directory_mode=FOLDER_MODE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

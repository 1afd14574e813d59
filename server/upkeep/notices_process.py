"""The process that sends a coordinator's notices, as a child of `coordinator start`."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.superlink.retention import quiet_flower
from fieldfare.server.upkeep.notice_facts import CoordinatorFacts
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import end_with_parent, stop_signals
from fieldfare.shared.watch.dispatch import Dispatcher, NoticesHome
from fieldfare.shared.watch.log import begin_log

log: Final = logging.getLogger("fieldfare.server.upkeep.notices_process")  # it runs as __main__


def main(arguments: Sequence[str]) -> int:
    """Send the notices of a home."""
    os.umask(OTHERS)
    begin_log("notices")
    quiet_flower()
    try:
        end_with_parent()
        home = CoordinatorHome.open(Path(arguments[0]))
        look = CoordinatorFacts(home).look
        with stop_signals() as stopped:
            Dispatcher(notices_home(home), look, log.info, utc_now).serve(stopped)
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    return 0


def notices_home(home: CoordinatorHome) -> NoticesHome:
    """Return where a coordinator keeps what belongs to notices."""
    return NoticesHome(home.path, home.notices, home.outbox)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

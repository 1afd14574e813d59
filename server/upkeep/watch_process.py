"""The process that tells how a coordinator is, as a child of `coordinator start`.

It starts where coordinator.toml names an address, reads what a console reads, and holds no key.
What reads a home is loaded at the first look.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.home.settings import load_settings
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.study.allowed_packages import permit_as_told
from fieldfare.shared.system.late import late
from fieldfare.shared.system.memory import keep_out_of_dumps
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import end_with_parent, stop_signals
from fieldfare.shared.watch.listener import WatchSource, watched_at
from fieldfare.shared.watch.log import begin_log

WAIT_SECONDS: Final = 3600.0

coordinator_state: Final = late("fieldfare.server.upkeep.watch_state", "CoordinatorState")

log: Final = logging.getLogger("fieldfare.server.upkeep.watch_process")  # it runs as __main__


def main(arguments: Sequence[str]) -> int:
    """Tell how the home is that is named first."""
    os.umask(OTHERS)
    begin_log("watch")
    keep_out_of_dumps()
    permit_as_told(os.environ)  # studies whose model is a module of its own are counted too
    end_with_parent()
    try:
        home = CoordinatorHome.open(Path(arguments[0]))
        address = load_settings(home).watch
        source = WatchSource(
            role="coordinator",
            samples=lambda: coordinator_state(home).samples(),
            probes=lambda: coordinator_state(home).probes(),
            alive=lambda: coordinator_state(home).superlink_answers(),
        )
        with stop_signals() as stopped, watched_at(address, source):
            log.info("metrics and health at http://%s", address)
            while not stopped(WAIT_SECONDS):
                pass
    except FieldfareError as error:
        log.warning("%s", error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

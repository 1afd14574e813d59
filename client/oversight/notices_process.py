"""The process that sends an institution's notices, as a child of `institution start`.

It opens no record, no key of the identity and no ledger: it looks at names of files, decisions,
the log and the node's note, and asks the custodian for its budget. Its environment holds no
address of a database.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fieldfare.client.home.layout import Home
from fieldfare.client.oversight.notice_facts import InstitutionFacts
from fieldfare.shared.errors import FieldfareError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import OTHERS
from fieldfare.shared.system.processes import end_with_parent, stop_signals
from fieldfare.shared.watch.dispatch import Dispatcher, NoticesHome
from fieldfare.shared.watch.log import begin_log

log: Final = logging.getLogger("fieldfare.client.oversight.notices_process")  # it runs as __main__


def main(arguments: Sequence[str]) -> int:
    """Send the notices of the home that is named first; second comes its custodian's socket."""
    os.umask(OTHERS)
    begin_log("notices", prefix="fieldfare: notices: ")
    try:
        end_with_parent()
        home = Home.opened_before(Path(arguments[0]))
        facts = InstitutionFacts(home, Path(arguments[1]))
        with stop_signals() as stopped:
            Dispatcher(notices_home(home), facts.look, _say, utc_now).serve(stopped)
    except FieldfareError as error:
        _say(str(error))
        return error.exit_code
    return 0


def notices_home(home: Home) -> NoticesHome:
    """Return where an institution keeps what belongs to notices."""
    return NoticesHome(home.path, home.notices, home.outbox)


def _say(line: str) -> None:
    log.info("%s", line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

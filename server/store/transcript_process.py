"""A signed transcript, to stdout.

`python -m fieldfare.server.store.transcript_process DATABASE RUN`.

A process of its own, so that who asks for one (a console) holds none of it in memory, and can end
it. It needs no key: it writes what the coordinator signed at the end of the run.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fieldfare.server.store.export import write_signed
from fieldfare.server.store.store import run_store_to_read
from fieldfare.shared.errors import FieldfareError


def main(arguments: Sequence[str]) -> int:
    """Write a run's transcript; errors go to stderr."""
    database, run = arguments
    try:
        with run_store_to_read(Path(database)) as store:
            write_signed(store, run, sys.stdout.buffer)
    except FieldfareError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The ServerApp for a stock `flwr-serverapp`, in place of this project's own runner.

    FIELDFARE_COORDINATOR=/path/of/the/home flower-superexec ...

The bundle names it, as Flower wants a bundle to name one. Our own runner (runner.py) carries out
the same run without unpacking anything that was sent.
"""

import os
from pathlib import Path
from typing import Final

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.run.conduct import carry_out
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.key_files import read_passphrase

HOME: Final = "FIELDFARE_COORDINATOR"
PASSPHRASE_FILE: Final = "FIELDFARE_PASSPHRASE_FILE"  # noqa: S105 -- the name of a path

app: Final = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Carry out the run that the configuration names.

    Raises:
        UsageError: the environment names no coordinator's folder.
    """
    path = os.environ.get(HOME)
    if not path:
        raise UsageError(
            f"expected {HOME} with the coordinator's folder in the environment, found none"
        )
    file = os.environ.get(PASSPHRASE_FILE)
    study, run = (str(context.run_config.get(key, "")) for key in ("study", "run"))
    passphrase = read_passphrase(Path(file) if file else None)
    carry_out(CoordinatorHome.open(Path(path)), grid, study, run, passphrase=passphrase)

"""The ClientApp for a stock `flower-supernode`, in place of this project's own node.

    flower-supernode ... --node-config 'custodian="/run/fieldfare/custodian.sock"'

A stock node installs and imports what a coordinator sends, opens a port and starts a process
for every message: our own (client/node/node.py) does none of this, and is what an institution
should run. The custodian checks the same either way.
"""

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final

from flwr.app import Context

from fieldfare.client.node.client_app import client_app
from fieldfare.client.node.remote_custodian import connected
from fieldfare.client.wire.calls import CustodianPort
from fieldfare.shared.errors import UsageError

SETTING: Final = "custodian"

_open: Final = ExitStack()  # never closed: Flower starts a process for every message


def custodian_of(context: Context) -> CustodianPort:
    """Return the custodian whose socket the node's own configuration names.

    Raises:
        UsageError: it names none; the run's configuration, a coordinator's, is never asked.
    """
    path = context.node_config.get(SETTING)
    if not isinstance(path, str) or not Path(path).is_absolute():
        raise UsageError(
            "expected an absolute path of the custodian's socket in the node's configuration: "
            f"start the node with --node-config '{SETTING}=\"/path\"'"
        )
    return _connected(path)


@cache
def _connected(path: str) -> CustodianPort:
    return _open.enter_context(connected(Path(path)))


app = client_app(custodian_of)

"""`fieldfare institution node` in the foreground.

Where only the node's libraries are installed, it works: it imports no inner room.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.client.node.terms import load_node_terms
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.processes import RestartRules, supervise
from fieldfare.shared.watch.log import FORM

SETTINGS_NAME: Final = "node.toml"
PROCESS: Final = "fieldfare.client.node.process"
BAD_INPUT: Final = 2
RULES: Final = RestartRules(final=frozenset({0, BAD_INPUT}))

MISSING: Final = """\
{path}: expected the node's settings, found none: ask the coordinator, put authority.pem (the \
certificate that signed the SuperLink's) beside it, and write
    superlink = "<host:port>"
    bundles = ["<sha256 of the bundle whose runs are answered>"]"""


@app.command("institution.node")
def node(
    home: HomeOption = DEFAULT_HOME,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="The node's own settings, where it runs as another user: the home is left alone.",
            show_default="node.toml in the home",
        ),
    ] = None,
) -> None:
    """Connect the custodian to the coordinator's SuperLink; runs until it is stopped.

    Needs the custodian's socket, the node's key and an outgoing connection. Opens no port.
    """
    path = (settings or home / SETTINGS_NAME).absolute()
    if not path.exists():
        raise UsageError(MISSING.format(path=path))
    terms = load_node_terms(path)
    custodian = terms.custodian
    shown = custodian if isinstance(custodian, Path) else f"{custodian.host}:{custodian.port}"
    typer.echo(f"fieldfare: node: {terms.superlink}, custodian at {shown}", err=True)
    with tempfile.TemporaryDirectory(prefix="fieldfare-node-") as folder:
        status = supervise(
            [sys.executable, "-I", "-m", PROCESS, str(path)],
            node_environment(os.environ, Path(folder)),
            lambda text: typer.echo(f"fieldfare: node: {text}", err=True),
            RULES,
        )
    raise typer.Exit(status)


def node_environment(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return a node's environment: nothing in it steers flwr, which calls only its SuperLink.

    Args:
        given: the environment of this process.
        folder: an empty, private one, for what flwr may want to keep.
    """
    kept = {name: value for name, value in given.items() if not _steers(name)}
    return kept | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


def _steers(name: str) -> bool:
    """Say whether a variable belongs to flwr, or to commands of an institution with secrets."""
    return name != FORM and name.upper().startswith(("FLWR_", "FIELDFARE_"))

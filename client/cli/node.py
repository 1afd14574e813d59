"""`fieldfare institution node` in the foreground; custodian and node as services of the system.

Where only the node's libraries are installed, these commands work: they import no inner room.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.client.node.terms import load_node_terms
from fieldfare.shared.cli.services import (
    CommandOption,
    DryRunOption,
    ForceOption,
    RootOption,
    ServicePassphraseOption,
    install_service,
    uninstall_service,
)
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.service_files import ServiceTerms, own_command
from fieldfare.shared.system.processes import RestartRules, supervise
from fieldfare.shared.watch.log import FORM

SETTINGS_NAME: Final = "node.toml"
PROCESS: Final = "fieldfare.client.node.process"
BAD_INPUT: Final = 2
RULES: Final = RestartRules(final=frozenset({0, BAD_INPUT}))

MISSING: Final = """\
{path}: expected the node's settings, found none: ask the coordinator, lay authority.pem (the \
certificate of who signed the SuperLink's) beside it, and write
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


SERVICE_HOME: Final = Path("/var/lib/fieldfare")
NODE_HOME: Final = Path("/var/lib/fieldfare-node")


class ServicePart(StrEnum):
    """Which of the two services a machine gets."""

    BOTH = "both"
    CUSTODIAN = "custodian"
    NODE = "node"

    def names(self) -> tuple[str, ...]:
        """Return the services' names."""
        return ("custodian", "node") if self is ServicePart.BOTH else (self.value,)


PartOption = Annotated[ServicePart, typer.Option("--part", help="Which of the two services.")]
HomeFolderOption = Annotated[Path, typer.Option("--home", help="The institution's folder.")]
NodeHomeOption = Annotated[
    Path, typer.Option("--node-home", help="The node's own folder, with node.toml and its key.")
]
NetworkOption = Annotated[
    bool,
    typer.Option("--network", help="Records come from a database, or the node, over the network."),
]


@app.command("institution.service.install")
def service_install(
    part: PartOption = ServicePart.BOTH,
    home: HomeFolderOption = SERVICE_HOME,
    node_home: NodeHomeOption = NODE_HOME,
    command: CommandOption = None,
    passphrase_file: ServicePassphraseOption = None,
    network: NetworkOption = False,
    root: RootOption = Path("/"),
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Write systemd units, users and folders for custodian and node, each a user of its own."""
    program = command or own_command(sys.executable, sys.argv[0])
    terms = ServiceTerms(program, home, node_home, passphrase_file, network)
    install_service(part.names(), terms, root, dry_run=dry_run, force=force)


@app.command("institution.service.uninstall")
def service_uninstall(
    part: PartOption = ServicePart.BOTH,
    root: RootOption = Path("/"),
    force: ForceOption = False,
) -> None:
    """Remove the units and the files beside them; homes, ledgers and users stay."""
    terms = ServiceTerms(Path("/"), SERVICE_HOME, NODE_HOME)
    uninstall_service(part.names(), terms, root, force=force)

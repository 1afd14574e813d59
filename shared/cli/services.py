"""`fieldfare service install|uninstall`: a party's processes as services of the system.

Where only the node's libraries are installed, these commands work.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.cli.part import HomeParty
from fieldfare.shared.cli.parties import parties, party_of, service_party
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.service_files import (
    ServiceTerms,
    next_steps,
    own_command,
    remove_service_files,
    service_files,
    shown,
    write_service_files,
)

NODE_HOME: Final = Path("/var/lib/fieldfare-node")


class ServicePart(StrEnum):
    """Which services a machine gets."""

    BOTH = "both"
    CUSTODIAN = "custodian"
    NODE = "node"
    COORDINATOR = "coordinator"

    def names(self) -> tuple[str, ...]:
        """Return the services' names."""
        return ("custodian", "node") if self is ServicePart.BOTH else (self.value,)


PartOption = Annotated[
    ServicePart | None,
    typer.Option(
        "--part",
        help="Which services: custodian, node or both, or the coordinator.",
        show_default="all of the party whose home it is",
    ),
]
HomeFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        help="The coordinator's or the institution's folder.",
        show_default="/var/lib/fieldfare-coordinator or /var/lib/fieldfare",
    ),
]
NodeHomeOption = Annotated[
    Path, typer.Option("--node-home", help="The node's own folder, with node.toml and its key.")
]
NetworkOption = Annotated[
    bool,
    typer.Option("--network", help="Records come from a database, or the node, over the network."),
]

RootOption = Annotated[
    Path,
    typer.Option("--root", metavar="DIR", help="Write below it: an image. Else this machine."),
]
CommandOption = Annotated[
    Path | None,
    typer.Option(
        "--command",
        metavar="PATH",
        help="The fieldfare that the service runs, as it will see it.",
        show_default="this one",
    ),
]
ServicePassphraseOption = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="The key's passphrase: systemd reads it and hands it to the service alone.",
        show_default=False,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show the files, write none.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Overwrite files that were changed by hand.")
]


@app.command("service.install")
def install(
    part: PartOption = None,
    home: HomeFolderOption = None,
    node_home: NodeHomeOption = NODE_HOME,
    command: CommandOption = None,
    passphrase_file: ServicePassphraseOption = None,
    network: NetworkOption = False,
    root: RootOption = Path("/"),
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Write the systemd units, users and folders of a home, each service a user of its own.

    Where there is no home yet, --part says whose services they are.
    """
    party = _party(part, home)
    names = part.names() if part else party.services
    program = command or own_command(sys.executable, sys.argv[0])
    place = home or party.service_home
    files = service_files(names, ServiceTerms(program, place, node_home, passphrase_file, network))
    if dry_run:
        typer.echo("\n".join(map(shown, files)), nl=False)
        return
    write_service_files(files, root, force=force)
    for file in files:
        typer.echo(f"wrote {root / file.place}")
    typer.echo("next:")
    for line in next_steps(names, root):
        typer.echo(f"  {line}")


def _party(part: ServicePart | None, home: Path | None) -> HomeParty:
    if part:
        return next(one for one in parties() if set(part.names()) <= set(one.services))
    try:
        return service_party() if home is None else party_of(home)[0]
    except UsageError as error:
        raise UsageError(f"{error}; before there is a home, say --part") from None


@app.command("service.uninstall")
def uninstall(
    part: PartOption = None, root: RootOption = Path("/"), force: ForceOption = False
) -> None:
    """Remove the units and the files beside them; homes, ledgers, runs and users stay.

    Without --part all services that are here.
    """
    names = part.names() if part else [name for one in parties() for name in one.services]
    files = service_files(names, ServiceTerms(Path("/"), NODE_HOME))
    removed = remove_service_files(files, root, force=force)
    for place in removed:
        typer.echo(f"removed {root / place}")
    if not removed:
        typer.echo("nothing was installed")

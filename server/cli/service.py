"""`fieldfare coordinator service install|uninstall`: the coordinator as a service."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.server.cli import app
from fieldfare.shared.cli.services import (
    CommandOption,
    DryRunOption,
    ForceOption,
    RootOption,
    ServicePassphraseOption,
    install_service,
    uninstall_service,
)
from fieldfare.shared.party.service_files import ServiceTerms, own_command

HOME: Final = Path("/var/lib/fieldfare-coordinator")
PARTS: Final = ("coordinator",)

HomeFolderOption = Annotated[Path, typer.Option("--home", help="The coordinator's folder.")]


@app.command("coordinator.service.install")
def service_install(
    home: HomeFolderOption = HOME,
    command: CommandOption = None,
    passphrase_file: ServicePassphraseOption = None,
    root: RootOption = Path("/"),
    dry_run: DryRunOption = False,
    force: ForceOption = False,
) -> None:
    """Write the coordinator's systemd unit, user and folder."""
    program = command or own_command(sys.executable, sys.argv[0])
    terms = ServiceTerms(program, home, passphrase_file=passphrase_file)
    install_service(PARTS, terms, root, dry_run=dry_run, force=force)


@app.command("coordinator.service.uninstall")
def service_uninstall(root: RootOption = Path("/"), force: ForceOption = False) -> None:
    """Remove the unit and the files beside it; home, runs and user stay."""
    uninstall_service(PARTS, ServiceTerms(Path("/"), HOME), root, force=force)

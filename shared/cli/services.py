"""What both roles' `service install` and `uninstall` share: options, and what they say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.party.service_files import (
    ServiceTerms,
    next_steps,
    remove_service_files,
    service_files,
    shown,
    write_service_files,
)

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
    bool, typer.Option("--force", help="Also where a file was changed by hand: it is lost.")
]


def install_service(
    parts: Sequence[str], terms: ServiceTerms, root: Path, *, dry_run: bool, force: bool
) -> None:
    """Write a role's service files, or show them, and say what to type next."""
    files = service_files(parts, terms)
    if dry_run:
        typer.echo("\n".join(map(shown, files)), nl=False)
        return
    write_service_files(files, root, force=force)
    for file in files:
        typer.echo(f"wrote {root / file.place}")
    typer.echo("next:")
    for line in next_steps(parts, root):
        typer.echo(f"  {line}")


def uninstall_service(
    parts: Sequence[str], terms: ServiceTerms, root: Path, *, force: bool
) -> None:
    """Remove a role's service files; homes, users and what they hold stay."""
    removed = remove_service_files(service_files(parts, terms), root, force=force)
    for place in removed:
        typer.echo(f"removed {root / place}")
    if not removed:
        typer.echo("nothing was installed")

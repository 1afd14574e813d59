"""`fieldfare software bill|lock`: what is installed here, and what a role installs."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.party.installed_software import changed_files
from fieldfare.shared.party.software_bill import bill_bytes
from fieldfare.shared.party.software_lock import lock_text

OutOption = Annotated[
    Path | None, typer.Option(help="Write it here, not to stdout.", show_default=False)
]
CheckOption = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Also read every installed file: name each that is not as it was installed, and end "
        "with 1 then.",
    ),
]
RoleArgument = Annotated[
    str, typer.Argument(metavar="ROLE", help="auditor, coordinator, institution, lab or node.")
]


@app.command("software.bill")
def software_bill(out: OutOption = None, check: CheckOption = False) -> None:
    """List every installed package, with licence and hashes: a bill of materials (CycloneDX)."""
    _write(bill_bytes(), out)
    changed = changed_files() if check else ()
    for line in changed:
        typer.echo(f"not as it was installed: {line}", err=True)
    if changed:
        raise typer.Exit(1)


@app.command("software.lock")
def software_lock(role: RoleArgument, out: OutOption = None) -> None:
    """Print what a role installs, every package at one version with hashes, for pip."""
    _write(lock_text(role).encode(), out)


def _write(content: bytes, out: Path | None) -> None:
    if out is None:
        typer.echo(content.decode(), nl=False)
    else:
        out.write_bytes(content)

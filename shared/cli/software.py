"""`fieldfare software [ROLE]`: what is installed here, and what a role installs."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.errors import UsageError
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
        help="Also read every installed file: name each that has changed since, and exit 1 "
        "if one has.",
    ),
]
RoleArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="ROLE",
        help="What this one installs, every package at one version with hashes, for pip: auditor, "
        "coordinator, institution, lab or node.",
    ),
]


@app.command("software")
def software(role: RoleArgument = None, out: OutOption = None, check: CheckOption = False) -> None:
    """List what is installed here, as a bill of materials, or what a role installs, for pip.

    The bill of materials (CycloneDX) has every package, with licence and hashes.
    """
    if role is not None:
        if check:
            raise UsageError("--check: expected no ROLE, found one: it reads what is here")
        _write(lock_text(role).encode(), out)
        return
    _write(bill_bytes(), out)
    changed = changed_files() if check else ()
    for line in changed:
        typer.echo(f"not as it was installed: {line}", err=True)
    if changed:
        raise typer.Exit(1)


def _write(content: bytes, out: Path | None) -> None:
    if out is None:
        typer.echo(content.decode(), nl=False)
    else:
        out.write_bytes(content)

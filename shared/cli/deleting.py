"""What every command asks that deletes by hand: why, whether it is a dry run, and to confirm it."""

from collections.abc import Callable
from typing import Annotated, Final

import typer

from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.file_deletion import OwnFile

ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it stays in the log, and leaves in no statement.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]
_DECLINED: Final = 1  # a person was asked and said no


def show(file: OwnFile) -> None:
    """Say of a file what it is, and its hash, before anybody is asked."""
    of = f" of run {file.run}" if file.run else ""
    typer.echo(f"{file.path}: {file.kind.value}{of}, {file.size:,} bytes")
    typer.echo(f"  SHA-256 {file.digest}")


def goes(reason: str, agreed: Callable[[str], bool], *, dry_run: bool, yes: bool) -> bool:
    """Tell whether it shall go; a dry run deletes nothing.

    Args:
        reason: why, as it was typed.
        agreed: asks a person.
        dry_run: nothing is asked and nothing goes.
        yes: nothing is asked.

    Raises:
        UsageError: no reason was given.
        Exit: the person does not confirm it.
    """
    if dry_run:
        typer.echo("a dry run: nothing was deleted")
        return False
    if not reason.strip():
        raise UsageError("--reason: expected why it goes, found nothing: it is logged")
    if not yes and not agreed("Delete it for good?"):
        typer.echo("nothing was deleted")
        raise typer.Exit(_DECLINED)
    return True

"""`fieldfare recovery key FILE`, and how a recovery key is said."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.party.recovery_key import PUBLIC_SUFFIX, RecoveryPrivate
from fieldfare.shared.system.private_files import create_private


@app.command("recovery.key")
def recovery_key(
    file: Annotated[Path, typer.Argument(help="A new file for the private half.")],
) -> None:
    """Make a recovery key, offline: FILE opens backups, FILE.pub is for homes that write them."""
    made = RecoveryPrivate.generate()
    public = file.parent / (file.name + PUBLIC_SUFFIX)  # of a folder too, which is refused next
    create_private(file, made.content)
    create_private(public, made.public.content)
    typer.echo(
        "\n".join(
            [
                f"wrote {file}: it opens every backup; keep it where no home is, on paper too",
                f"wrote {public}: take it to the home",
                *key_lines(made.public.spoken),
            ]
        )
    )


def key_lines(spoken: str) -> list[str]:
    """Return a recovery key's fingerprint as people compare it."""
    return [f"recovery key  {spoken[:39]}", f"              {spoken[40:]}"]

"""`fieldfare recovery key FILE`, and what every party's backup and restore say alike."""

from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.party.home_copies import WrittenBackup
from fieldfare.shared.party.recovery_key import PUBLIC_SUFFIX, RecoveryPrivate
from fieldfare.shared.system.private_files import create_private

MOST_STRANGERS: Final = 8

RecoveryKeyOption = Annotated[
    Path, typer.Option("--recovery-key", metavar="FILE", help="The recovery key's private half.")
]


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


def backup_lines(file: Path, done: WrittenBackup) -> list[str]:
    """Return what was written, and what was not."""
    header, megabytes = done.header, file.stat().st_size / 1e6
    lines = [
        f"wrote {file}",
        f"{len(header.files)} files of {header.name}, {megabytes:.1f} MB, as of {header.made}",
    ]
    if done.strangers:
        more = len(done.strangers) - MOST_STRANGERS
        lines.append("not in it, as no file of a home (records too are yours to back up):")
        lines += [f"  {name}" for name in done.strangers[:MOST_STRANGERS]]
        lines += [f"  and {more} more"] if more > 0 else []
    return lines

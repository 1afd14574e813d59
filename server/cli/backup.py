"""`fieldfare coordinator recovery`, `backup`, `restore`."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, PassphraseFileOption
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.upkeep.backing_up import back_up_coordinator, keep_recovery_key
from fieldfare.server.upkeep.restored_coordinator import (
    RestoredCoordinator,
    rehearse_coordinator,
    restore_coordinator,
)
from fieldfare.shared.advice import at_home
from fieldfare.shared.cli.recovery import RecoveryKeyOption, backup_lines, key_lines
from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.home_copies import BackupSource
from fieldfare.shared.party.recovery_key import RecoveryPrivate
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.system.private_files import read_public


@app.command("coordinator.recovery")
def recovery(
    file: Annotated[Path, typer.Argument(help="The public half: FILE.pub.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Take the public half of a recovery key: backups are encrypted to it from now on."""
    spoken = keep_recovery_key(CoordinatorHome.open(home), read_public(file), str(file))
    typer.echo("\n".join(key_lines(spoken)))


@app.command("coordinator.backup")
def backup(
    file: Annotated[Path, typer.Argument(help="A new file.")], home: HomeOption = DEFAULT_HOME
) -> None:
    """Write a backup of the folder, also while it runs, that only the recovery key opens."""
    done = back_up_coordinator(CoordinatorHome.open(home), file, utc_now)
    typer.echo("\n".join(backup_lines(file, done)))


@app.command("coordinator.restore")
def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    key: RecoveryKeyOption,
    home: HomeOption = DEFAULT_HOME,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the log.")] = "",
    name: Annotated[
        str, typer.Option("--name", help="Whose backup it must be.", show_default=False)
    ] = "",
    passphrase_file: PassphraseFileOption = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearse", help="Check the backup, and keep none of its files.")
    ] = False,
) -> None:
    """Make a new folder from a backup: a new online key, and no run that had not ended goes on."""
    source = BackupSource(file, RecoveryPrivate.read(key), name)
    if rehearsal:
        header = rehearse_coordinator(source, home)
        typer.echo(
            f"{file}: whole, of {header.name}, made {header.made}, roster version "
            f"{header.facts['roster']}\nnothing of it was kept"
        )
        return
    if not reason.strip():
        raise UsageError("--reason: expected why it is restored, found nothing: it is logged")
    passphrase = read_passphrase(passphrase_file)
    done = restore_coordinator(source, home, reason, passphrase, utc_now)
    typer.echo("\n".join(_restored(done)))


def _restored(done: RestoredCoordinator) -> list[str]:
    return [
        f"made {done.home.path} for {done.header.name}",
        f"from its backup of {done.header.made}",
        *(f"run {run}: does not go on; start another of its study" for run in done.abandoned),
        *(f"study {study[:12]}: propose it again" for study in done.studies),
        "",
        "Its online key is new. Ask the institutions for the newest roster that any of them has:",
        at_home("      fieldfare coordinator roster --after FILE"),
        "every member accepts the next one, and approves again what you propose again; then",
        at_home("      fieldfare coordinator start"),
        "Add anew who may log in at the console.",
    ]

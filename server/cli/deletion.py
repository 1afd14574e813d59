"""`fieldfare coordinator delete`, `coordinator model delete`: what has no date of its own."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli import app
from fieldfare.server.cli.options import DEFAULT_HOME, HomeOption, PassphraseFileOption
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.store import RunStore, run_store
from fieldfare.server.upkeep.due_deletions import state_due
from fieldfare.server.upkeep.file_deletion import (
    check_not_needed,
    delete_file,
    delete_model,
    leaving_model,
)
from fieldfare.shared.cli.deleting import DryRunOption, ReasonOption, YesOption, goes, show
from fieldfare.shared.party.file_deletion import examined
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.key_files import read_passphrase
from fieldfare.shared.terminal.texts import counted


@app.command("coordinator.delete")
def delete(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Packs, transcripts or backups.")
    ],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Delete evidence packs, exported transcripts and backups; a signed statement says so.

    Never another file, and never the newest backup.
    """
    opened, found = CoordinatorHome.open(home), [examined(path) for path in files]
    for file in found:
        check_not_needed(opened, file)
        show(file)
    if not goes(reason, typer.confirm, dry_run=dry_run, yes=yes):
        return
    with run_store(opened.runs_database) as store:
        for file in found:
            delete_file(opened, store, file, reason, utc_now)
            typer.echo(f"{file.path}: deleted")
        _stated(opened, store, passphrase_file)


@app.command("coordinator.model.delete")
def delete_a_model(
    run: Annotated[str, typer.Argument(help="The run's id.")],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    passphrase_file: PassphraseFileOption = None,
) -> None:
    """Delete a run's model with its card and delivery; a signed statement says so.

    Never while a run of its study goes on, nor before every member has it.
    """
    opened = CoordinatorHome.open(home)
    with run_store(opened.runs_database) as store:
        digest = leaving_model(opened, store, run)
        typer.echo(f"{opened.model(run)}\n  SHA-256 {digest}")
        if not goes(reason, typer.confirm, dry_run=dry_run, yes=yes):
            return
        delete_model(opened, store, run, reason, utc_now)
        typer.echo("deleted")
        _stated(opened, store, passphrase_file)


def _stated(home: CoordinatorHome, store: RunStore, passphrase_file: Path | None) -> None:
    stated = state_due(home, store, read_passphrase(passphrase_file), utc_now())
    typer.echo(f"{counted(stated, 'statement')} of deletion signed")
    if not stated:
        typer.echo("`fieldfare coordinator purge --passphrase-file FILE` signs it")

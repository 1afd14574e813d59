"""`fieldfare institution delete`, `institution model delete`: what has no date of its own."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption, agreed
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import find_model
from fieldfare.client.institution.file_deletion import check_not_needed, delete_file
from fieldfare.client.model_use.deleted_model import delete_model, finish_deletions, leaving_model
from fieldfare.shared.cli.deleting import DryRunOption, ReasonOption, YesOption, goes, show
from fieldfare.shared.party.file_deletion import examined
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user
from fieldfare.shared.terminal.texts import SHORT

STATED = "the log has its hash: `fieldfare institution deletions --out FILE` signs a statement"


@app.command("institution.delete")
def delete(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Packs, transcripts or backups.")
    ],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Delete evidence packs, exported transcripts and backups; a signed statement can say so.

    Never another file, and never the newest backup.
    """
    opened, found = Home.open(home), [examined(path) for path in files]
    for file in found:
        check_not_needed(opened, file)
        show(file)
    if not goes(reason, agreed, dry_run=dry_run, yes=yes):
        return
    for file in found:
        delete_file(opened, file, os_user(), reason, utc_now)
        typer.echo(f"{file.path}: deleted")
    typer.echo(STATED)


@app.command("institution.model.delete")
def delete_a_model(
    which: Annotated[
        str, typer.Argument(metavar="STUDY|RUN", help="A run, or first digits of its study.")
    ],
    reason: ReasonOption = "",
    home: HomeOption = DEFAULT_HOME,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Delete a finished model with its card and what was tuned from it here.

    Never the newest model of a study that is approved here, nor one with open alerts.
    """
    opened = Home.open(home)
    if not dry_run and finish_deletions(opened):
        typer.echo("a deletion that was interrupted is finished")
    model = leaving_model(opened, find_model(opened, which))
    typer.echo(f"{model.kept.folder}: model of study {model.kept.study[:SHORT]}")
    typer.echo(f"  SHA-256 {model.digest}")
    if model.tuned is not None:
        typer.echo(f"{model.tuned}: tuned from it")
    if not goes(reason, agreed, dry_run=dry_run, yes=yes):
        return
    delete_model(opened, model, os_user(), reason, utc_now)
    typer.echo(f"deleted; {STATED}")

"""`fieldfare institution model delete`: a model that has no date of its own."""

from typing import Annotated

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import DEFAULT_HOME, HomeOption
from fieldfare.client.cli.upkeep.backup import STATED
from fieldfare.client.home.layout import Home
from fieldfare.client.home.models import find_model
from fieldfare.client.model_use.deleted_model import delete_model, finish_deletions, leaving_model
from fieldfare.shared.cli.upkeep import DryRunOption, ReasonOption, YesOption, goes
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user
from fieldfare.shared.terminal.texts import SHORT


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
    if not goes(reason, dry_run=dry_run, yes=yes):
        return
    delete_model(opened, model, os_user(), reason, utc_now)
    typer.echo(f"deleted; {STATED}")

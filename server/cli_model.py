"""`fieldfare coordinator model export RUN`: a finished model for institutions that were absent.

Errors pass through: the root command turns them into exit codes.
"""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.server.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.server.closing import kept_delivery
from fieldfare.server.founding import signing_public
from fieldfare.server.home import CoordinatorHome
from fieldfare.shared.delivery_file import DeliveryFile
from fieldfare.shared.errors import RunError
from fieldfare.shared.exchange import bytes_of
from fieldfare.shared.private_files import create_private
from fieldfare.shared.roster import Roster

model_export_app = typer.Typer(add_completion=False)


@model_export_app.command("export")
def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The finished run's id.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write; a new one.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Write a finished model, its card and your signature into one file to send."""
    opened = CoordinatorHome.open(home)
    file = delivery_file(opened, run)
    own = Roster(version=1, coordinator=signing_public(opened), members=())
    file.open(own)  # what no institution would take is not sent either
    create_private(out, file.to_bytes())
    typer.echo(f"wrote {out}: send it; they take it with `fieldfare institution import {out.name}`")


def delivery_file(home: CoordinatorHome, run: str) -> DeliveryFile:
    """Return what a finished run delivers as one file.

    Raises:
        UsageError: no run id.
        RunError: the run has not finished a model, or its files are gone.
    """
    folder = home.model(run)
    if not folder.is_dir():
        raise RunError(
            f"expected a finished run, found {run}, which has no model yet: see `fieldfare "
            "coordinator runs`"
        )
    content = kept_delivery(folder)
    return DeliveryFile(*(bytes_of(content, name) for name in ("delivery", "model", "card")))

"""`fieldfare institution status`: processes, connections, open decisions and spent budget.

Errors pass through: the root command turns them into exit codes.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.institution.cli_node import SETTINGS_NAME
from fieldfare.client.institution.home import Home
from fieldfare.client.institution.overview import overview, overview_json
from fieldfare.client.institution.overview_screen import overview_lines
from fieldfare.shared.clock import utc_now

status_app = typer.Typer(add_completion=False)

NodeSettingsOption = Annotated[
    Path | None,
    typer.Option(
        help="The settings of a node that runs from elsewhere.",
        show_default="node.toml in the home",
    ),
]


@status_app.command("status")
def status(
    home: HomeOption = DEFAULT_HOME,
    node_settings: NodeSettingsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """Show on one screen how this institution stands; also while nothing runs."""
    opened = Home.open(home)
    found = overview(opened, node_settings or opened.path / SETTINGS_NAME, utc_now())
    if as_json:
        typer.echo(json.dumps(overview_json(found), indent=2))
    else:
        typer.echo("\n".join(overview_lines(found)))

"""`fieldfare watch files`: what Prometheus and Grafana need, written to a folder."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.cli import app
from fieldfare.shared.watch.shipped import write_shipped


@app.command("watch.files")
def watch_files(
    out: Annotated[Path, typer.Option("--out", help="A folder; made where it is not there.")],
) -> None:
    """Write alert rules, an example of Prometheus's settings and a Grafana dashboard."""
    for path in write_shipped(out):
        typer.echo(f"wrote {path}")
    typer.echo("What each metric means, what to do at an alert: docs/watch.md")

"""`fieldfare sweep`: the same simulation at every point of a grid."""

from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.shared.terminal.stderr import progress_bar, without_log
from fieldfare.simulations.beside import beside
from fieldfare.simulations.cli import app
from fieldfare.simulations.cli.simulate import Out, Quiet, RayAddress, Workers
from fieldfare.simulations.sweeps.keeping import TABLE
from fieldfare.simulations.sweeps.page import PAGE, write_sweep_page
from fieldfare.simulations.sweeps.plan import load_sweep
from fieldfare.simulations.sweeps.points import SweepGrid
from fieldfare.simulations.sweeps.running import sweep
from fieldfare.simulations.sweeps.screen import sweep_screen
from fieldfare.simulations.sweeps.summary import Summary


@app.command("sweep")
def sweep_command(
    plan: Annotated[Path, typer.Argument(metavar="SWEEP.toml", help="See docs/sweeps.md.")],
    out: Out,
    ray_address: RayAddress = None,
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Run a study at every point of a grid, over several seeds, and compare.

    One tidy Parquet file of all points, a page, a screen. Interrupted, it goes on at the next
    point; the table is the same.
    """
    grid = SweepGrid.of(load_sweep(plan))
    with (
        without_log("fieldfare"),
        progress_bar(visible=False if quiet else None) as progress,
        beside() as both,
    ):
        table = sweep(grid, out, progress, both, ray_address, workers)
    summary = Summary(table.to_pylist(), grid.base.evaluation.holdout)
    write_sweep_page(out / PAGE, grid.base.name, summary)
    if not quiet:
        files = {"Table": str(out / TABLE), "Open": f"xdg-open {out / PAGE}"}
        found = sweep_screen(summary, grid.base.name, files)
        PlainConsole().print(found)

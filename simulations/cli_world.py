"""`fieldfare world make` and `fieldfare world learn`."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from fieldfare.simulations.cli import Json, Out, Quiet, Seed, show
from fieldfare.simulations.five_banks import PEOPLE, banks_task
from fieldfare.simulations.simulate import make_folder
from fieldfare.simulations.world.institutions import load_institutions
from fieldfare.simulations.world.making import DEFAULT_PREVALENCE, MOST_PREVALENCE, Plan
from fieldfare.simulations.world.months import MOST_MONTHS
from fieldfare.simulations.world.writing import write_world
from fieldfare.simulations.world_screen import world_screen

world_make_app = typer.Typer(add_completion=False)
world_learn_app = typer.Typer(add_completion=False)

_MAX_SEED: Final = 2**63 - 1


@world_make_app.command()
def world_make_command(
    people: Annotated[int, typer.Option(metavar="N", help="Persons.", show_default=False)],
    months: Annotated[
        int, typer.Option(metavar="M", min=1, max=MOST_MONTHS, help="From January 2025 on.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="An empty or new folder.")],
    institutions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML; five banks and four others by default."),
    ] = None,
    prevalence: Annotated[
        float,
        typer.Option(min=0, max=MOST_PREVALENCE, help="Share of people who serve a ring."),
    ] = DEFAULT_PREVALENCE,
    seed: Annotated[int, typer.Option(min=0, max=_MAX_SEED, help="The only chance.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print world.json instead.")] = False,
) -> None:
    """Make a world of people, banks, a remittance firm, NGOs and a hotline; nobody exists.

    One folder for each institution, and the truth apart. The same options give the same bytes.
    """
    plan = Plan.of(
        people=people,
        months=months,
        seed=seed,
        prevalence=prevalence,
        institutions=load_institutions(institutions),
    )
    found = write_world(plan, out)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not quiet:
        Console().print(world_screen(found, str(out)))


@world_learn_app.command()
def world_learn_command(
    out: Out,
    seed: Seed = 0,
    people: Annotated[
        int, typer.Option(min=500, help="Fewer are faster, and noise drowns them.")
    ] = PEOPLE,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a world, train its five banks' study with exact noise, and compare.

    Its NGOs and hotline are asked where cases and calls grow.
    """
    make_folder(out)
    show(
        lambda progress: banks_task(out, seed=seed, people=people, progress=progress),
        quiet=quiet,
        as_json=as_json,
    )

"""`fieldfare demo` and `world make|start`: people that nobody is, and their institutions."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.public_start import NAME_PATTERN
from fieldfare.shared.study.file import load_study
from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.simulations.beside import beside
from fieldfare.simulations.cli import app
from fieldfare.simulations.cli.simulate import MAX_SEED, Details, Json, Out, Quiet, Seed, show
from fieldfare.simulations.demo.five_banks import HOME_BANK, banks_task
from fieldfare.simulations.federation.simulate import make_folder
from fieldfare.simulations.published import public_start as starts
from fieldfare.simulations.world.habits import MOST_MONTHS
from fieldfare.simulations.world.institutions import WorldFederation, equal_banks, load_institutions
from fieldfare.simulations.world.making import (
    DEFAULT_PREVALENCE,
    DEFAULT_VERSION,
    MOST_PREVALENCE,
    VERSIONS,
    WorldPlan,
)
from fieldfare.simulations.world.marginals import world_screen
from fieldfare.simulations.world.writing import write_world

Whose = Annotated[
    WorldFederation,
    typer.Option(help="The banks: five, twelve that share people, or twenty small ones."),
]
Prevalence = Annotated[
    float, typer.Option(min=0, max=MOST_PREVALENCE, help="Share of people who serve a ring.")
]
Version = Annotated[
    int, typer.Option(metavar="|".join(map(str, VERSIONS)), help="Rules that the world follows.")
]


@app.command("demo")
def demo_command(
    out: Out,
    seed: Seed = 0,
    people: Annotated[
        int | None, typer.Option(min=500, help="Fewer run faster, but noise hides more.")
    ] = None,
    federation: Whose = WorldFederation.TWENTY,
    version: Version = DEFAULT_VERSION,
    details: Details = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a world of banks, NGOs and a hotline, train its banks with exact noise, and compare.

    Its NGOs and hotline are asked where cases and calls grow. In the world that is made without
    --people, --federation and --version, one bank takes part from a home, to look around in.
    """
    make_folder(out)
    usual = (people, federation, version) == (None, WorldFederation.TWENTY, DEFAULT_VERSION)
    show(
        lambda progress, both: banks_task(
            out,
            seed=seed,
            people=people,
            federation=federation,
            version=version,
            progress=progress,
            both=both,
            home=HOME_BANK if usual else "",
        ),
        details=details,
        quiet=quiet,
        as_json=as_json,
        cores=beside(),
    )


@app.command("world.make")
def world_make_command(
    people: Annotated[int, typer.Option(metavar="N", help="Persons.", show_default=False)],
    months: Annotated[
        int, typer.Option(metavar="M", min=1, max=MOST_MONTHS, help="From January 2025 on.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="An empty or new folder.")],
    institutions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML; instead of those of --federation.")
    ] = None,
    federation: Whose = WorldFederation.FIVE,
    banks: Annotated[
        int | None,
        typer.Option(metavar="N", help="So many banks of one size, instead of a federation's."),
    ] = None,
    prevalence: Prevalence = DEFAULT_PREVALENCE,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all chance.")] = 0,
    version: Version = DEFAULT_VERSION,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print world.json instead.")] = False,
) -> None:
    """Make a world of people, banks, a remittance firm, NGOs and a hotline; all are invented.

    One folder for each institution, and the truth apart. The same options give the same bytes.
    """
    if banks is not None and institutions is not None:
        raise UsageError("expected --banks or --institutions, found both: leave one out")
    plan = WorldPlan.of(
        people=people,
        months=months,
        seed=seed,
        prevalence=prevalence,
        institutions=load_institutions(institutions, federation)
        if banks is None
        else equal_banks(banks),
        version=version,
    )
    found = write_world(plan, out)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not quiet:
        PlainConsole().print(world_screen(found, str(out)))


@app.command("world.start")
def world_start_command(
    scenarios: Annotated[
        str, typer.Option(metavar="S1,S4", help="The only scenarios that happen there.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="NAME.safetensors", help="A new file, named as studies name it.")
    ],
    study: Annotated[
        Path | None,
        typer.Option(metavar="STUDY.toml", help="Names the features; by default all of the pack."),
    ] = None,
    people: Annotated[int, typer.Option(metavar="N", help="Persons.")] = starts.PEOPLE,
    months: Annotated[int, typer.Option(min=1, max=MOST_MONTHS)] = starts.MONTHS,
    prevalence: Prevalence = starts.PREVALENCE,
    spread: Annotated[
        float, typer.Option(min=0.01, max=10, help="How far a curve moves from 0, in log-odds.")
    ] = starts.SPREAD,
    seed: Annotated[int, typer.Option(min=0, max=2**53 - 1, help="Seed of all chance.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Make a public start: curves learned in an invented world, for studies to start from.

    The same options give the same bytes. Prints the two lines that a study names it by.
    """
    if not re.fullmatch(NAME_PATTERN, f"public:{out.stem}") or out.suffix != ".safetensors":
        raise UsageError("--out: expected a name of a-z, 0-9 and -, and .safetensors, found others")
    if out.exists():
        raise UsageError(f"--out {out}: expected a new file, found another there")
    world = WorldPlan.of(
        people=people,
        months=months,
        seed=seed,
        prevalence=prevalence,
        scenarios=[one.strip() for one in scenarios.split(",")],
        version=VERSIONS[0],  # as the shipped ones: the same command makes them again
    )
    features = starts.pack_features() if study is None else load_study(study).features
    made = starts.make_start(starts.StartPlan(world, features, spread))
    out.write_bytes(made.to_bytes())
    if not quiet:
        typer.echo(f'start = "public:{out.stem}"\nstart_hash = "{made.hash}"')

"""`fieldfare simulate`, `demo`, `world make|learn|start` and `model score`."""

import json
import re
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.public_start import NAME_PATTERN
from fieldfare.shared.pages.words import decimals
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.study import load_study
from fieldfare.shared.terminal.stderr import progress_bar, without_log
from fieldfare.simulations.beside import ALONE, Beside, beside
from fieldfare.simulations.cli import app
from fieldfare.simulations.demo.five_banks import HOME_BANK, banks_task
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation import model_scores
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.in_memory import Progress as OnProgress
from fieldfare.simulations.federation.others import Other
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import (
    RESULTS,
    Simulation,
    make_folder,
    simulate,
)
from fieldfare.simulations.report.mlflow_logger import log_to_mlflow
from fieldfare.simulations.report.screen import details as every_figure
from fieldfare.simulations.report.screen import screen
from fieldfare.simulations.starts import making as starts
from fieldfare.simulations.strategies.chosen import other_named
from fieldfare.simulations.testbed.testbed import typed_command
from fieldfare.simulations.world.habits import MOST_MONTHS
from fieldfare.simulations.world.institutions import WorldFederation, load_institutions
from fieldfare.simulations.world.making import (
    DEFAULT_PREVALENCE,
    DEFAULT_VERSION,
    MOST_PREVALENCE,
    VERSIONS,
    WorldPlan,
)
from fieldfare.simulations.world.marginals import world_screen
from fieldfare.simulations.world.writing import write_world

MAX_SEED: Final = 2**63 - 1

ALL_BASELINES: Final = ",".join(baseline.value.replace("_", "-") for baseline in Baseline)

Study = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for results.", show_default=False)]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=MAX_SEED, help="Of split, partition and simulated noise."),
]
Whose = Annotated[
    WorldFederation, typer.Option(help="Whose banks: five, or twelve that share people.")
]
Version = Annotated[
    int, typer.Option(metavar="|".join(map(str, VERSIONS)), help="Rules that the world follows.")
]
By = Annotated[
    Engine,
    typer.Option(
        help="custodians: as deployed; sums: one pass, no protocol; ray: that, on all cores."
    ),
]
HoldoutFile = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FILE | NAME=FILE", help="Measure models on these rows instead; may be repeated."
    ),
]
AuditColumn = Annotated[
    str | None,
    typer.Option(metavar="COL", help="Report false positives by this column; never an input."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="HOST:PORT",
        help="For engine ray: of a cluster that runs. By default one starts on this machine alone.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, metavar="N", help="For engine ray: cores of the cluster started here."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
Chosen = Annotated[
    str,
    typer.Option(
        metavar="LIST",
        help="Comma-separated; '' for none. Others' too: fedavg, krum, boosting, dp-ebm.",
    ),
]
MlFlow = Annotated[
    Path | None,
    typer.Option("--mlflow", metavar="DIR", help="Log the result to MLflow's files there."),
]
Details = Annotated[bool, typer.Option("--details", help="Print every figure at the end.")]
Json = Annotated[bool, typer.Option("--json", help="Print results.json instead of the screen.")]


def parse_baselines(text: str) -> tuple[tuple[Baseline, ...], tuple[Other, ...]]:
    """Parse a comma-separated list of hyphenated names; '' is none.

    Returns:
        Baselines of the federation in their own order, and models of others as they are named.

    Raises:
        UsageError: an unknown name.
    """
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    known = {baseline.value.replace("_", "-"): baseline for baseline in Baseline}
    try:
        others = tuple(other_named(name) for name in names if name not in known)
    except UsageError as error:
        more = str(error).removeprefix("expected ")
        raise UsageError(f"--baselines: expected some of {', '.join(known)}; or {more}") from None
    return tuple(baseline for name, baseline in known.items() if name in names), others


@app.command("simulate")
def simulate_command(
    study: Study,
    out: Out,
    records: Annotated[
        list[str] | None,
        typer.Option("--records", metavar="FILE | NAME=FILE", help="Records; may be repeated."),
    ] = None,
    institution_column: Annotated[
        str | None, typer.Option(metavar="COL", help="Column that names the institution.")
    ] = None,
    institutions: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Deal rows to N institutions.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option(metavar="HOW", help="iid, dirichlet:A, quantity:A or skew:COL:S.")
    ] = None,
    holdout_file: HoldoutFile = None,
    audit_column: AuditColumn = None,
    baselines: Chosen = ALL_BASELINES,
    seed: Seed = 0,
    noise: Annotated[
        Protection, typer.Option(help="simulated: fast, without protection; exact: as deployed.")
    ] = Protection.SIMULATED,
    engine: By = Engine.CUSTODIANS,
    ray_address: RayAddress = None,
    workers: Workers = None,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Write no report.html, which takes seconds.")
    ] = False,
    mlflow: MlFlow = None,
    details: Details = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a study over records on this machine and compare it with its baselines."""
    own, others = parse_baselines(baselines)
    task = Simulation(
        study=load_study(study),
        choice=RecordsChoice(
            tuple(records or ()), institution_column, institutions, partition, audit_column
        ),
        out=out,
        holdout_files=tuple(holdout_file or ()),
        engine=engine,
        ray_address=ray_address,
        workers=workers,
        baselines=own,
        others=others,
        seed=seed,
        protection=noise,
        report=not no_report,
    )
    show(lambda *_: task, details=details, quiet=quiet, as_json=as_json)
    if mlflow is not None:
        log_to_mlflow(json.loads((out / RESULTS).read_bytes()), mlflow)


@app.command("model.score")
def model_score_command(
    model: Annotated[Path, typer.Argument(metavar="model.safetensors", help="A finished model.")],
    study: Study,
    records: Annotated[Path, typer.Option(metavar="FILE", help="Whom to score.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .parquet or .csv file to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics as JSON.")] = False,
) -> None:
    """Score a file of records with a model, and measure it where all units are labelled.

    For studies on one machine: no reasons, no alerts. An institution uses
    `fieldfare institution score`.
    """
    agreed = load_study(study)
    table = model_scores.scored_table(agreed, model_scores.read_model(model, agreed), records)
    model_scores.write_scores(table, out)
    metrics = model_scores.measured(agreed, table)
    if as_json:
        typer.echo(json.dumps({"units": len(table), "metrics": metrics}, allow_nan=False))
        return
    typer.echo(f"{len(table):,} scored, highest first: {out}")
    for name, value in (metrics or {}).items():
        typer.echo(f"{name.replace('_', ' '):20} {decimals(value)}")


@app.command("demo")
def demo_command(
    out: Out,
    seed: Seed = 0,
    details: Details = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a world of banks, NGOs and a hotline, train its banks with exact noise, and compare."""
    make_folder(out)
    show(
        lambda progress, both: banks_task(
            out, seed=seed, progress=progress, both=both, home=HOME_BANK
        ),
        details=details,
        quiet=quiet,
        as_json=as_json,
        cores=beside(),
    )


def show(
    prepare: Callable[[OnProgress, Beside], Simulation],
    *,
    quiet: bool,
    as_json: bool,
    details: bool = False,
    cores: AbstractContextManager[Beside] | None = None,
) -> None:
    """Simulate, with progress on a terminal's stderr, and print the requested output."""
    with (
        # A refusal inside a simulation is reported where it ends the run, not as it happens.
        without_log("fieldfare"),
        progress_bar(visible=False if quiet or as_json else None) as progress,
        cores or nullcontext(ALONE) as both,
    ):
        task = prepare(progress, both)
        results = simulate(task, progress, both)
    if as_json:
        typer.echo(json.dumps(results, indent=2, allow_nan=False))
    elif not quiet:
        shown = {"files": {name: str(task.out / name) for name in results["files"]}}
        if "home" in results:
            place = shlex.quote(str(task.out / results["home"]["folder"]))
            console = f"{typed_command()} institution console --home {place}"
            shown["home"] = results["home"] | {"console": console}
        render = every_figure if details else screen
        Console().print(render({**results, **shown}))


@app.command("world.make")
def world_make_command(
    people: Annotated[int, typer.Option(metavar="N", help="Persons.", show_default=False)],
    months: Annotated[
        int, typer.Option(metavar="M", min=1, max=MOST_MONTHS, help="From January 2025 on.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="An empty or new folder.")],
    institutions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="TOML; instead of those of --federation."),
    ] = None,
    federation: Whose = WorldFederation.FIVE,
    prevalence: Annotated[
        float,
        typer.Option(min=0, max=MOST_PREVALENCE, help="Share of people who serve a ring."),
    ] = DEFAULT_PREVALENCE,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="The only chance.")] = 0,
    version: Version = DEFAULT_VERSION,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print world.json instead.")] = False,
) -> None:
    """Make a world of people, banks, a remittance firm, NGOs and a hotline; all are invented.

    One folder for each institution, and the truth apart. The same options give the same bytes.
    """
    plan = WorldPlan.of(
        people=people,
        months=months,
        seed=seed,
        prevalence=prevalence,
        institutions=load_institutions(institutions, federation),
        version=version,
    )
    found = write_world(plan, out)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not quiet:
        Console().print(world_screen(found, str(out)))


@app.command("world.start")
def world_start_command(
    scenarios: Annotated[
        str, typer.Option(metavar="S1,S4", help="What the world knows of; no others happen there.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="NAME.safetensors", help="A new file, named as studies name it.")
    ],
    study: Annotated[
        Path | None,
        typer.Option(metavar="STUDY.toml", help="Of its features; all of the pack by default."),
    ] = None,
    people: Annotated[int, typer.Option(metavar="N", help="Persons.")] = starts.PEOPLE,
    months: Annotated[int, typer.Option(min=1, max=MOST_MONTHS)] = starts.MONTHS,
    prevalence: Annotated[
        float,
        typer.Option(min=0, max=MOST_PREVALENCE, help="Share of people who serve a ring."),
    ] = starts.PREVALENCE,
    spread: Annotated[
        float, typer.Option(min=0.01, max=10, help="Log-odds that a curve moves from nothing.")
    ] = starts.SPREAD,
    seed: Annotated[int, typer.Option(min=0, max=2**53 - 1, help="The only chance.")] = 0,
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


@app.command("world.learn")
def world_learn_command(
    out: Out,
    seed: Seed = 0,
    people: Annotated[
        int | None, typer.Option(min=500, help="Fewer are faster, and noise drowns them.")
    ] = None,
    federation: Whose = WorldFederation.FIVE,
    version: Version = DEFAULT_VERSION,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Make a world, train its banks' study with exact noise, and compare.

    Its NGOs and hotline are asked where cases and calls grow.
    """
    make_folder(out)
    show(
        lambda progress, both: banks_task(
            out,
            seed=seed,
            people=people,
            federation=federation,
            version=version,
            progress=progress,
            both=both,
        ),
        quiet=quiet,
        as_json=as_json,
        cores=beside(),
    )

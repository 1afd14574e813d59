"""`fieldfare simulate` and `model score`."""

import json
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.shared.errors import UsageError
from fieldfare.shared.pages.words import decimals
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.file import load_study
from fieldfare.shared.terminal.screen import PlainConsole
from fieldfare.shared.terminal.stderr import progress_bar, without_log
from fieldfare.simulations.beside import ALONE, SideProcess
from fieldfare.simulations.cli import app
from fieldfare.simulations.engines.engine import Engine
from fieldfare.simulations.federation import model_scores
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.in_memory import Progress as OnProgress
from fieldfare.simulations.federation.others import OtherModel
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import RESULTS, Simulation, simulate
from fieldfare.simulations.report.mlflow_logger import log_to_mlflow
from fieldfare.simulations.report.screen import details as every_figure
from fieldfare.simulations.report.screen import screen
from fieldfare.simulations.strategies.chosen import other_named

MAX_SEED: Final = 2**63 - 1

ALL_BASELINES: Final = ",".join(baseline.value.replace("_", "-") for baseline in Baseline)

Study = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for results.", show_default=False)]
Seed = Annotated[
    int,
    typer.Option("--seed", min=0, max=MAX_SEED, help="Of split, partition and simulated noise."),
]
InstitutionColumn = Annotated[
    str | None, typer.Option(metavar="COL", help="Column that names the institution.")
]
By = Annotated[
    Engine,
    typer.Option(
        help="custodians: as deployed; sums: one pass, no protocol; ray: sums on all cores."
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


def parse_baselines(text: str) -> tuple[tuple[Baseline, ...], tuple[OtherModel, ...]]:
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
    institution_column: InstitutionColumn = None,
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


def show(
    prepare: Callable[[OnProgress, SideProcess], Simulation],
    *,
    quiet: bool,
    as_json: bool,
    details: bool = False,
    cores: AbstractContextManager[SideProcess] | None = None,
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
            # Loads what runs a SuperLink, a second of processor that only homes need.
            from fieldfare.simulations.demo.testbed import typed_command  # noqa: PLC0415

            console = f"{typed_command()} console --home {place}"
            shown["home"] = results["home"] | {"console": console}
        render = every_figure if details else screen
        PlainConsole().print(render({**results, **shown}))

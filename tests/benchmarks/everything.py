"""`make bench`: the speeds that the project promises, measured on this machine.

    python -m tests.benchmarks.everything [--json] [--runs N] [--units N] [--counts 3,6,12,20]

Everything is measured as it is used: commands as processes of their own, start-up included;
one large institution from its Parquet file to its step; whole federations of processes beside
stock Flower, which takes minutes (`--counts ""` leaves them out). Needs no data from outside; where
FIELDFARE_DATA names a folder with AMLSim in it (or AMLSim itself), its six banks run too.
"""

import json
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table
from tests.benchmarks import deployed, mlp, network, scoring, steps, world
from tests.benchmarks.alerts import alert_commands
from tests.benchmarks.harness import (
    COMMAND,
    FOLDER,
    BenchRow,
    Keep,
    apart,
    at_most,
    run_process,
)
from tests.benchmarks.inputs import (
    ASKED_FEATURES,
    questions_toml,
    study_toml,
    write_records,
)
from tests.benchmarks.kept.machine import machine
from tests.benchmarks.kept.results import keep

from fieldfare.shared.study.file import load_study

FORMAT: Final = 1
BANKS, UNITS, FEATURES, STEPS = 6, 40_000, 25, 60
LARGE_UNITS, LARGE_FEATURES = 1_000_000, 40
# What the project promises on two cores.
SECONDS: Final = {"exact": 15.0, "simulated": 8.0}
ASKED_UNITS: Final = 200_000
ANSWER_SECONDS: Final = 3.0  # 12 questions, after start-up


@dataclass(frozen=True)
class BenchRecords:
    """The inputs of a simulation."""

    name: str
    study: Path
    file: Path
    column: str


def simulation(records: BenchRecords, noise: str, out: Path, runs: int) -> dict[str, Any]:
    """Time `fieldfare simulate` without baselines; returns the median of `runs`."""
    arguments: list[str | Path] = [*COMMAND, "simulate", records.study, "--quiet"]
    arguments += ["--records", records.file, "--institution-column", records.column]
    arguments += ["--noise", noise, "--baselines", "", "--out", out]
    seconds = [run_process(arguments)[0] for _ in range(runs)]
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return {
        "records": records.name,
        "noise": noise,
        "banks": len(results["institutions"]),
        "units": sum(row["units"] for row in results["institutions"]),
        "steps": load_study(records.study).training.steps,
        "seconds": statistics.median(seconds),
        "training_seconds": results["timing"].get("training_seconds", 0.0),
        "federation_seconds": results["timing"]["federation_seconds"],
        "limit": SECONDS[noise],
    }


def generated(folder: Path, name: str, units: int, features: int) -> BenchRecords:
    """Write seeded records and their study."""
    study, file = folder / f"{name}.toml", folder / f"{name}.parquet"
    study.write_text(study_toml(units=units, features=features, steps=STEPS), encoding="utf-8")
    write_records(file, units=units, features=features, banks=BANKS)
    return BenchRecords(name, study, file, "bank")


def questions(folder: Path, runs: int) -> dict[str, Any]:
    """Time a study that only asks, with exact noise: opening, rehearsal, answers."""
    study, file = folder / "questions.toml", folder / "questions.parquet"
    study.write_text(questions_toml(units=ASKED_UNITS), encoding="utf-8")
    write_records(file, units=ASKED_UNITS, features=ASKED_FEATURES, banks=BANKS)
    row = simulation(BenchRecords("questions", study, file, "bank"), "exact", folder / "out", runs)
    return {
        "questions": len(load_study(study).queries),
        "banks": row["banks"],
        "units": row["units"],
        "seconds": row["federation_seconds"],
    }


def amlsim(folder: Path, data: str | None) -> BenchRecords | None:
    """Derive AMLSim's accounts and draft their study, where the data is at hand."""
    if not data:
        return None
    source = Path(data) / "amlsim"
    source = source if source.is_dir() else Path(data)
    if not (source / "bank_a").is_dir():
        return None
    file, study = folder / "accounts.parquet", folder / "amlsim.toml"
    run_process([*COMMAND, "records", "derive", "amlsim", source, "--out", file])
    options = ["--label", "label", "--unit", "unit", "--exclude", "institution"]
    study.write_text(
        run_process([*COMMAND, "study", "new", "--records", file, *options])[1], "utf-8"
    )
    return BenchRecords("amlsim", study, file, "institution")


def simulations(folder: Path, *, runs: int, units: int, data: str | None) -> list[dict[str, Any]]:
    """Time simulations of made-up records, and of AMLSim's where it is at hand."""
    sources = [generated(folder, "generated", units, FEATURES), amlsim(folder, data)]
    return [
        simulation(records, noise, folder / "out", runs)
        for records in sources
        if records is not None
        for noise in SECONDS
    ]


def _simulation_promises(rows: Sequence[dict[str, Any]]) -> list[BenchRow]:
    found = []
    for row in rows:
        size = f"{row['steps']} steps, {row['banks']} banks, {row['units']:,} units"
        what = f"{row['noise']} noise: {size} ({row['records']})"
        found.append(at_most(what, row["seconds"], row["limit"], "s"))
    return found


def _question_promises(row: dict[str, Any]) -> list[BenchRow]:
    size = f"{row['questions']} questions, {row['banks']} banks, {row['units']:,} units"
    return [at_most(f"{size}, exact noise", row["seconds"], ANSWER_SECONDS, "s")]


# From each part of the figures: what is promised, and what else people are shown.
PROMISES: Final[dict[str, Callable[[Any], Sequence[BenchRow]]]] = {
    "simulations": _simulation_promises,
    "questions": _question_promises,
    "federations": deployed.promises,
    "institution": steps.promises,
    "geometry": steps.geometry_promises,
    "mlp": mlp.promises,
    "world": world.speed_promises,
    "scoring": scoring.promises,
    "alerts": alert_commands.promises,
}
WORDS: Final[dict[str, Callable[[Any], Sequence[str]]]] = {
    "institution": steps.words,
    "networks": network.table,
    "mlp": mlp.table,
    "federations": deployed.table,
}


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of every part that was measured."""
    return [row for name, read in PROMISES.items() if found[name] for row in read(found[name])]


def show(found: dict[str, Any], console: Console) -> None:
    """Print tables for people."""
    console.print("  ".join(f"{name} {value}" for name, value in found["machine"].items()))
    table = Table(title="What is promised on two cores")
    for heading in ("what", "measured", "at most", "holds"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for what, measured, promised, holds in promises(found):
        table.add_row(what, measured, promised, "yes" if holds else "[bold]no[/bold]")
    console.print(table)
    for name, words in WORDS.items():
        if found[name]:
            console.print("\n".join(words(found[name])), highlight=False)


def main(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    kept: Keep = False,
    runs: Annotated[int, typer.Option(min=1, help="Of each simulation; medians count.")] = 3,
    units: Annotated[int, typer.Option(min=1000, help="Of the six banks together.")] = UNITS,
    large: Annotated[int, typer.Option(min=1000, help="Of the one institution.")] = LARGE_UNITS,
    networks: Annotated[str, typer.Option(help="Units of each network.")] = network.UNITS,
    people: Annotated[
        int, typer.Option(min=500, help="Of the invented world.")
    ] = world.MILLION_PEOPLE,
    scored: Annotated[
        int, typer.Option(min=500, help="Customers to score with reasons.")
    ] = scoring.UNITS,
    customers: Annotated[
        int, typer.Option("--alerts", min=100, help="Customers whose alerts an analyst works on.")
    ] = alert_commands.CUSTOMERS,
    counts: Annotated[
        str, typer.Option(help="Institutions of each federation of processes.")
    ] = deployed.COUNTS,
) -> None:
    """Measure what the project promises about speed and memory."""
    data = os.environ.get("FIELDFARE_DATA")
    with TemporaryDirectory(prefix=FOLDER) as name:
        folder = Path(name)
        one = generated(folder, "large", large, LARGE_FEATURES)
        found = {
            "format": FORMAT,
            "machine": machine(),
            "simulations": simulations(folder, runs=runs, units=units, data=data),
            "questions": questions(folder, runs),
            "institution": apart(steps.measure, one.file, one.study),
            "geometry": apart(steps.geometry, large, LARGE_FEATURES),
            "networks": apart(network.measure, networks),
            "mlp": apart(mlp.measure, networks),
            "world": apart(world.make, people),
            "scoring": scoring.measure(scored),
            "alerts": alert_commands.measure(customers, runs),
            "federations": deployed.measure(counts) if counts else None,
        }
    if kept:
        lines = [line for name, read in WORDS.items() if found[name] for line in read(found[name])]
        keep("speeds", found, promises(found), lines)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(found, Console())


if __name__ == "__main__":
    deployed.end_by_exception()
    typer.run(main)

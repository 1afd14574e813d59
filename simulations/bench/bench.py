"""`make bench`: the speeds that the project promises, measured on this machine.

    python -m fieldfare.simulations.bench.bench [--json] [--runs N] [--units N] [--counts 3,6,12,20]

Everything is measured as it is used: commands as processes of their own, start-up included;
one large institution from its Parquet file to its step; whole federations of processes beside
stock Flower, which takes minutes (`--counts ""` leaves them out). Needs no data from outside; where
FIELDFARE_DATA names a folder with AMLSim in it (or AMLSim itself), its six banks run too.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from fieldfare.shared.errors import RunError
from fieldfare.shared.study.study import load_study
from fieldfare.simulations.bench import deployed as bench_deployed
from fieldfare.simulations.bench import desk as bench_desk
from fieldfare.simulations.bench import mlp as bench_mlp
from fieldfare.simulations.bench import network as bench_network
from fieldfare.simulations.bench import scoring as bench_scoring
from fieldfare.simulations.bench import world as bench_world
from fieldfare.simulations.bench.inputs import (
    ASKED_FEATURES,
    questions_toml,
    study_toml,
    write_records,
)

COMMAND: Final = (sys.executable, "-c", "from fieldfare.shared.cli.root import main; main()")
STEPS_MODULE: Final = "fieldfare.simulations.bench.steps"
NETWORK_MODULE: Final = "fieldfare.simulations.bench.network"
MLP_MODULE: Final = "fieldfare.simulations.bench.mlp"
FORMAT: Final = 1
BANKS, UNITS, FEATURES, STEPS = 6, 40_000, 25, 60
LARGE_UNITS, LARGE_FEATURES = 1_000_000, 40
# What the project promises on two cores.
SECONDS: Final = {"exact": 15.0, "simulated": 8.0}
MESSAGE_MILLISECONDS: Final = 10.0
PRIVATE_RATIO: Final = 1.3
PEAK_MEGABYTES: Final = 2000.0
ASKED_UNITS: Final = 200_000
ANSWER_SECONDS: Final = 3.0  # 12 questions, after start-up
LINEAR_SLACK: Final = 1.25  # a million units may cost at most this many times four quarters
LIBRARIES: Final = ("numpy", "torch", "duckdb", "pyarrow", "flwr", "opendp", "cryptography")


@dataclass(frozen=True)
class Records:
    """The inputs of a simulation."""

    name: str
    study: Path
    file: Path
    column: str


def machine() -> dict[str, Any]:
    """Return what a figure depends on: cores, memory, versions."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gigabytes": round(pages / 2**30, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def run_process(arguments: Sequence[str | Path]) -> tuple[float, str]:
    """Run a process to its end; returns seconds, start-up included, and its output.

    Raises:
        RunError: it ended with another status than 0.
    """
    started = time.perf_counter()
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)  # noqa: S603 -- our own
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        raise RunError(
            f"expected a process that ends well, found status {done.returncode}: {done.stderr}"
        )
    return seconds, done.stdout


def simulation(records: Records, noise: str, out: Path, runs: int) -> dict[str, Any]:
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


def generated(folder: Path, name: str, units: int, features: int) -> Records:
    """Write seeded records and their study."""
    study, file = folder / f"{name}.toml", folder / f"{name}.parquet"
    study.write_text(study_toml(units=units, features=features, steps=STEPS), encoding="utf-8")
    write_records(file, units=units, features=features, banks=BANKS)
    return Records(name, study, file, "bank")


def questions(folder: Path, runs: int) -> dict[str, Any]:
    """Time a study that only asks, with exact noise: opening, rehearsal, answers."""
    study, file = folder / "questions.toml", folder / "questions.parquet"
    study.write_text(questions_toml(units=ASKED_UNITS), encoding="utf-8")
    write_records(file, units=ASKED_UNITS, features=ASKED_FEATURES, banks=BANKS)
    row = simulation(Records("questions", study, file, "bank"), "exact", folder / "out", runs)
    return {
        "questions": len(load_study(study).queries),
        "banks": row["banks"],
        "units": row["units"],
        "seconds": row["federation_seconds"],
    }


def amlsim(folder: Path, data: str | None) -> Records | None:
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
    return Records("amlsim", study, file, "institution")


def measure(
    folder: Path,
    *,
    runs: int,
    units: int,
    large: int,
    networks: Sequence[int],
    people: int,
    scored: int,
    desk: int,
    counts: Sequence[int],
    data: str | None,
) -> dict[str, Any]:
    """Measure everything; returns what `--json` prints."""
    sources = [generated(folder, "generated", units, FEATURES), amlsim(folder, data)]
    simulations = [
        simulation(records, noise, folder / "out", runs)
        for records in sources
        if records is not None
        for noise in SECONDS
    ]
    one = generated(folder, "large", large, LARGE_FEATURES)
    steps = run_process([sys.executable, "-m", STEPS_MODULE, one.file, one.study])[1]
    return {
        "format": FORMAT,
        "machine": machine(),
        "simulations": simulations,
        "questions": questions(folder, runs),
        "institution": json.loads(steps),
        "networks": json.loads(
            run_process([sys.executable, "-m", NETWORK_MODULE, *map(str, networks)])[1]
        ),
        "mlp": json.loads(run_process([sys.executable, "-m", MLP_MODULE, *map(str, networks)])[1]),
        "world": asdict(bench_world.speed_apart(people)),
        "scoring": asdict(bench_scoring.speed_apart(scored)),
        "desk": [asdict(one) for one in bench_desk.measure(desk, runs)],
        "federations": bench_deployed.measure(folder, counts) if counts else None,
    }


def promises(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """Return rows: what, measured, promised, whether it holds."""
    rows = [_simulation_row(row) for row in found["simulations"]]
    one = found["institution"]
    whole, quarter = one["steps"][-1], one["steps"][0]
    ratio = whole["private_seconds"] / whole["plain_seconds"]
    growth = whole["private_seconds"] / quarter["private_seconds"]
    expected = whole["units"] / quarter["units"]
    milliseconds, peak = one["message_milliseconds"], one["peak_megabytes"]
    return [
        *rows,
        _questions_row(found["questions"]),
        *(bench_deployed.promises(found["federations"]) if found["federations"] else []),
        (
            "messages of a round of 6, in one process",
            f"{milliseconds:.1f} ms",
            f"{MESSAGE_MILLISECONDS:.0f} ms",
            milliseconds <= MESSAGE_MILLISECONDS,
        ),
        (
            "private step / the same without clipping and noise",
            f"{ratio:.2f} x",
            f"{PRIVATE_RATIO} x",
            ratio <= PRIVATE_RATIO,
        ),
        (
            "memory, loading included",
            f"{peak:,.0f} MB",
            f"{PEAK_MEGABYTES:,.0f} MB",
            peak <= PEAK_MEGABYTES,
        ),
        (
            f"{expected:.0f} x the units, private step",
            f"{growth:.2f} x",
            f"{expected * LINEAR_SLACK:.1f} x",
            growth <= expected * LINEAR_SLACK,
        ),
        *bench_mlp.promises(found["mlp"]),
        *bench_world.promises(bench_world.Speed(**found["world"])),
        *bench_scoring.promises(bench_scoring.Measure(**found["scoring"])),
        *bench_desk.promises([bench_desk.Typed(**one) for one in found["desk"]]),
    ]


def _simulation_row(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    size = f"{row['steps']} steps, {row['banks']} banks, {row['units']:,} units"
    seconds, limit = row["seconds"], row["limit"]
    what = f"{row['noise']} noise: {size} ({row['records']})"
    return what, f"{seconds:.1f} s", f"{limit:.0f} s", seconds <= limit


def _questions_row(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    what = (
        f"{row['questions']} questions, {row['banks']} banks, {row['units']:,} units, exact noise"
    )
    seconds = row["seconds"]
    return what, f"{seconds:.1f} s", f"{ANSWER_SECONDS:.0f} s", seconds <= ANSWER_SECONDS


def show(found: dict[str, Any], console: Console) -> None:
    """Print tables for people."""
    console.print("  ".join(f"{name} {value}" for name, value in found["machine"].items()))
    table = Table(title="What is promised on two cores")
    for heading in ("what", "measured", "at most", "holds"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    for what, measured, promised, holds in promises(found):
        table.add_row(what, measured, promised, "yes" if holds else "[bold]no[/bold]")
    console.print(table)
    one = found["institution"]
    steps = Table(title=f"One institution, {one['features']} features, medians in seconds")
    for heading in ("units", "private step", "without clipping and noise", "dense torch"):
        steps.add_column(heading, justify="right")
    for row in one["steps"]:
        dense = one["dense_torch_seconds"] * row["units"] / one["units"]
        cells = (row["private_seconds"], row["plain_seconds"], dense)
        steps.add_row(f"{row['units']:,}", *(f"{seconds:.3f}" for seconds in cells))
    console.print(steps)
    console.print(
        f"Loading {one['units']:,} units from Parquet takes {one['loading_seconds']:.1f} s. Dense "
        "torch: float32, the whole basis in memory, scaled from a part of the units."
    )
    console.print("\n".join(bench_network.table(found["networks"])), highlight=False)
    console.print("\n".join(bench_mlp.table(found["mlp"])), highlight=False)
    if found["federations"]:
        console.print("\n".join(bench_deployed.table(found["federations"])), highlight=False)


def main(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    runs: Annotated[int, typer.Option(min=1, help="Of each simulation; medians count.")] = 3,
    units: Annotated[int, typer.Option(min=1000, help="Of the six banks together.")] = UNITS,
    large: Annotated[int, typer.Option(min=1000, help="Of the one institution.")] = LARGE_UNITS,
    networks: Annotated[str, typer.Option(help="Units of each network.")] = "4096,100000",
    people: Annotated[
        int, typer.Option(min=500, help="Of the invented world.")
    ] = bench_world.MILLION_PEOPLE,
    scored: Annotated[
        int, typer.Option(min=500, help="Customers to score with reasons.")
    ] = bench_scoring.UNITS,
    desk: Annotated[
        int, typer.Option(min=100, help="Customers whose alerts an analyst works on.")
    ] = bench_desk.CUSTOMERS,
    counts: Annotated[
        str, typer.Option(help="Institutions of each federation of processes.")
    ] = bench_deployed.COUNTS,
) -> None:
    """Measure what the project promises about speed and memory."""
    with tempfile.TemporaryDirectory(prefix="fieldfare-bench-") as folder:
        data = os.environ.get("FIELDFARE_DATA")
        found = measure(
            Path(folder),
            runs=runs,
            units=units,
            large=large,
            networks=bench_deployed.numbers(networks),
            people=people,
            scored=scored,
            desk=desk,
            counts=bench_deployed.numbers(counts),
            data=data,
        )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(found, Console())


if __name__ == "__main__":
    bench_deployed.end_by_exception()
    typer.run(main)

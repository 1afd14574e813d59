"""`fieldfare federation up|down`: a coordinator and three banks as processes, to look at."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.protocol.plan import PICOMU2, plan_for
from fieldfare.simulations.cli import app
from fieldfare.simulations.demo.testbed import (
    COORDINATOR,
    STOP_SECONDS,
    Bed,
    in_this_process,
    typed_command,
)
from fieldfare.simulations.demo.testbed_records import BedRecords, amlsim_records, invented_records

PROCESSES: Final = "processes.json"
ANOTHER: Final = "another.toml"
LEAD: Final = "clara"
OPERATOR: Final = "otto"
SEED: Final = 0

OutOption = Annotated[Path, typer.Option(help="The folder that all of it is in.")]
DEFAULT_OUT: Final = Path("out/federation")


@app.command("federation.up")
def up(
    out: OutOption = DEFAULT_OUT,
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="FIELDFARE_DATA",
            help="Holds a folder amlsim: its accounts take the invented ones' place.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Found a coordinator and three banks, train their study, and leave all of it running."""
    folder = out.absolute()
    _make_room(folder)
    begun = time.monotonic()

    def say(line: str) -> None:
        typer.echo(f"{time.monotonic() - begun:6.1f} s  {line}")

    made = _records(folder / "records", data)
    bed = Bed(folder, made.records, made.study, say, command=in_this_process)
    with ExitStack() as stack:
        stack.callback(bed.stop)
        say("founding the coordinator and three institutions")
        bed.found()
        bed.start()
        say("all nodes are connected")
        study = bed.agree()
        say("all institutions have approved the study")
        row = _followed(bed, bed.run(study, force=False), say)
        if row.state is not RunStatus.FINISHED:
            raise RunError(f"run {row.run}: {row.state.value}: {row.reason}")
        report = bed.audit(bed.transcript(row.run))
        bed.offer_another(folder / ANOTHER)
        say(f"another study waits at {', '.join(bed.names)}")
        bed.expect_people(lead=LEAD, operator=OPERATOR)
        _write_processes(folder, bed)
        stack.pop_all()  # all of it goes on running
    typer.echo("\n".join(_summary(bed, row, report)))


@app.command("federation.down")
def down(out: OutOption = DEFAULT_OUT) -> None:
    """End the processes that `up` left running; its files stay."""
    folder = out.absolute()
    running = _running(folder)
    if not running:
        typer.echo("nothing runs")
    for name in [*(n for n in running if n != COORDINATOR), COORDINATOR]:
        if name in running:
            _end(running[name])
            typer.echo(f"stopped {name}")
    (folder / PROCESSES).unlink(missing_ok=True)


def _records(folder: Path, data: Path | None) -> BedRecords:
    if data is not None and (data / "amlsim").is_dir():
        shipped = files("fieldfare.simulations.world").joinpath("amlsim-3.toml")
        with as_file(shipped) as study:
            return amlsim_records(folder, data / "amlsim", study)
    return invented_records(folder, seed=SEED)


def _followed(bed: Bed, run: str, say: Callable[[str], None]) -> RunRow:
    """Say every tenth step of a run until it ends."""
    said = -1
    with run_store(CoordinatorHome(bed.coordinator_home).runs_database) as store:
        while True:
            row = store.row(run)
            progress = row.progress
            if progress is not None and progress.step // 10 > said:
                said = progress.step // 10
                say(f"{run}: {progress.phase}, step {progress.step} of {progress.steps}")
            if row.state.ended:
                say(f"{run}: {row.state.value}")
                return row
            time.sleep(0.5)


def _summary(bed: Bed, row: RunRow, report: dict[str, Any]) -> list[str]:
    plan = plan_for(bed.loaded_study)
    spent = row.progress.spent.total if row.progress else 0
    with run_store(CoordinatorHome(bed.coordinator_home).runs_database) as store:
        metrics = store.metrics(row.run)
    released = json.loads(metrics) if metrics else {}
    epsilon, promised = plan.epsilon(spent / PICOMU2), plan.study.privacy
    fieldfare, lead, bank = (
        typed_command(),
        *(os.path.relpath(one) for one in (bed.coordinator_home, bed.home(bed.names[0]))),
    )
    return [
        "",
        f"study      {bed.loaded_study.name}, {len(bed.names)} institutions, run {row.run}",
        f"privacy    epsilon {epsilon:.3f} of {promised.epsilon:g} at delta {promised.delta:g}",
        f"released   {_shown(released, 'auroc')}, {_shown(released, 'average_precision')}",
        f"model      {report['model']}",
        "           recomputed bit for bit from the transcript with the roster's keys alone",
        f"delivered  to {', '.join(bed.names)}",
        "",
        "All of it is still running. Look at it:",
        f"  {fieldfare} coordinator runs {row.run} --home {lead}",
        f"  {fieldfare} institution status --home {bank}",
        f"  {fieldfare} institution models --home {bank}",
        f"in a browser: as the coordinator ({LEAD}), and as {bed.names[0]}, where a study waits",
        f"for its operator ({OPERATOR}); each command shows the link to come in by:",
        f"  {fieldfare} console --home {lead}",
        f"  {fieldfare} console --home {bank}",
        "and end it: make federation-stop",
    ]


def _shown(released: dict[str, Any], name: str) -> str:
    found = released.get(name)
    if found is None:
        return f"{name} hidden by noise"
    return f"{name} {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _make_room(folder: Path) -> None:
    """Remove what an earlier `up` left, unless it still runs or is something else."""
    if _running(folder):
        raise UsageError(f"{folder}: it is running already: make federation-stop ends it")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / COORDINATOR).is_dir() and not (folder / "records").is_dir():
            raise UsageError(
                f"{folder}: expected a new folder or one of this command's, found another"
            )
        shutil.rmtree(folder)


def _write_processes(folder: Path, bed: Bed) -> None:
    pids = {name: bed.pid(name) for name in (COORDINATOR, *bed.names)}
    (folder / PROCESSES).write_text(json.dumps(pids), "utf-8")


def _running(folder: Path) -> dict[str, int]:
    """Return what `up` started that still runs, by name."""
    path = folder / PROCESSES
    if not path.exists():
        return {}
    found: dict[str, int] = json.loads(path.read_text("utf-8"))
    return {name: pid for name, pid in found.items() if _is_ours(pid)}


def _is_ours(pid: int) -> bool:
    """Tell whether a process is one of this project's commands: numbers are given anew."""
    try:
        return b"fieldfare" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_SECONDS
    while _is_ours(pid) and time.monotonic() < end:
        time.sleep(0.2)
    with suppress(ProcessLookupError):
        if _is_ours(pid):
            os.killpg(pid, signal.SIGKILL)

"""What goes wrong on a bed of real processes on purpose, and how a run has to end all the same."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from tests.support.federations.beds import STUDY, UNITS, check_whole
from tests.support.system.processes import alive, command_line, tree, until

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.server.store.rows import RunRow
from fieldfare.simulations.demo.testbed import COORDINATOR, Bed

# Processes by the module that each runs.
CUSTODIAN: Final = "client.daemon.process"
NODE: Final = "client.node.process"
SUPERLINK: Final = "server.superlink.process"
RUN: Final = "fieldfare.server.service.run_process"

SECONDS: Final = 120.0  # a machine with other work
LEASE_SECONDS: Final = 200.0  # Flower's 60, a pause of 30, and this machine's own time
EPSILON: Final = 0.3  # several studies fit into an institution's year


def processes(bed: Bed, name: str, module: str) -> list[int]:
    """What runs a module under an institution's or the coordinator's command."""
    return [pid for pid in tree(bed.pid(name)) if module.encode() in command_line(pid)]


def process(bed: Bed, name: str, module: str) -> int:
    """The only process of a module, as soon as there is one."""
    found: list[int] = []

    def seen() -> bool:
        """Of one look: between two it may have ended, or its parent be about to start another."""
        found[:] = processes(bed, name, module)
        return len(found) == 1

    until(seen, SECONDS)
    return found[0]


def kill(*pids: int) -> None:
    """End processes without a word, all at the same moment as far as they can tell."""
    there = [pid for pid in pids if _sent(pid, signal.SIGSTOP)]
    assert there, f"expected a process to kill, found none of {pids}"
    for pid in there:
        _sent(pid, signal.SIGKILL)
    until(lambda: not any(map(alive, there)))


def _sent(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False where the process had ended since it was listed."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that does nothing for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def admissions(bed: Bed) -> dict[str, int]:
    """How often each institution's node was let in; who is online may be a dead one's lease."""
    return {name: bed.log(name).read_text().count("admitted as node") for name in bed.names}


def begin(
    bed: Bed,
    name: str,
    *,
    steps: int = 6,
    deadline: float = 60.0,
    attempts: int = 3,
    more: str = "",
) -> str:
    """Let everybody agree on a new study, and start a run of it; returns the run's id.

    `more` is put at the end of the study's file.
    """
    text = STUDY.format(
        units=UNITS * len(bed.names), steps=steps, deadline=deadline, attempts=attempts
    )
    text = text.replace('name = "small"', f'name = "{name}"')
    text = text.replace("epsilon = 1.0", f"epsilon = {EPSILON}\nspare_releases = 4")
    bed.study = bed.folder / f"{name}.toml"
    bed.study.write_text(text + more)
    return bed.run(bed.agree())


def until_step(bed: Bed, run: str, step: int, seconds: float = SECONDS) -> None:
    """Wait until a run has made so many steps."""

    def made() -> bool:
        row = bed.row(run)
        assert not row.state.ended, row.reason
        return row.progress is not None and row.progress.step >= step

    until(made, seconds)


def picture(bed: Bed, run: str) -> dict[str, Any]:
    """What `coordinator runs --json` says of a run."""
    found: list[dict[str, Any]] = json.loads(bed.coordinator("runs", "--json"))
    return next(one for one in found if one["run"] == run)


def resume(bed: Bed, run: str) -> None:
    """Carry a run on as soon as it is seen not to go on."""
    until(lambda: picture(bed, run)["life"] in {"interrupted", "ended"}, SECONDS)
    bed.coordinator("run", "resume", run)


def check_run(bed: Bed, row: RunRow, *, failed: int = 0) -> dict[str, Any]:
    """A finished run: everything verifies, no step is missing, none was paid for twice.

    Args:
        bed: on which it ran.
        row: as it ended.
        failed: attempts that may have failed.

    Returns:
        The audit's report.
    """
    report = check_whole(bed, row)
    assert report["steps"] == report["planned_steps"] == bed.loaded_study.training.steps
    assert report["recomputed_sums"] == report["sums"] == report["steps"] + 2
    assert report["failed_attempts"] <= failed
    transcript = str(bed.folder / f"{row.run}.transcript")
    for name in bed.names:
        assert "ledger verified" in bed.institution(name, "verify", "ledger")
        said = json.loads(bed.institution(name, "verify", transcript, "--json"))
        assert said["own"]["lost"] == 0
        with open_ledger(Home(bed.home(name))) as ledger:
            debits = [entry.debit for entry in ledger.entries() if entry.debit.run == row.run]
        asked = [(debit.kind, debit.step, debit.attempt) for debit in debits]
        assert len(set(asked)) == len(asked)
        assert len(asked) == said["own"]["recorded"] + len(said["own"]["unseen"])
    return report


def kill_everything(bed: Bed) -> None:
    """What a power cut leaves: the files."""
    names = [COORDINATOR, *bed.names]
    kill(*(pid for name in names for pid in tree(bed.pid(name))))
    for name in names:
        bed.stop_one(name)  # waits for what is dead already

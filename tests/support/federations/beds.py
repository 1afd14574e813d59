"""Federations of real processes with a few units each, for tests that need the whole of it."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.support.system.ports import free_ports

from fieldfare.client.home.layout import Home
from fieldfare.client.institution.ledger_checks import open_ledger
from fieldfare.client.institution.recalling import begin_witnessed
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow, RunStatus
from fieldfare.simulations.demo.testbed import COORDINATOR, Bed

NAMES: Final = ("bank-a", "bank-b", "bank-c")
UNITS: Final = 400
STUDY: Final = """\
format = 1
name = "small"
purpose = "tests"

[records]
unit = "customer"
label = "reported"
units = {units}
prevalence = 0.2

[training]
steps = {steps}

[privacy]
epsilon = 1.0
delta = 1e-5
collusion_tolerance = 1

[aggregation]
minimum_institutions = 3
deadline_seconds = {deadline}
attempts = {attempts}
participants = "any"

[evaluation]
score_bins = 8

[[features]]
name = "amount"
kind = "numeric"
lower = 0
upper = 10
knots = [0, 2, 5, 10]

[[features]]
name = "channel"
kind = "categorical"
levels = ["branch", "online"]
"""


def write_records(path: Path, *, seed: int, units: int = UNITS) -> Path:
    """Customers whose report grows likelier with the amount."""
    random = np.random.default_rng(seed)
    amounts = random.uniform(0, 10, units)
    table = {
        "customer": [f"{path.stem}-{row}" for row in range(units)],
        "reported": (random.uniform(0, 25, units) < amounts).astype(np.int8),
        "amount": amounts.round(2),
        "channel": random.choice(["branch", "online"], units),
    }
    pq.write_table(pa.table(table), path)
    return path


def small_bed(
    folder: Path,
    *,
    names: Sequence[str] = NAMES,
    steps: int = 4,
    deadline: float = 60.0,
    attempts: int = 3,
) -> Bed:
    """A bed that is not founded yet."""
    folder.mkdir(parents=True, exist_ok=True)
    records = {
        name: write_records(folder / f"{name}.parquet", seed=seed)
        for seed, name in enumerate(names)
    }
    study = folder / "study.toml"
    study.write_text(
        STUDY.format(units=UNITS * len(names), steps=steps, deadline=deadline, attempts=attempts)
    )
    return Bed(folder / "bed", records, study, ports=free_ports)


def resume_by_itself(bed: Bed, *, on: bool, seconds: int = 1) -> None:
    """Let a bed's coordinator carry on its runs, or not; a change counts at its next look."""
    path = CoordinatorHome(bed.home(COORDINATOR)).settings
    text = re.sub(r"resume_runs = \w+", f"resume_runs = {str(on).lower()}", path.read_text())
    path.write_text(re.sub(r"resume_seconds = \d+", f"resume_seconds = {seconds}", text))


def folder_elsewhere(home: Path) -> Path:
    """Make a folder on another file system than a home's, for its witness."""
    device = home.stat().st_dev
    places = [one for one in (Path("/dev/shm"), Path("/var/tmp")) if one.stat().st_dev != device]  # noqa: S108
    return Path(mkdtemp(prefix="ff-witness-", dir=places[0]))


def vouch_elsewhere(*homes: Path) -> None:
    """Begin the ledgers of new homes with witnesses on another file system: nobody is asked."""
    folder = folder_elsewhere(homes[0])
    for number, path in enumerate(homes):
        settings, place = Home(path).settings, folder / f"{number}.witness"
        text = settings.read_text()
        assert text.count('\nwitness = ""') == 1
        settings.write_text(text.replace('\nwitness = ""', f'\nwitness = "{place}"'))
        assert begin_witnessed(Home(path))


@contextmanager
def running(bed: Bed) -> Iterator[Bed]:
    """Found and start a bed; nothing of it runs afterwards."""
    bed.found()
    resume_by_itself(bed, on=False)  # tests resume runs at the moment that they choose
    try:
        bed.start()
        yield bed
    finally:
        bed.stop()


def check_whole(bed: Bed, row: RunRow) -> dict[str, Any]:
    """A finished run: the audit recomputes it, ledgers verify, nobody paid twice.

    Returns:
        The audit's report.
    """
    report = check_audited(bed, row)
    for name in bed.names:
        with open_ledger(Home(bed.home(name))) as ledger:
            ledger.verify()
            requests = [entry.debit.request for entry in ledger.entries()]
            assert len(requests) == len(set(requests))
    return report


def check_audited(bed: Bed, row: RunRow) -> dict[str, Any]:
    """A finished run: the audit recomputes it; returns its report."""
    assert (row.state, row.reason) == (RunStatus.FINISHED, ""), row.reason
    report = bed.audit(bed.transcript(row.run))
    assert report["verified"], report["misfit"]
    return report


def delivered(bed: Bed, name: str) -> dict[str, Any]:
    """What an institution says of the models that it has."""
    return {each["run"]: each for each in json.loads(bed.institution(name, "models", "--json"))}

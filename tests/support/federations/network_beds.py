"""Federations of real processes that learn a network over features, many rows a unit."""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.support.federations.beds import NAMES, check_whole, delivered
from tests.support.system.ports import free_ports

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.simulations.demo.testbed import COMMAND, Bed, in_this_process

UNITS: Final = 150
STUDY: Final = """\
format = 1
name = "network"
purpose = "tests"

[records]
unit = "case"
label = "reported"
units = 450
prevalence = 0.3

[[features]]
kind = "numeric"
name = "amount"
lower = 0
upper = 1

[[features]]
kind = "categorical"
name = "channel"
levels = ["branch", "online"]

[model]
kind = "mlp"
{model}
rows = 4

[training]
steps = 3

[privacy]
epsilon = 0.5
delta = 1e-5
collusion_tolerance = 1

[aggregation]
minimum_institutions = 3
deadline_seconds = 60
"""


def write_rows(path: Path, *, seed: int) -> Path:
    """Cases of one to six rows, of which four count."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(UNITS), random.integers(1, 7, UNITS))
    reported = (random.uniform(size=UNITS) < 0.3)[owners]
    table = {
        "case": [f"{path.stem}-{owner}" for owner in owners],
        "reported": reported.astype(np.int8),
        "amount": np.clip(random.normal(0.3 + 0.3 * reported, 0.2), 0, 1),
        "channel": random.choice(["branch", "online"], len(owners)).tolist(),
    }
    pq.write_table(pa.table(table), path)
    return path


def network_bed(folder: Path, model: str, program: Path = COMMAND) -> Bed:
    """A bed that is not founded yet; `model` goes into the study's own table of it."""
    study = folder / "network.toml"
    study.write_text(STUDY.format(model=model))
    records = {n: write_rows(folder / f"{n}.parquet", seed=s) for s, n in enumerate(NAMES)}
    made = Bed(folder / "bed", records, study, command=in_this_process, program=program)
    made.ports = free_ports
    return made


def check_learned(bed: Bed, run: str) -> None:
    """The run ends, the audit recomputes it, the model arrives and scores with exact reasons."""
    report = check_whole(bed, bed.until_ended(run))
    assert report["steps"] == report["planned_steps"] == 3
    model = CoordinatorHome(bed.coordinator_home).model(run) / "model.safetensors"
    copy = bed.home(NAMES[0]).rglob("model.safetensors")
    assert model.read_bytes() in {one.read_bytes() for one in copy}
    assert run in delivered(bed, NAMES[1])
    name, out = NAMES[0], bed.folder / "scores.parquet"
    bed.institution(name, "score", "--model", run, "--out", str(out), "--budget", "10")
    alerts: list[dict[str, Any]] = json.loads(bed.institution(name, "alerts", "--json"))
    for alert in alerts:
        reasons = [*alert["reasons"], *alert["counter_evidence"]]
        said = sum(reason["contribution"] for reason in reasons)
        assert alert["base"] + said + alert["others"] == alert["score"]
    assert len(pq.read_table(out)) == UNITS

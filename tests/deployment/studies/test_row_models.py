"""Texts and vectors over real processes: trained, audited bit for bit, scored with reasons."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.federations.beds import NAMES, check_whole, delivered, running
from tests.support.system.ports import free_ports

from fieldfare.client.home.policy_objections import study_columns
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.demo.testbed import Bed, in_this_process

UNITS: Final = 200
STUDY: Final = """\
format = 1
name = "{name}"
purpose = "tests"

[records]
unit = "case"
label = "reported"
units = {units}
prevalence = 0.3

[model]
{model}

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
MODELS: Final = {
    "texts": 'kind = "text"\ncolumn = "note"\nbuckets = 128\n',
    "vectors": 'kind = "vector"\ncolumn = "embedding"\nentries = 64\nhidden = 2\n',
}

pytestmark = pytest.mark.promises  # one of its kind stands in `make faults`: test_network_model


def write_rows(path: Path, *, seed: int) -> Path:
    """Cases whose notes and vectors say something of whether they were reported."""
    random = np.random.default_rng(seed)
    reported = random.uniform(size=UNITS) < 0.3
    vectors = random.normal(size=(UNITS, 64))
    vectors[:, 0] += 3.0 * reported
    said = ["the driver keeps her passport", "thank you, all is well"]
    table = {
        "case": [f"{path.stem}-{row}" for row in range(UNITS)],
        "reported": reported.astype(np.int8),
        "note": [f"{said[0] if one else said[1]} {row}" for row, one in enumerate(reported)],
        "embedding": vectors.round(4).tolist(),
    }
    pq.write_table(pa.table(table), path)
    return path


def studies(folder: Path) -> dict[str, Path]:
    found = {}
    for name, model in MODELS.items():
        found[name] = folder / f"{name}.toml"
        text = STUDY.format(name=name, units=UNITS * len(NAMES), model=model)
        found[name].write_text(text)
    return found


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    records = {n: write_rows(tmp_path / f"{n}.parquet", seed=s) for s, n in enumerate(NAMES)}
    made = Bed(tmp_path / "bed", records, studies(tmp_path)["texts"], command=in_this_process)
    made.ports = free_ports
    with running(made):
        yield made


def scored(bed: Bed, run: str) -> dict[str, Any]:
    """Score at one institution, and return its first alert."""
    name, out = NAMES[0], bed.folder / f"{run}.parquet"
    bed.institution(name, "score", "--model", run, "--out", str(out), "--budget", "10")
    found: list[dict[str, Any]] = json.loads(bed.institution(name, "alerts", "--json"))
    return next(alert for alert in found if alert["run"] == run)


def allow(bed: Bed, study: Path) -> None:
    """Let every institution's policy read this study's columns too."""
    for name in bed.names:
        policy = bed.home(name) / "policy.toml"
        before = json.dumps(study_columns(bed.loaded_study))
        both = sorted({*study_columns(bed.loaded_study), *study_columns(load_study(study))})
        policy.write_text(policy.read_text().replace(before, json.dumps(both)))


def test_texts_and_vectors_are_learned_audited_and_scored(bed: Bed, tmp_path: Path) -> None:
    paths = studies(tmp_path)
    allow(bed, paths["vectors"])
    for name, path in paths.items():
        bed.study = path
        run = bed.run(bed.agree())
        report = check_whole(bed, bed.until_ended(run))
        assert report["steps"] == report["planned_steps"] == 3
        model = CoordinatorHome(bed.coordinator_home).model(run) / "model.safetensors"
        copy = bed.home(NAMES[0]).rglob("model.safetensors")
        assert model.read_bytes() in {one.read_bytes() for one in copy}
        assert run in delivered(bed, NAMES[1])
        alert = scored(bed, run)
        assert alert["family_names"] == []  # nothing published says when a text is a sign
        reasons: list[dict[str, Any]] = [*alert["reasons"], *alert["counter_evidence"]]
        assert len(reasons) == 1
        assert alert["base"] + reasons[0]["contribution"] + alert["others"] == alert["score"]
        if name == "texts":
            said = bed.institution(NAMES[0], "alerts", alert["alert"], "--words")
            assert "characters" in said
            assert "changed" not in said

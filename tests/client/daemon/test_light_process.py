"""A custodian holds no machine for networks in its memory before a study with one is approved."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

HEAVY: Final = (
    *("torch", "opacus", "sklearn", "matplotlib", "lxml"),
    # Not pandas: pyarrow looks for it by itself, and loads it where it is installed.
    *("polars", "ray", "pyspark", "mlflow", "jax"),
)

# A fresh interpreter: three homes, an approved study, and the whole run where there is one.
# argv: the model's kind.
RUN: Final = f"""
import json, sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
import fieldfare.client.daemon.process
from fieldfare.client.institution.open import open_custody
from tests.support.homes.institutions import NAMES, Coordinator, approve_all, clock, home_study
from tests.support.homes.runs import finished_run

loaded = lambda: sorted(set({HEAVY!r}) & {{name.partition(".")[0] for name in sys.modules}})
with TemporaryDirectory(prefix="ff-") as folder, ExitStack() as stack:
    coordinator = Coordinator(Path(folder))
    for name in NAMES:
        coordinator.found(name)
    coordinator.pin()
    coordinator.compare()
    custodies = [
        stack.enter_context(open_custody(coordinator.institution(name), None, clock))
        for name in NAMES
    ]
    before = loaded()
    if sys.argv[1] == "additive":
        finished_run(coordinator, custodies, home_study())
        releases = custodies[0].ledger.position().sequence
    else:
        approve_all(coordinator, custodies[:1], home_study(model={{"kind": "mlp", "hidden": [8]}}))
        releases = 0
    print(json.dumps({{"before": before, "after": loaded(), "releases": releases}}))
"""


def told(kind: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, kind],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_whole_run_of_an_additive_study_loads_no_torch() -> None:
    found = told("additive")
    assert found["releases"] > 3
    assert (found["before"], found["after"]) == ([], [])


@pytest.mark.promises
def test_a_network_brings_torch_when_its_study_is_approved() -> None:
    pytest.importorskip("torch")
    found = told("mlp")
    assert found["before"] == []
    assert "torch" in found["after"]
    assert "opacus" not in found["after"]  # that is for modules that a study names

"""The smoke test of a deployment: commands that people type, processes, TLS, a delivered model."""

import hashlib
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load
from tests.support.federations.beds import check_whole, delivered, running, small_bed

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.run.conduct import SIGNED
from fieldfare.simulations.demo.testbed import in_this_process


def test_a_study_is_trained_to_a_delivered_model_that_anybody_can_recompute(tmp_path: Path) -> None:
    bed = small_bed(tmp_path, steps=3)
    bed.command = in_this_process  # faults have the same, each command a process
    with running(bed):
        run = bed.run(bed.agree())
        report = check_whole(bed, bed.until_ended(run))
        assert (report["steps"], report["recomputed_sums"], report["sums"]) == (3, 5, 5)
        folder = CoordinatorHome(bed.coordinator_home).model(run)
        for name in bed.names:
            model = delivered(bed, name)[run]
            content = (Path(model["folder"]) / "model.safetensors").read_bytes()
            assert content == (folder / "model.safetensors").read_bytes()
            parameters = load(content)["parameters"].astype("<f8").tobytes()
            assert hashlib.sha256(parameters).hexdigest() == report["model"]
            assert np.isfinite(load(content)["parameters"]).all()
        offered = bed.offer_another(tmp_path / "another.toml")
        bed.expect_people(lead="clara", operator="otto")
        waits = {
            one["id"]: one["state"]
            for one in json.loads(bed.institution(bed.names[0], "studies", "--json"))
        }
        assert waits[offered] == "received"
        said = bed.fieldfare("console", "account", "list", "--home", str(bed.home(bed.names[0])))
        assert "otto" in said
        assert "clara" in bed.fieldfare(
            "console", "account", "list", "--home", str(bed.coordinator_home)
        )
        status = json.loads(bed.institution(bed.names[0], "status", "--json"))
        assert status  # a screen of a federation that runs
        assert (folder / SIGNED).is_file()
        log = (bed.coordinator_home / "log" / "audit.jsonl").read_text()
        home = CoordinatorHome(bed.coordinator_home)
        assert all(path.read_text().strip() not in log for path in home.tokens.iterdir())

"""A deployed federation learns what a simulation of it does (AMLSim, 40 steps, epsilon 1)."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score
from tests.support.federations.beds import check_whole, running
from tests.support.system.ports import free_ports

from fieldfare.client.records import read_records
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.demo.testbed import Bed
from fieldfare.simulations.demo.testbed_records import BedRecords, amlsim_records
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import Simulation, simulate

DATA = Path(__file__).parents[4] / "shared" / "data" / "amlsim"
STUDY = Path(__file__).parents[3] / "studies" / "amlsim-3.toml"
CLOSE = 0.005  # AUROC

pytestmark = [
    pytest.mark.promises,  # four minutes; `make faults` trains other processes
    pytest.mark.skipif(not DATA.is_dir(), reason="AMLSim's sample simulations are not here"),
]


def everybody(made: BedRecords) -> EncodedUnits:
    study = load_study(made.study)
    return concatenate([read_records([path], study).data for path in made.records.values()])


def auroc(made: BedRecords, model: Path, units: EncodedUnits) -> float:
    parameters = load_file(model)["parameters"]
    scores = model_for(load_study(made.study)).scores(parameters, units)
    return float(roc_auc_score(units.labels, scores))


def simulated(made: BedRecords, out: Path, seed: int) -> Path:
    named = tuple(f"{name}={path}" for name, path in made.records.items())
    simulate(
        Simulation(
            study=load_study(made.study),
            choice=RecordsChoice(named),
            out=out,
            baselines=(),
            seed=seed,
            protection=Protection.SIMULATED,
        )
    )
    return out / "model.safetensors"


def test_processes_learn_what_a_simulation_learns(tmp_path: Path) -> None:
    made = amlsim_records(tmp_path / "records", DATA, STUDY)
    units = everybody(made)
    with running(Bed(tmp_path / "bed", made.records, made.study, ports=free_ports)) as bed:
        run = bed.run(bed.agree())
        report = check_whole(bed, bed.until_ended(run))
        assert report["steps"] == report["planned_steps"] == 40
        model = CoordinatorHome(bed.coordinator_home).model(run) / "model.safetensors"
    together = auroc(made, model, units)
    expected = np.mean(
        [auroc(made, simulated(made, tmp_path / f"{seed}", seed), units) for seed in range(3)]
    )
    assert abs(together - expected) < CLOSE

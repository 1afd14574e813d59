"""What a bed of processes is made of: three banks, a study that fits them, and no persona."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fieldfare.client.scoring.readings import COLUMNS
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.demo.five_banks import banks_study
from fieldfare.simulations.demo.testbed_records import BedRecords, amlsim_records, invented_records

DATA = Path(__file__).parents[4] / "shared" / "data" / "amlsim"
STUDY = Path(__file__).parents[3] / "studies" / "amlsim-3.toml"


def check(made: BedRecords, columns: set[str]) -> int:
    unit = load_study(made.study).records.unit
    units = [pq.read_table(path)[unit].to_pylist() for path in made.records.values()]
    together = [unit for part in units for unit in part]
    assert len(set(together)) == len(together)
    for path in made.records.values():
        found = set(pq.read_schema(path).names)
        assert columns <= found
        assert not found & {"institution", "persona"}
    return len(together)


@pytest.mark.promises
def test_three_invented_banks_and_a_study_over_them(tmp_path: Path) -> None:
    made = invented_records(tmp_path, seed=0, people=3_000)
    study = load_study(made.study)
    assert sorted(made.records) == ["bank-a", "bank-b", "bank-c"]
    total = check(made, {"label", *COLUMNS, *(feature.name for feature in study.features)})
    assert 0.9 < total / study.records.units < 1.1  # the public count is round
    assert study.training.steps == 18
    assert study.features == banks_study().features


@pytest.mark.promises
@pytest.mark.skipif(not DATA.is_dir(), reason="AMLSim's sample simulations are not here")
def test_amlsim_is_dealt_to_three_banks(tmp_path: Path) -> None:
    made = amlsim_records(tmp_path / "records", DATA, STUDY)
    study = load_study(made.study)
    total = check(made, {"label", *(feature.name for feature in study.features)})
    assert total == study.records.units == 40_000
    assert (study.training.steps, study.privacy.collusion_tolerance) == (40, 1)

"""What speed is measured with: seeded, of the size that was asked for, and fit for its study."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.benchmarks.inputs import ROW_GROUP, study_toml, write_records

from fieldfare.client.records import read_records
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.file import parse_study


def test_records_fit_their_study(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", units=600, features=7, banks=3)
    study = parse_study(study_toml(units=600, features=7, steps=60))
    records = read_records([tmp_path / "r.parquet"], study, institution_column="bank")
    assert len(records) == study.records.units == 600
    assert records.data.positions.shape == (7, 600)
    assert records.institutions is not None
    assert sorted(set(records.institutions.tolist())) == ["bank-0", "bank-1", "bank-2"]
    assert records.data.labels.mean() == pytest.approx(study.records.prevalence, abs=0.05)
    assert study.training.steps == 60
    assert plan_for(study).epsilon() <= 1.0


def test_the_same_seed_is_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_records(tmp_path / name, units=50, features=2, banks=2, seed=seed)
    a, b, c = (pq.read_table(tmp_path / name) for name in "abc")
    assert a.equals(b)
    assert not a.equals(c)


def test_more_units_than_a_group_are_written_in_groups(tmp_path: Path) -> None:
    units = ROW_GROUP + 10
    write_records(tmp_path / "r", units=units, features=1, banks=2)
    file = pq.ParquetFile(tmp_path / "r")
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (units, 2)
    ids = file.read(columns=["unit"])["unit"]
    assert len(ids.unique()) == units

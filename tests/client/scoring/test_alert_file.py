import json
import stat
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.support.records.scored import customers, ranking_of, scored_study, units_of

from fieldfare.client.scoring.ranking_table import (
    METADATA_KEY,
    SCHEMA,
    AlertTable,
    check_out,
    write_alerts,
)
from fieldfare.shared.errors import UsageError

STUDY = scored_study()


@pytest.fixture
def table(tmp_path: Path) -> AlertTable:
    return AlertTable.of(ranking_of(units_of(tmp_path, customers(60), STUDY), STUDY), {})


def test_a_file_is_for_its_owner_alone_and_says_what_it_is(
    table: AlertTable, tmp_path: Path
) -> None:
    path = tmp_path / "alerts.parquet"
    write_alerts(table, path, {"run": "r"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = pq.read_table(path)
    assert found.schema.equals(SCHEMA)
    assert found.num_rows == 60
    assert json.loads(found.schema.metadata[METADATA_KEY]) == {"format": 3, "run": "r"}


def test_nothing_is_overwritten(table: AlertTable, tmp_path: Path) -> None:
    path = tmp_path / "alerts.parquet"
    path.write_text("mine")
    with pytest.raises(UsageError, match="new file"):
        write_alerts(table, path, {})
    with pytest.raises(UsageError, match="new file"):
        check_out(path)
    assert path.read_text() == "mine"


def test_a_file_that_could_not_be_finished_is_not_there(
    table: AlertTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", full)
    with pytest.raises(UsageError, match="No space"):
        write_alerts(table, tmp_path / "alerts.parquet", {})
    assert not (tmp_path / "alerts.parquet").exists()


@pytest.mark.parametrize(
    ("name", "said"), [("alerts.csv", "parquet"), ("none/alerts.parquet", "folder")]
)
def test_a_name_that_cannot_be_written_is_refused_at_once(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_out(tmp_path / name)

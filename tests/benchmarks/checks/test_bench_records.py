"""The records benchmark measures what it says, at a size for tests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.benchmarks import records as bench_records
from tests.benchmarks.harness import peak_bytes
from tests.benchmarks.records import BENCH, CUSTOMERS, measure_task
from typer.testing import CliRunner

from fieldfare.shared.errors import RunError

ROWS = 3000


def test_records_fit_their_study(tmp_path: Path) -> None:
    CUSTOMERS.write(tmp_path / "r.parquet", ROWS)
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.num_rows == ROWS
    assert table.num_columns == 2 + bench_records.COLUMNS
    assert len(set(table["unit"].to_pylist())) == ROWS
    for task in ("check", "load"):
        found = measure_task(task, str(tmp_path / "r.parquet"), ROWS)
        assert (found["task"], found["rows"]) == (task, ROWS)
        assert 1e7 < found["peak_bytes"] <= peak_bytes()


@pytest.mark.promises
def test_both_tasks_are_measured_in_processes_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = CliRunner().invoke(BENCH.app(), ["--rows", str(ROWS)])
    assert found.exit_code == 0
    lines = found.output.splitlines()
    assert [line.split()[:2] for line in lines] == [["check", "3,000"], ["load", "3,000"]]
    monkeypatch.setattr(bench_records, "LIMIT_BYTES", 1)
    assert CliRunner().invoke(BENCH.app(), ["--rows", str(ROWS)]).exit_code == 1


def test_a_wrong_count_is_an_error(tmp_path: Path) -> None:
    CUSTOMERS.write(tmp_path / "r.parquet", 5)
    with pytest.raises(RunError, match="expected 6 rows, found 5"):
        measure_task("load", str(tmp_path / "r.parquet"), 6)

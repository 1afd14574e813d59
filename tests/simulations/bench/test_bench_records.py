"""The records benchmark measures what it says, at a size for tests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fieldfare.simulations.bench import records as bench_records
from fieldfare.simulations.bench.records import main, measure, peak_bytes, write_records

ROWS = 3000


def test_records_fit_their_study(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", ROWS)
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.num_rows == ROWS
    assert table.num_columns == 2 + bench_records.COLUMNS
    assert len(set(table["unit"].to_pylist())) == ROWS
    for task in ("check", "load"):
        found = measure(task, tmp_path / "r.parquet", ROWS)
        assert (found.task, found.rows) == (task, ROWS)
        assert 1e7 < found.peak_bytes <= peak_bytes()


def test_both_tasks_are_measured_in_processes_of_their_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--rows", str(ROWS)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["check", "3,000"], ["load", "3,000"]]
    monkeypatch.setattr(bench_records, "LIMIT_BYTES", 1)
    assert main(["--rows", str(ROWS)]) == 1


def test_a_wrong_count_is_an_error(tmp_path: Path) -> None:
    write_records(tmp_path / "r.parquet", 5)
    with pytest.raises(SystemExit, match="expected 6 rows, found 5"):
        measure("load", tmp_path / "r.parquet", 6)

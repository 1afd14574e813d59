"""The scoring benchmark measures what it says, at a size for tests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fieldfare.client.typologies.pack import own_pack
from fieldfare.simulations.bench import scoring as bench_scoring
from fieldfare.simulations.bench.scoring import bench_study, line_of, main, measure, write_units

UNITS = 2000


def test_everyone_is_scored_under_the_whole_pack(tmp_path: Path) -> None:
    study = bench_study(UNITS)
    assert len(study.features) == len(own_pack().features)
    write_units(tmp_path / "u.parquet", study, UNITS)
    found = measure(tmp_path / "u.parquet", tmp_path / "a.parquet", UNITS)
    assert (found.units, found.features) == (UNITS, len(study.features))
    assert pq.read_table(tmp_path / "a.parquet").num_rows == UNITS
    assert found.seconds == found.reading + found.ranking + found.writing > 0
    assert found.peak_bytes > 1e7
    with pytest.raises(SystemExit, match="expected 7 units, found 2000"):
        measure(tmp_path / "u.parquet", tmp_path / "b.parquet", 7)


def test_the_promise_is_held_against_the_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--units", str(UNITS)]) == 0
    said = capsys.readouterr().out
    assert "2,000 customers" in said
    assert "holds" in said
    found = bench_scoring.Measure(UNITS, 3, 1.0, 2.0, 3.0, 5.0, 10**9, 10)
    assert found.holds
    monkeypatch.setattr(bench_scoring, "MOST_BYTES", 10)
    assert not found.holds
    assert "does not hold" in line_of(found)

"""The scoring benchmark measures what it says, at a size for tests."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.benchmarks import scoring as bench_scoring
from tests.benchmarks.scoring import BENCH, customers, promises, score
from typer.testing import CliRunner

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import RunError

UNITS = 2000


def test_everyone_is_scored_under_the_whole_pack(tmp_path: Path) -> None:
    study = customers().study(UNITS)
    assert len(study.features) == len(own_pack().features)
    customers().write(tmp_path / "u.parquet", UNITS)
    file, out = str(tmp_path / "u.parquet"), tmp_path / "a.parquet"
    found = score(file, str(out), UNITS)
    assert (found["units"], found["features"]) == (UNITS, len(study.features))
    assert pq.read_table(out).num_rows == UNITS
    assert all(found[name] > 0 for name in ("reading", "ranking", "writing"))
    assert found["peak_bytes"] > 1e7
    with pytest.raises(RunError, match="expected 7 units, found 2000"):
        score(file, str(tmp_path / "b.parquet"), 7)


@pytest.mark.promises
def test_the_promise_is_held_against_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    said = CliRunner().invoke(BENCH.app(), ["--units", str(UNITS)])
    assert said.exit_code == 0
    assert "2,000 customers" in said.output
    assert "holds" in said.output
    found = {"units": UNITS, "reading": 1.0, "ranking": 2.0, "writing": 3.0, "peak_bytes": 10**9}
    assert [row.holds for row in promises(found)] == [True, True]
    monkeypatch.setattr(bench_scoring, "MOST_BYTES", 10)
    assert [row.holds for row in promises(found)] == [True, False]

"""`fieldfare.sweep`: frames and files give one table, and what is kept is gone on with."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.simulations.conftest import make_table, study_text
from tests.support.records.scored import quick_grid
from tests.support.runs.started import small_start

import fieldfare
from fieldfare.simulations.sweeps import running


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> fieldfare.Study:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    return fieldfare.Study.from_toml(study_text())


def run(study: fieldfare.Study, data: Any, **given: Any) -> fieldfare.SweepResult:
    asked = {"epsilon": [1, 8], "seeds": [0], "beside_it": ["alone"], "progress": False, **given}
    return fieldfare.sweep(study, data, **asked)


def test_a_frame_is_swept_drawn_and_written_only_where_asked(
    study: fieldfare.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(study, make_table(), institutions=[3], seeds=[0, 1])
    assert list(tmp_path.iterdir()) == []
    table = found.to_arrow()
    assert set(table["epsilon"].to_pylist()) == {1.0, 8.0}
    assert len(found.pays) == 1
    assert "gain" in repr(found)
    assert max(map(len, repr(found).splitlines())) <= 80
    for plot in (found.plot_gain(), found.plot_utility(), found.plot_traffic()):
        assert "<svg" in plot.svg
    assert "<svg" in found._repr_html_()
    page = found.report(tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"<script|src=", page)


@pytest.mark.promises
def test_whoever_holds_records_is_said_in_every_way(study: fieldfare.Study) -> None:
    table = make_table()
    by_column = run(study, table, institution_column="bank").to_arrow()
    frames = {
        name: table.filter(pa.compute.equal(table["bank"], name))
        for name in ("bank-a", "bank-b", "bank-c")
    }
    by_name = run(study, frames).to_arrow()
    names = ["institution", "learner", "held", "average_precision"]
    assert by_column.select(names).equals(by_name.select(names))
    with pytest.raises(fieldfare.UsageError, match="institutions=N"):
        run(study, table)


def test_what_is_kept_is_not_run_again(
    study: fieldfare.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(study, make_table(), institutions=[3], out=tmp_path / "kept").to_arrow()
    monkeypatch.setattr(running, "measured", lambda *_: pytest.fail("nothing is run again"))
    again = run(study, make_table(), institutions=[3], out=tmp_path / "kept").to_arrow()
    assert again.equals(first)
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert kept == ["points", "sweep.parquet"]  # figures, and no record


@pytest.mark.parametrize("own", [{}, {"start": '"public:small"'}])
def test_a_start_beside_the_study_is_found(
    own: dict[str, str], study: fieldfare.Study, tmp_path: Path
) -> None:
    (tmp_path / "small.safetensors").write_bytes(small_start().to_bytes())
    (tmp_path / "study.toml").write_text(study_text(training=own))
    begun = fieldfare.Study.from_toml(tmp_path / "study.toml")
    asked = {"start": "public:small"} if not own else {}
    found = run(begun, make_table(), institutions=3, epsilon=8, **asked).to_arrow()
    assert set(found["start"].to_pylist()) == {"public:small"}


def test_one_value_needs_no_list(study: fieldfare.Study) -> None:
    found = run(study, make_table(), institutions=3, epsilon=8, seeds=np.arange(1), steps=2)
    assert set(found.to_arrow()["institutions"].to_pylist()) == {3}


def test_a_name_of_somebody_else_stays_text(study: fieldfare.Study) -> None:
    table = make_table().append_column("<b>x", make_table()["bank"])
    asked = ["column:<b>x", "column:bank"]
    found = run(study, table, partition=asked, epsilon=8, seeds=[0, 1], beside_it=["alone"])
    assert any("<b>" in line for line in found.pays)
    assert "<b>" not in found._repr_html_()


def test_mistakes_are_said(study: fieldfare.Study) -> None:
    with pytest.raises(fieldfare.UsageError, match=r"study: expected a fieldfare.Study, found a"):
        fieldfare.sweep("study.toml", make_table(), institutions=3)  # type: ignore[arg-type]
    with pytest.raises(fieldfare.UsageError, match="institution_column or partition, found both"):
        run(study, make_table(), partition="iid", institutions=3, institution_column="bank")
    with pytest.raises(fieldfare.UsageError, match=r"^epsilon\[0\]: expected greater than 0"):
        run(study, make_table(), institutions=[3], epsilon=[0])
    one = run(study, make_table(), institutions=[3], epsilon=[1])
    with pytest.raises(fieldfare.UsageError, match="nothing to draw along"):
        one.plot_gain()

"""A model file scores records as the simulation that made it measured them."""

import json
from pathlib import Path
from stat import S_IMODE

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from tests.simulations.conftest import SimulationFolder, make_table

from fieldfare.shared.cli.root import run
from fieldfare.simulations.federation.simulate import simulate

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def modelled(work: SimulationFolder) -> SimulationFolder:
    work.write_records(make_table(200, seed=9), "other.parquet")
    simulate(work.task(holdout_files=(str(work.folder / "other.parquet"),), report=False))
    return work


def call(work: SimulationFolder, records: str, out: Path, *more: str) -> list[str]:
    model = work.folder / "out" / "model.safetensors"
    given = ["model", "score", str(model), str(work.study_file)]
    return [*given, "--records", str(work.folder / records), "--out", str(out), *more]


def test_the_same_model_and_records_give_the_same_figures(
    modelled: SimulationFolder, capsys: Capture
) -> None:
    out = modelled.folder / "scores.parquet"
    assert run(call(modelled, "other.parquet", out, "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    results = json.loads((modelled.folder / "out" / "results.json").read_text("utf-8"))
    shared = results["models"]["federated"]
    assert said["units"] == 200
    assert said["metrics"] == {name: pytest.approx(shared[name]) for name in said["metrics"]}
    table = pq.read_table(out)
    assert table["rank"].to_pylist() == sorted(table["rank"].to_pylist())
    assert table["score"].to_pylist() == sorted(table["score"].to_pylist(), reverse=True)


def test_who_has_no_label_is_scored_and_not_measured(
    modelled: SimulationFolder, capsys: Capture
) -> None:
    modelled.write_records(make_table(50, seed=9).drop_columns(["reported"]), "new.parquet")
    out = modelled.folder / "scores.csv"
    assert run(call(modelled, "new.parquet", out)) == 0
    assert "auroc" not in capsys.readouterr().out
    table = pc.read_csv(out)
    assert len(table) == table["label"].null_count == 50


def test_records_without_ids_are_scored_too(work: SimulationFolder, capsys: Capture) -> None:
    work.write_study(records={"unit": '"id"'})
    text = work.study_file.read_text("utf-8").replace('unit = "id"\n', "")
    work.study_file.write_text(text, encoding="utf-8")
    simulate(work.task(report=False))
    assert run(call(work, "records.parquet", work.folder / "s.parquet")) == 0
    assert "300 scored" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_scores_are_for_this_user_alone_and_replace_nothing(
    modelled: SimulationFolder, capsys: Capture, name: str
) -> None:
    out = modelled.folder / name
    assert run(call(modelled, "other.parquet", out)) == 0
    assert S_IMODE(out.stat().st_mode) == 0o600
    records, scored = modelled.folder / "other.parquet", out.read_bytes()
    before = records.read_bytes()
    for there in (out, records):
        assert run(call(modelled, "other.parquet", there)) == 2
        assert "nothing is overwritten" in capsys.readouterr().err
    assert run(call(modelled, "other.parquet", modelled.folder / "nowhere" / name)) == 2
    assert "expected a file to write, found: No such file" in capsys.readouterr().err
    assert (out.read_bytes(), records.read_bytes()) == (scored, before)


def test_a_file_of_nobody_is_an_empty_table(modelled: SimulationFolder) -> None:
    modelled.write_records(make_table(50, seed=9).slice(0, 0), "none.parquet")
    out = modelled.folder / "scores.parquet"
    assert run(call(modelled, "none.parquet", out)) == 0
    assert pq.read_table(out).schema.field("rank").type == pa.int64()


def test_what_is_no_model_or_another_studys_is_refused(
    modelled: SimulationFolder, capsys: Capture
) -> None:
    out = modelled.folder / "scores.parquet"
    model = modelled.folder / "out" / "model.safetensors"
    assert run(call(modelled, "other.parquet", modelled.folder / "scores.txt")) == 2
    assert "expected a file that ends in .parquet or .csv" in capsys.readouterr().err
    content = model.read_bytes()
    for damaged in (b"", b"no model", content[:-8]):
        model.write_bytes(damaged)
        assert run(call(modelled, "other.parquet", out)) == 2
        assert "expected model.safetensors" in capsys.readouterr().err
    model.unlink()
    assert run(call(modelled, "other.parquet", out)) == 2
    model.write_bytes(content)
    modelled.write_study(training={"steps": "7"})
    assert run(call(modelled, "other.parquet", out)) != 0
    assert "10 float64 parameters" in capsys.readouterr().err
    assert not out.exists()

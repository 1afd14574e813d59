"""Every question over seeds: of given records, and of an invented world by the month."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from tests.simulations.conftest import SimulationFolder, make_table
from tests.support.records.scored import quick_grid

from fieldfare.client.own_model.own_customers import HomeFits
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.homes import JointTrainer
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.joining.join import FIGURES, PAGE, join
from fieldfare.simulations.joining.seeds import JoinTask, Records, seed_rows


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)


def quiet(what: str, done: int, total: int) -> None:
    del what, done, total


@pytest.fixture
def task(work: SimulationFolder) -> JoinTask:
    table = work.read_records()
    names = np.where(np.array(table["reported"]) == 1, np.array(table["persona"]), "")
    work.write_records(table.append_column("scenario", pa.array(names.tolist())))
    choice = RecordsChoice((str(work.records_file),), institution_column="bank")
    source = Records(choice, {"rare": "scenario", "left out": "scenario"})
    return JoinTask(load_study(work.study_file), source, (0,), work.folder / "join", (1.0, 0.5))


def test_a_seed_answers_what_records_can(task: JoinTask) -> None:
    found = join(task, quiet)
    assert [row["labels"] for row in found["labels"]] == [1.0, 0.5]
    assert [row["labels"] for row in found["newcomer"]] == [0.0, 10.0]
    assert found["left_out"]["cases"] > 0
    assert found["months"] is None
    assert "months until a new scenario is found" in found["unknown"][0]
    assert "--role-column" not in found["unknown"][0]
    assert "Should we join?" in (task.out / PAGE).read_text("utf-8")
    assert json.loads((task.out / FIGURES).read_text("utf-8")) == found


def test_a_kept_seed_is_used_again_and_only_for_the_same(
    task: JoinTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = replace(task, whole=False, shares=(1.0,))
    brief.out.mkdir()
    first = seed_rows(brief, 0, quiet)
    pages = (brief.out / "seed-0.json").read_bytes()
    monkeypatch.setattr("fieldfare.simulations.joining.seeds.customers_of", None)
    assert seed_rows(brief, 0, quiet) == first
    with pytest.raises(TypeError):  # another share: measured anew
        seed_rows(replace(brief, shares=(0.5,)), 0, quiet)
    monkeypatch.undo()
    (brief.out / "seed-0.json").write_text("{", "utf-8")
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    seed_rows(brief, 0, quiet)
    assert (brief.out / "seed-0.json").read_bytes() == pages  # the same seeds, the same bytes


def test_records_that_are_not_there_are_named(task: JoinTask) -> None:
    choice = RecordsChoice(("gone/here.parquet",), institution_column="bank")
    with pytest.raises(RecordsError, match="here"):
        join(replace(task, source=Records(choice, {})), quiet)


def test_three_small_banks_with_hardly_a_case_are_told_no(work: SimulationFolder) -> None:
    """At .05 % prevalence there is nothing to learn from, and nothing to show."""
    table = make_table(6000)
    rare = [int(row % 2000 == 7) for row in range(6000)]
    work.write_records(table.set_column(table.column_names.index("reported"), "reported", [rare]))
    records = {"units": "6000", "prevalence": "0.0005"}
    study = work.write_study(records=records, privacy={"epsilon": "1.0"})
    source = Records(RecordsChoice((str(work.records_file),), institution_column="bank"), {})
    found = join(JoinTask(study, source, (0,), work.folder / "join", (1.0,), whole=False), quiet)
    assert found["verdict"]["word"] == "no"
    assert "so few show nothing" in found["verdict"]["why"]
    assert {one["word"] for one in found["institutions"]} == {"too few to say"}


class Oracle(SumModel):
    """A model that knows every label."""

    def scores(self, data: EncodedUnits) -> NDArray[np.float64]:
        return data.labels.astype(np.float64)


@pytest.mark.promises
def test_an_opponent_that_knows_all_turns_the_verdict(
    task: JoinTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the own best model scores cases above all else there is nothing left to gain."""
    brief = replace(task, whole=False, shares=(1.0,), seeds=(0, 1))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})  # in this process
    model = model_for(task.study)
    best = Oracle(model, model.initial(0.0))
    monkeypatch.setattr(HomeFits, "at_home", lambda *_: best)
    idle = join(replace(brief, out=brief.out.with_name("idle")), quiet)["verdict"]
    assert "a model that knows nothing may bring as much" in idle["why"]  # it is as good at home
    monkeypatch.setattr(JointTrainer, "placebo", lambda *_: model.initial(0.0))
    monkeypatch.setattr(HomeFits, "at_home", lambda own, fed: best if fed.any() else own.alone)
    first = join(brief, quiet)["verdict"]
    assert first["word"] == "yes, but too few seeds", first

    def knowing(study: Study, start: NDArray[np.float64], data: EncodedUnits) -> HomeFits:
        del start
        return HomeFits(study, data, None, best)

    monkeypatch.setattr(HomeFits, "of", knowing)
    found = join(replace(brief, out=brief.out.with_name("stronger")), quiet)
    assert (found["verdict"]["word"], found["verdict"]["gain"]["value"]) == ("no", 0.0)

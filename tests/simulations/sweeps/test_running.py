"""What comes of points: as a simulation has it, once, whole, and the same again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.simulations.conftest import SimulationFolder
from tests.simulations.sweeps.conftest import MakePlan

from fieldfare.client.own_model.own_customers import HomeFits
from fieldfare.shared.errors import UsageError
from fieldfare.simulations.federation.baselines import Baseline
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.federation.simulate import simulate
from fieldfare.simulations.metrics import METRICS
from fieldfare.simulations.sweeps import measuring, running
from fieldfare.simulations.sweeps.keeping import SCHEMA, TABLE, SweepFolder
from fieldfare.simulations.sweeps.points import SweepGrid
from fieldfare.simulations.sweeps.running import chunks, sweep


def rows_where(rows: list[dict[str, Any]], **asked: object) -> list[dict[str, Any]]:
    return [row for row in rows if all(row[name] == value for name, value in asked.items())]


def figures(rows: list[dict[str, Any]]) -> list[list[float]]:
    return [[row[name] for name in METRICS] for row in rows]


def test_a_point_is_the_simulation_of_its_seed(make_plan: MakePlan, work: SimulationFolder) -> None:
    rows = sweep(SweepGrid.of(make_plan(seeds=(3,))), work.folder / "sweep").to_pylist()
    choice = RecordsChoice((str(work.records_file),), institutions=3)
    task = work.task(
        choice=choice, seed=3, report=False, baselines=(Baseline.ALONE, Baseline.CENTRAL)
    )
    models = simulate(task)["models"]
    for learner, key in (
        ("federated", "federated"),
        ("alone", "alone"),
        ("at_home", "at_home"),
    ):
        own = {name: one["own"] for name, one in models[key]["per_institution"].items()}
        for row in rows_where(rows, learner=learner, held="own"):
            assert own[row["institution"]] == {name: row[name] for name in METRICS}
    [shared] = rows_where(rows, learner="federated", held="all")
    assert {name: shared[name] for name in METRICS} == {
        name: models["federated"][name] for name in METRICS
    }
    [pooled] = rows_where(rows, learner="pooled", held="all")
    assert pooled["average_precision"] == pytest.approx(models["central"]["average_precision"])


@pytest.mark.promises
def test_baselines_stay_where_privacy_moves_and_are_computed_once(
    make_plan: MakePlan, work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, real = [0], HomeFits.of

    def counted(*given: Any) -> HomeFits:
        fitted[0] += 1
        return real(*given)

    monkeypatch.setattr(HomeFits, "of", counted)
    plan = make_plan(epsilon=(0.5, 8.0), steps=(3, 6), seeds=(0,))
    rows = sweep(SweepGrid.of(plan), work.folder / "sweep").to_pylist()
    assert fitted == [3]  # once an institution, for four points
    for learner in ("alone", "pooled"):
        low, high = (
            figures(rows_where(rows, learner=learner, epsilon=epsilon, steps=6))
            for epsilon in (0.5, 8.0)
        )
        assert low == high
    low, high = (
        figures(rows_where(rows, learner="federated", epsilon=epsilon, steps=6))
        for epsilon in (0.5, 8.0)
    )
    assert low != high


@pytest.mark.promises
def test_own_models_are_those_of_each_point_alone(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    """What a block shares between its points is what each of them would have made itself."""
    whole = make_plan(epsilon=(0.5, 8.0), steps=(3,), institutions=(3,))
    together = sweep(SweepGrid.of(whole), work.folder / "together").to_pylist()
    for point in SweepGrid.of(whole).points:
        one = make_plan(epsilon=(point.epsilon,), steps=(point.steps,))
        alone = sweep(SweepGrid.of(one), work.folder / "apart").to_pylist()
        same = rows_where(together, epsilon=point.epsilon, steps=point.steps)
        assert [{**row, "point": 0} for row in same] == alone


@pytest.mark.promises
def test_a_sweep_that_was_interrupted_goes_on_and_the_table_is_the_same(
    make_plan: MakePlan, work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = SweepGrid.of(make_plan(epsilon=(0.5, 8.0), seeds=(0, 1), beside=("pooled",)))
    whole, torn = work.folder / "whole", work.folder / "torn"
    table = sweep(grid, whole)
    assert table.schema.equals(SCHEMA)
    put, kept = SweepFolder.put, [0]

    def until(self: SweepFolder, rows: Any) -> None:
        if kept[0] == 2:
            path = self.folder / "points" / f"{rows.key[:32]}.json"
            path.write_text(rows.model_dump_json()[:100])  # as if it had been written in place
            raise KeyboardInterrupt
        kept[0] += 1
        put(self, rows)

    monkeypatch.setattr(SweepFolder, "put", until)
    with pytest.raises(KeyboardInterrupt):
        sweep(grid, torn)
    monkeypatch.setattr(SweepFolder, "put", put)
    assert not (torn / TABLE).exists()
    keeping, done = SweepFolder(torn, grid), list[int]()
    assert sum(keeping.found(point) is not None for point in grid.points) == 2
    sweep(grid, torn, lambda _, count, __: done.append(count))
    assert done[0] == 2
    assert (torn / TABLE).read_bytes() == (whole / TABLE).read_bytes()
    again = sweep(grid, torn, lambda *_: None)
    assert again.equals(table)
    monkeypatch.setattr(running, "measured", lambda *_: pytest.fail("nothing is run again"))
    assert sweep(grid, torn).equals(table)


def test_the_table_of_sums_is_that_of_real_custodians(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    found = []
    for engine in ("custodians", "sums"):
        plan = make_plan(geometry=("none", "whitened"), beside=("pooled",), engine=engine)
        table = sweep(SweepGrid.of(plan), work.folder / engine)
        assert min(table["rounds"].to_pylist()) > 10
        found.append((work.folder / engine / TABLE).read_bytes())
    assert found[0] == found[1]


def test_sums_have_no_custodians(
    make_plan: MakePlan, work: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "LocalFederation", lambda *_, **__: pytest.fail("a custodian"))
    found = sweep(SweepGrid.of(make_plan(engine="sums", beside=())), work.folder / "sweep")
    assert set(found["finished"].to_pylist()) == {True}


def test_rows_of_other_records_are_not_taken_for_these(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    plan, out = make_plan(beside=()), work.folder / "sweep"
    first = sweep(SweepGrid.of(plan), out)
    [path] = (out / "points").iterdir()
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "key": "0" * 64}))
    assert sweep(SweepGrid.of(plan), out).equals(first)  # run again: its key is another's
    work.write_records(work.read_records().slice(30))
    assert not sweep(SweepGrid.of(plan), out).equals(first)


def test_records_are_dealt_as_each_point_says(make_plan: MakePlan, work: SimulationFolder) -> None:
    dealings = ("iid", "quantity:0.3", "skew:amount:1", "column:bank")
    plan = make_plan(partition=dealings, beside=())
    rows = rows_where(sweep(SweepGrid.of(plan), work.folder / "sweep").to_pylist(), held="own")
    units = {
        one: [r["training_units"] + r["held_units"] for r in rows_where(rows, partition=one)]
        for one in dealings
    }
    assert {name: sum(sizes) for name, sizes in units.items()} == dict.fromkeys(dealings, 300)
    assert units["column:bank"] == units["skew:amount:1"] == [100, 100, 100]
    assert max(units["quantity:0.3"]) > 2 * max(units["iid"]) - 100
    # Labels follow the amount: who holds the large ones holds most of them.
    low, _, high = rows_where(rows, partition="skew:amount:1")
    assert high["held_positives"] > 2 * low["held_positives"]


def test_fewer_units_are_among_more_and_too_many_are_refused(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    plan = make_plan(units=(100, 300), beside=())
    rows = sweep(SweepGrid.of(plan), work.folder / "sweep").to_pylist()
    assert [row["units"] for row in rows_where(rows, held="all")] == [100, 300]
    with pytest.raises(UsageError, match="expected 1 to 300 units"):
        sweep(SweepGrid.of(make_plan(units=(301,))), work.folder / "more")


def test_a_column_of_too_few_institutions_is_said_before_any_point_runs(
    make_plan: MakePlan,
) -> None:
    given = {"partition": ("column:bank",), "institutions": (), "beside": ()}
    SweepGrid.of(make_plan(collusion_tolerance=(1,), **given))
    plan = make_plan(collusion_tolerance=(1, 7), **given)  # the two share their records
    with pytest.raises(UsageError, match=r"expected at least 9 institutions.*, found 3"):
        SweepGrid.of(plan)


def test_blocks_are_cut_where_there_are_fewer_than_workers(make_plan: MakePlan) -> None:
    grid = SweepGrid.of(make_plan(epsilon=(0.1, 0.2, 0.3, 0.4, 0.5)))
    missing = set(grid.points)
    assert [len(c) for c in chunks(grid, missing, 1)] == [5]
    assert [len(c) for c in chunks(grid, missing, 2)] == [2, 2, 1]
    assert [len(c) for c in chunks(grid, missing - {grid.points[0]}, 1)] == [4]
    assert replace(grid.points[0], seed=9) not in missing


def test_the_folder_may_be_made(make_plan: MakePlan, tmp_path: Path) -> None:
    found = sweep(SweepGrid.of(make_plan(beside=())), tmp_path / "a" / "b")
    assert found.num_rows == 5
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["points", TABLE]

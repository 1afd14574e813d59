"""The grid: which studies its points run, what is refused before any is run, what has a key."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulations.conftest import SimulationFolder
from tests.simulations.sweeps.conftest import MakePlan

from fieldfare.shared.errors import StudyError, UsageError
from fieldfare.shared.features.features import NumericFeature
from fieldfare.simulations.sweeps.plan import load_sweep, sweep_of
from fieldfare.simulations.sweeps.points import SweepGrid

ROOT = Path(__file__).parents[3]
AMLSIM = str(ROOT / "studies" / "amlsim.toml")
SWEEP = """
study = "study.toml"
records = ["records.parquet"]
seeds = [4, 5]
beside = ["pooled"]
[axes]
epsilon = [1, 2.5]
partition = ["iid", "column:bank"]
institutions = [3, 4]
"""


def test_a_file_and_keywords_say_the_same(work: SimulationFolder) -> None:
    path = work.folder / "sweep.toml"
    path.write_text(SWEEP, encoding="utf-8")
    read = load_sweep(path)
    said = sweep_of(
        str(work.study_file),
        [str(work.records_file)],
        seeds=(4, 5),
        beside=("pooled",),
        epsilon=(1.0, 2.5),
        partition=("iid", "column:bank"),
        institutions=(3, 4),
    )
    assert read == said
    points = SweepGrid.of(read).points
    # A column says itself how many institutions there are: those points are there once.
    assert len(points) == 2 * (2 + 1) * 2
    assert {p.institutions for p in points if p.partition == "column:bank"} == {None}
    assert [p.seed for p in points[:2]] == [4, 5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epsilon": (0.0,)}, "axes.epsilon.0: expected greater than 0"),
        ({"epsilon": (1.0, 1.0)}, "expected different values, found one twice"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "expected different seeds"),
        ({"epsilons": (1.0,)}, "epsilons: expected no such key"),
        ({"dropouts": (1.0,)}, "axes.dropouts.0: expected less than 1"),
        ({"engine": "dask"}, "engine: expected 'custodians', 'sums' or 'ray', found 'dask'"),
        (
            {"engine": "sums", "dropouts": (0.0, 0.1)},
            "^engine: expected custodians or ray with dropouts above 0, found sums",
        ),
        (
            {"engine": "sums", "dropouts": (0.1,), "stragglers": (0.2,)},
            "with dropouts and stragglers above 0",
        ),
        ({"institutions": (2,)}, "axes.institutions.0"),
        ({"start": ("private:x",)}, "axes.start.0"),
    ],
)
def test_what_no_sweep_can_be_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sweep_of("study.toml", ["records.parquet"], **given)


def test_sums_and_ray_take_what_they_can_carry_out() -> None:
    sweep_of("study.toml", ["r.parquet"], engine="sums", dropouts=(0.0,), stragglers=(0.0,))
    sweep_of("study.toml", ["r.parquet"], engine="ray", dropouts=(0.0, 0.5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"partition": ("normal:1",)}, "--partition: expected iid"),
        ({"partition": ("iid",), "institutions": ()}, "expected institutions beside it"),
    ],
)
def test_dealing_is_checked_before_anything_runs(
    make_plan: MakePlan, given: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        SweepGrid.of(make_plan(**given))


def test_a_point_without_a_study_is_named(make_plan: MakePlan) -> None:
    plan = make_plan(geometry=("none", "whitened"), model=("mlp",))
    with pytest.raises(StudyError, match=r"geometry = whitened.*expected none beside a network"):
        SweepGrid.of(plan)


def test_a_point_with_fewer_institutions_than_it_needs_is_named(make_plan: MakePlan) -> None:
    SweepGrid.of(make_plan(institutions=(3, 5), collusion_tolerance=(1,)))
    message = r"collusion_tolerance = 3: expected at least 5 institutions.*, found 3"
    with pytest.raises(UsageError, match=message):
        SweepGrid.of(make_plan(institutions=(3, 5), collusion_tolerance=(1, 3)))


def test_a_file_that_is_not_there_is_named(work: SimulationFolder) -> None:
    with pytest.raises(UsageError, match=r"nowhere.parquet: expected a file of records, found"):
        SweepGrid.of(sweep_of(str(work.study_file), ["nowhere.parquet"]))


def test_axes_change_what_they_name_and_nothing_else() -> None:
    grid = SweepGrid.of(sweep_of(AMLSIM, [AMLSIM]))
    base, point = grid.base, grid.points[0]
    assert grid.study(point) == base
    changed = {
        "epsilon": replace(point, epsilon=3.0),
        "steps": replace(point, steps=7),
        "slots": replace(point, slots=3),
        "units": replace(point, units=1234),
        "collusion": replace(point, collusion_tolerance=1, institutions=9),
        "geometry": replace(point, geometry="whitened"),
        "start": replace(point, start="none"),
    }
    found = {name: grid.study(one) for name, one in changed.items()}
    assert found["epsilon"].privacy.epsilon == 3.0
    assert found["epsilon"].model_copy(update={"privacy": base.privacy}) == base
    assert (found["steps"].training.steps, found["steps"].spare_releases) == (7, 1)
    assert found["units"].records.units == 1234
    assert found["collusion"].privacy.collusion_tolerance == 1
    assert found["start"] == base
    whitened = found["geometry"]
    assert whitened.geometry is not None
    assert (whitened.privacy.clipping_norm, whitened.training.learning_rate) == (1.0, 0.27)
    for before, after in zip(base.features, found["slots"].features, strict=True):
        if isinstance(before, NumericFeature) and isinstance(after, NumericFeature):
            assert len(after.knots) == 3
            assert set(after.knots) <= set(before.knots)
            assert (after.knots[0], after.knots[-1]) == (before.knots[0], before.knots[-1])


def test_coordinates_go_with_what_they_filled_in(work: SimulationFolder) -> None:
    work.study_file.write_text(
        work.study_file.read_text("utf-8").replace(
            "[[features]]", '[geometry]\nkind = "whitened"\n[[features]]', 1
        ),
        encoding="utf-8",
    )
    plan = sweep_of(
        str(work.study_file), [str(work.records_file)], geometry=("none", "whitened", "centred")
    )
    grid = SweepGrid.of(plan)
    studies = [grid.study(point) for point in grid.points[::3]]
    assert [one.privacy.clipping_norm for one in studies] == [0.25, 1.0, 0.0625]
    assert [one.training.learning_rate for one in studies] == [0.15, 0.1, 0.15]
    assert studies[1] == grid.base


def test_a_key_is_of_all_that_rows_depend_on_and_of_no_engine(
    make_plan: MakePlan, work: SimulationFolder
) -> None:
    grid = SweepGrid.of(make_plan(epsilon=(1.0, 2.0), seeds=(0, 1)))
    keys = [grid.key(point) for point in grid.points]
    assert len(set(keys)) == 4
    on_ray = SweepGrid.of(make_plan(epsilon=(1.0, 2.0), seeds=(0, 1), engine="ray"))
    assert [on_ray.key(point) for point in on_ray.points] == keys
    fewer = SweepGrid.of(make_plan(epsilon=(1.0, 2.0), seeds=(0, 1), beside=("alone",)))
    assert fewer.key(fewer.points[0]) not in keys
    work.write_records(work.read_records().slice(1))
    assert grid.key(grid.points[0]) == keys[0]
    assert SweepGrid.of(grid.plan).key(grid.points[0]) not in keys


def test_points_of_one_split_stand_in_one_block(make_plan: MakePlan) -> None:
    grid = SweepGrid.of(
        make_plan(epsilon=(1.0, 2.0), steps=(3, 4), institutions=(3, 5), seeds=(0, 1))
    )
    blocks = grid.blocks()
    assert [len(block) for block in blocks] == [4] * 4
    assert [block[0].institutions for block in blocks] == [5, 5, 3, 3]  # what takes longest first
    assert sorted(map(str, sum(blocks, ()))) == sorted(map(str, grid.points))

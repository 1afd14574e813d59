"""Who holds which records: files, a column, a seeded partition, and every wrong way to say it."""

import math
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.simulations.conftest import BANKS, ROWS, SimulationFolder, make_table
from tests.support.rows import night

from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.population import (
    Overlap,
    Partition,
    RecordsChoice,
    load_population,
)
from fieldfare.simulations.published.amlsim import derive_amlsim

ROOT = Path(__file__).parents[3]


def choice(work: SimulationFolder, **given: object) -> RecordsChoice:
    return RecordsChoice((str(work.records_file),), **given)  # type: ignore[arg-type]


def test_a_column_says_who_holds_what(work: SimulationFolder) -> None:
    study = work.write_study()
    population = load_population(study, choice(work, institution_column="bank"), seed=0)
    assert list(population.records) == list(BANKS)
    for index, name in enumerate(BANKS):
        units = population.records[name].units.tolist()
        assert units == [f"unit-{row}" for row in range(index, ROWS, len(BANKS))]


def test_files_say_who_holds_what(work: SimulationFolder) -> None:
    study, table = work.write_study(), make_table()
    named = []
    for name in ("zebra", "ape", "cow"):
        work.write_records(table, f"{name}.parquet")
        named.append(f"{name}={work.folder / name}.parquet")
    population = load_population(study, RecordsChoice(named), seed=0)
    assert list(population.records) == ["ape", "cow", "zebra"]
    assert [len(records) for records in population.records.values()] == [ROWS] * 3
    # The same unit is on the same side everywhere: it is the unit's id that decides.
    masks = [mask.tolist() for mask in population.holdout.values()]
    assert masks[0] == masks[1] == masks[2]


@pytest.mark.parametrize("institutions", [3, 7, 64])
def test_parting_by_halves_keeps_order_and_everybody(
    work: SimulationFolder, institutions: int
) -> None:
    chosen = choice(work, institutions=institutions, partition="iid")
    population = load_population(work.write_study(), chosen, seed=3)
    assert list(population.records) == Partition(institutions, None).names
    placed = {unit: name for name, records in population.records.items() for unit in records.units}
    assert sorted(placed) == sorted(f"unit-{row}" for row in range(ROWS))
    for name, records in population.records.items():
        rows = [int(unit.partition("-")[2]) for unit in records.units]
        assert rows == sorted(rows)
        assert records.data.positions.shape[1] == len(rows) == len(records.data.labels)
        assert set(records.units) == {unit for unit, owner in placed.items() if owner == name}


@pytest.mark.parametrize("unit", ['"id"', None])
def test_units_at_several_institutions_are_counted(
    work: SimulationFolder, unit: str | None
) -> None:
    """By id, or by rows that are equal in everything where there is none."""
    table = make_table()
    study = work.write_study(privacy={"multiplicity": "2"})
    if unit is None:
        data = study.model_dump(mode="json")
        data["records"]["unit"] = None
        study = Study.model_validate(data)
    parts = {"ape": table, "cow": table.slice(100), "zebra": table.slice(250)}
    for name, part in parts.items():
        work.write_records(part, f"{name}.parquet")
    choice = RecordsChoice([f"{name}={work.folder / name}.parquet" for name in parts])
    found = Overlap.of(study, load_population(study, choice, seed=0))
    assert found == Overlap(unit is not None, ROWS, ROWS - 100, ROWS - 250, 3)


def test_a_file_with_an_equals_sign_in_its_path_is_a_file(work: SimulationFolder) -> None:
    path = work.write_records(make_table(), "year=2025.parquet")
    found = load_population(
        work.write_study(), RecordsChoice((str(path),), institution_column="bank"), seed=0
    )
    assert list(found.records) == list(BANKS)


def test_the_hold_out_is_fixed_by_the_seed_and_about_its_share(work: SimulationFolder) -> None:
    study = work.write_study()
    one, same, other = (
        load_population(study, choice(work, institution_column="bank"), seed=seed)
        for seed in (1, 1, 2)
    )
    held = {name: mask.tolist() for name, mask in one.holdout.items()}
    assert held == {name: mask.tolist() for name, mask in same.holdout.items()}
    assert held != {name: mask.tolist() for name, mask in other.holdout.items()}
    assert 30 <= sum(sum(mask) for mask in held.values()) <= 90  # a fifth of 300


def test_a_seeded_partition_deals_every_row_once(work: SimulationFolder) -> None:
    study = work.write_study()
    for text in ("iid", "dirichlet:0.5", None):
        chosen = choice(work, institutions=4, partition=text)
        one, same, other = (load_population(study, chosen, seed=seed) for seed in (3, 3, 4))
        units = [u for records in one.records.values() for u in records.units.tolist()]
        assert sorted(units) == sorted(f"unit-{row}" for row in range(ROWS))
        dealt = {name: records.units.tolist() for name, records in one.records.items()}
        assert dealt == {name: records.units.tolist() for name, records in same.records.items()}
        assert dealt != {name: records.units.tolist() for name, records in other.records.items()}


def test_an_institution_that_is_dealt_nothing_still_takes_part(work: SimulationFolder) -> None:
    population = load_population(
        work.write_study(), choice(work, institutions=12, partition="dirichlet:0.01"), seed=0
    )
    assert list(population.records) == [f"institution-{i:02d}" for i in range(1, 13)]
    sizes = [len(records) for records in population.records.values()]
    assert min(sizes) == 0
    assert sum(sizes) == ROWS


@given(
    institutions=st.integers(1, 9),
    alpha=st.one_of(st.none(), st.floats(0.01, 100)),
    counts=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    seed=st.integers(0, 2**32),
)
def test_a_partition_names_an_owner_for_every_unit(
    institutions: int, alpha: float | None, counts: tuple[int, int], seed: int
) -> None:
    labels = np.repeat(np.array([0, 1], dtype=np.uint8), counts)
    partition, units = Partition(institutions, alpha), [f"u{i}" for i in range(len(labels))]
    owners = partition.assign(units, labels, seed=seed)
    assert len(owners) == len(labels)
    assert set(owners.tolist()) <= set(partition.names)
    assert len(set(partition.names)) == institutions
    assert partition.names == sorted(partition.names)
    # Whoever else is there, a unit stays where it is.
    assert partition.assign(units[1:], labels[1:], seed=seed).tolist() == owners[1:].tolist()


def test_a_partition_deals_in_equal_shares_on_average() -> None:
    labels = np.repeat(np.array([0, 1], dtype=np.uint8), (20_000, 5_000))
    units = [f"u{i}" for i in range(len(labels))]
    owners = Partition(5, None).assign(units, labels, seed=1)
    for label, size in ((0, 20_000), (1, 5_000)):
        found = [int((owners[labels == label] == name).sum()) for name in Partition(5, None).names]
        # Five standard deviations of a share of one in five.
        assert max(abs(count - size / 5) for count in found) < 5 * (size * 0.16) ** 0.5


def test_a_small_dirichlet_is_uneven_and_a_large_one_is_not() -> None:
    labels, units = np.zeros(4000, dtype=np.uint8), [f"u{i}" for i in range(4000)]
    spreads = []
    for alpha in (0.1, 1000.0):
        owners = Partition(4, alpha).assign(units, labels, seed=0)
        spreads.append(np.std([(owners == name).sum() for name in Partition(4, alpha).names]))
    assert spreads[0] > 10 * spreads[1]


def test_shares_by_size_are_the_same_of_each_class() -> None:
    labels = np.repeat(np.array([0, 1], dtype=np.uint8), (20_000, 20_000))
    partition, units = Partition(4, 0.5, quantity=True), [f"u{i}" for i in range(len(labels))]
    owners = partition.assign(units, labels, seed=0)
    shares = np.array(
        [[np.mean(owners[labels == y] == n) for n in partition.names] for y in (0, 1)]
    )
    assert shares.std(axis=1).min() > 0.05  # sizes differ
    assert np.abs(shares[0] - shares[1]).max() < 0.03  # and nothing else


@pytest.mark.parametrize(("strictness", "least", "most"), [(1.0, 0.9, 1.0), (0.0, -0.1, 0.1)])
def test_a_skew_ranks_by_the_number_as_strictly_as_it_says(
    strictness: float, least: float, most: float
) -> None:
    values = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    labels, units = np.zeros(2000, dtype=np.uint8), [f"u{i}" for i in range(2000)]
    partition = Partition(4, column="amount", strictness=strictness)
    owners = partition.assign(units, labels, seed=0, values=values)
    places = np.searchsorted(partition.names, owners)
    assert np.bincount(places).tolist() == [500] * 4
    assert least < np.corrcoef(places, values)[0, 1] <= most


@pytest.mark.parametrize(
    "text",
    [
        *("", "IID", "normal:1", "dirichlet", "dirichlet:", "dirichlet:0", "dirichlet:-1"),
        *("dirichlet:nan", "dirichlet:inf", "dirichlet:x", "dirichlet:1:2"),
        *("quantity", "quantity:0", "quantity:a:1", "skew:amount", "skew::0.5", "skew:amount:2"),
    ],
)
def test_another_partition_is_not_known(text: str) -> None:
    with pytest.raises(UsageError, match="--partition: expected iid, dirichlet:A or quantity:A"):
        Partition.parse(3, text)


WRONG = {
    "no records": (RecordsChoice(()), "say where records are"),
    "two files without names": (RecordsChoice(("a", "b")), "NAME=FILE for each institution"),
    "a name and none": (RecordsChoice(("x=a", "b")), "NAME=FILE for each institution"),
    "nobody named": (RecordsChoice(("a",)), "either --institution-column COL or --institutions N"),
    "two ways": (
        RecordsChoice(("a",), institution_column="bank", institutions=3),
        "either --institution-column COL or --institutions N",
    ),
    "a partition of named files": (
        RecordsChoice(("x=a", "y=b", "z=c"), partition="iid"),
        "already says who holds what",
    ),
    "a column of named files": (
        RecordsChoice(("x=a", "y=b", "z=c"), institution_column="bank"),
        "already says who holds what",
    ),
    "a partition of a column": (
        RecordsChoice(("a",), institution_column="bank", partition="iid"),
        "--partition goes with --institutions N",
    ),
    "one name twice": (RecordsChoice(("x=a", "x=b", "z=c")), "expected each institution once"),
    "no name": (RecordsChoice(("=a", "y=b", "z=c")), "institution names of 1 to 64"),
    "the coordinator's name": (
        RecordsChoice(("coordinator=a", "y=b", "z=c")),
        'none called "coordinator"',
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_options_that_do_not_go_together_are_said(work: SimulationFolder, case: str) -> None:
    given, message = WRONG[case]
    with pytest.raises(UsageError, match=message):
        load_population(work.write_study(), given, seed=0)


def test_too_few_institutions_are_said(work: SimulationFolder) -> None:
    with pytest.raises(UsageError, match=r"at least 3 institutions .* found 2"):
        load_population(work.write_study(), choice(work, institutions=2), seed=0)
    one_bank = make_table(banks=("only",))
    work.write_records(one_bank)
    with pytest.raises(UsageError, match=r"at least 3 institutions .* found 1"):
        load_population(work.write_study(), choice(work, institution_column="bank"), seed=0)


def test_a_name_in_the_records_that_nobody_may_bear_is_said(work: SimulationFolder) -> None:
    table = make_table(banks=("a", "b", "coordinator"))
    work.write_records(table)
    with pytest.raises(UsageError, match="institution names"):
        load_population(work.write_study(), choice(work, institution_column="bank"), seed=0)


@pytest.mark.parametrize("column", ["nowhere", "institution"])
def test_a_column_that_is_not_there_is_said(work: SimulationFolder, column: str) -> None:
    with pytest.raises(RecordsError, match=column):
        load_population(work.write_study(), choice(work, institution_column=column), seed=0)


def test_a_simulation_refuses_rows_that_an_institution_would_count_as_zero(
    work: SimulationFolder,
) -> None:
    """Nobody outside waits for its answer, and a thinner file would pass for the whole."""
    table = make_table()
    amounts = [math.inf, *table["amount"].to_pylist()[1:]]
    place = table.column_names.index("amount")
    changed = table.set_column(place, "amount", pa.array(amounts))
    pq.write_table(changed, work.records_file)
    with pytest.raises(
        RecordsError, match="column amount: expected a finite number, found infinity"
    ):
        load_population(work.write_study(), choice(work, institution_column="bank"), seed=0)


def test_an_audit_column_stays_beside_the_records(work: SimulationFolder) -> None:
    found = load_population(
        work.write_study(),
        choice(work, institution_column="bank", audit_column="persona"),
        seed=0,
    )
    for records in found.records.values():
        assert records.audit is not None
        assert set(records.audit.tolist()) <= {"student", "nurse"}


def test_an_empty_file_is_an_institution_without_units(
    work: SimulationFolder, tmp_path: Path
) -> None:
    table = make_table()
    for name, part in (("a", table), ("b", table), ("c", table.slice(0, 0))):
        work.write_records(part, f"{name}.parquet")
    named = [f"{n}={work.folder / n}.parquet" for n in ("a", "b", "c")]
    population = load_population(work.write_study(), RecordsChoice(named), seed=0)
    assert [len(records) for records in population.records.values()] == [ROWS, ROWS, 0]
    assert isinstance(table, pa.Table)


def test_no_record_at_all_is_nothing_to_simulate(work: SimulationFolder, tmp_path: Path) -> None:
    work.write_records(make_table().slice(0, 0), "empty.parquet")
    named = [f"{name}={work.folder}/empty.parquet" for name in "abc"]
    with pytest.raises(RecordsError, match="expected at least one record in all, found none"):
        load_population(work.write_study(), RecordsChoice(named), seed=0)


@pytest.mark.parametrize(("label", "found"), [("0", "none labelled"), ("1", "all labelled")])
def test_records_of_one_class_alone_are_nothing_to_learn_from(
    work: SimulationFolder, label: str, found: str
) -> None:
    table = make_table()
    place = table.column_names.index("reported")
    work.write_records(table.set_column(place, "reported", [[label] * len(table)]))
    with pytest.raises(RecordsError, match=f"labelled and unlabelled units, found .*{found}"):
        load_population(work.write_study(), choice(work, institution_column="bank"), seed=0)


def at_hand(name: str) -> Path:
    data = Path(os.environ.get("FIELDFARE_DATA") or ROOT / ".." / "shared" / "data")
    if not (data / name).is_dir():
        pytest.skip(f"{name} is not at hand: name its folder in FIELDFARE_DATA")
    return data / name


def sides(study: Study, choice: RecordsChoice, name: str) -> Counter[tuple[object, ...]]:
    """What every unit holds, the side that it is on and which of its cells count first."""
    population = load_population(study, choice, seed=0)
    records, held = population.records[name], population.holdout[name]
    order = records.asked_units(name, key=b"key").order
    rows = zip(records.data.positions.T, records.data.labels, held, order, strict=True)
    return Counter((row.tobytes(), int(label), bool(h), int(o)) for row, label, h, o in rows)


@pytest.mark.parametrize("taken", [0, *night(100, 250, -1)])
def test_one_patient_less_moves_no_other_to_another_side(tmp_path: Path, taken: int) -> None:
    """By row number 102 others changed sides where the first of Cleveland's 303 was gone."""
    folder, study = at_hand("heart"), load_study(ROOT / "studies" / "heart.toml")
    others = [f"{name}={folder}/processed.{name}.data" for name in ("hungarian", "va")]
    header, *rows = (folder / "processed.cleveland.data").read_text().splitlines()
    path = tmp_path / "cleveland.csv"

    def found(kept: list[str]) -> Counter[tuple[object, ...]]:
        path.write_text("\n".join([header, *kept, ""]))
        return sides(study, RecordsChoice([f"cleveland={path}", *others]), "cleveland")

    before = found(rows)
    fewer = list(rows)
    del fewer[taken]
    after = found(fewer)
    assert sum((before - after).values()) == 1
    assert not after - before


@pytest.mark.promises
@pytest.mark.parametrize("taken", [0, 3000])
def test_one_account_without_an_id_less_moves_no_other(tmp_path: Path, taken: int) -> None:
    """By row number 2,090 others of 6,667 changed sides where the first account was gone."""
    derive_amlsim(at_hand("amlsim"), tmp_path / "all.parquet")
    table = pq.read_table(tmp_path / "all.parquet").drop_columns(["unit"])
    data = load_study(ROOT / "studies" / "amlsim.toml").model_dump(mode="json")
    data["records"]["unit"] = None
    study, path = Study.model_validate(data), tmp_path / "r.parquet"
    choice = RecordsChoice([str(path)], institution_column="institution")
    name = table.column("institution")[0].as_py()
    place = np.flatnonzero(table.column("institution").to_numpy() == name)[taken]
    pq.write_table(table, path)
    before = sides(study, choice, name)
    pq.write_table(table.filter(pa.array(np.arange(len(table)) != place)), path)
    after = sides(study, choice, name)
    assert sum((before - after).values()) == 1
    assert not after - before

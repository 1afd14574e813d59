"""Sources load whole or not at all; a unit's encoding depends on its own row alone."""

import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import SHARING, examples

from fieldfare.client.records import (
    ColumnMapping,
    LoadedRecords,
    holdout_mask,
    read_records,
    read_sources,
)
from fieldfare.client.records.encoding.problems import Effect
from fieldfare.client.records.settings import load_sources
from fieldfare.client.records.sources import engine
from fieldfare.shared.errors import RecordsError, StudyError
from fieldfare.shared.features.basis import encode_categorical, encode_numeric
from fieldfare.shared.features.features import CategoricalFeature, NumericFeature
from fieldfare.shared.study.study import Study

FEATURES: list[dict[str, Any]] = [
    {"kind": "numeric", "name": "amount", "lower": 0, "upper": 1e6, "scale": "log1p",
     "special": [0, -1]},
    {"kind": "numeric", "name": "share", "lower": -1, "upper": 1},
    {"kind": "categorical", "name": "channel", "levels": ["branch", "online", "3"]},
]  # fmt: skip


def study(*, unit: str | None = "unit", positive: str = "1", **records: Any) -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": unit, "label": "label", "positive": positive, "units": 100,
                        "prevalence": 0.1, **records},
            "features": FEATURES,
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )  # fmt: skip


def csv_file(path: Path, *rows: str, header: str = "unit,amount,share,channel,label,bank") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def load(tmp_path: Path, *rows: str, **options: Any) -> LoadedRecords:
    return read_records([csv_file(tmp_path / "r.csv", *rows)], study(), **options)


def zero_lines(records: LoadedRecords) -> list[str]:
    return [found.text for found in records.findings if found.effect is Effect.ZERO]


def problems(tmp_path: Path, *rows: str, plan: Study | None = None, **options: Any) -> list[str]:
    """What is told of rows that count as zero; they refuse nothing."""
    path = csv_file(tmp_path / "r.csv", *rows)
    records = read_records([path], plan or study(), **options)
    return [line.replace(f"{path}: ", "") for line in zero_lines(records)]


def test_values_are_encoded_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    rows = [
        "a,10, 0.5 ,online,1,x",
        "b,-1,7,3.0,0,y",
        "c,2e6,?,web,0,x",
        "d,0,,,1,y",
        "e,-5,nan,NA,0,y",
    ]
    records = load(tmp_path, *rows, institution_column="bank", audit_column="channel")
    amount, share, channel = study().features
    assert isinstance(amount, NumericFeature)
    assert isinstance(share, NumericFeature)
    assert isinstance(channel, CategoricalFeature)
    nan = math.nan
    expected = [
        encode_numeric(amount, np.array([10, -1, 2e6, 0, -5])),
        encode_numeric(share, np.array([0.5, 7, nan, nan, nan])),
        encode_categorical(channel, np.array([1, 2, 3, -1, -1])),
    ]
    assert records.data.positions.tolist() == [column.tolist() for column in expected]
    assert records.data.positions.dtype == np.uint16
    assert records.data.positions.flags.c_contiguous
    assert records.data.labels.tolist() == [1, 0, 0, 1, 0]
    assert records.units.tolist() == ["a", "b", "c", "d", "e"]
    assert records.institutions is not None
    assert records.audit is not None
    assert records.institutions.tolist() == ["x", "y", "x", "y", "y"]
    assert records.audit.tolist() == ["online", "3.0", "web", "", "NA"]
    assert records.counts.clamped == {"amount": 2, "share": 1, "channel": 0}
    assert records.counts.missing == {"amount": 0, "share": 3, "channel": 2}
    assert records.counts.other == {"amount": 0, "share": 0, "channel": 1}


def test_select_keeps_everything_together(tmp_path: Path) -> None:
    records = load(tmp_path, "a,1,0,x,1,p", "b,2,0,x,0,q", institution_column="bank")
    chosen = records.select(np.array([False, True]))
    assert len(chosen) == 1
    assert chosen.units.tolist() == ["b"]
    assert chosen.data.labels.tolist() == [0]
    assert chosen.institutions is not None
    assert chosen.institutions.tolist() == ["q"]
    assert chosen.audit is None
    assert chosen.counts is records.counts


def test_every_problem_is_told_at_once_and_no_value(tmp_path: Path) -> None:
    rows = ["a,SECRET,0,x,1,p", "a,inf,0,x,,p", ",1,0,x,0,", "b,1,SECRET,x,0,p", "c,SECRET,0,x,1,p"]
    lines = problems(tmp_path, *rows, institution_column="bank")
    assert [line.split(";")[0] for line in lines] == [
        "column amount: expected a number, found other text in 2 rows (1, 5)",
        "column amount: expected a finite number, found infinity in 1 row (2)",
        "column share: expected a number, found other text in 1 row (4)",
        "column label: expected a label, found none in 1 row (2)",
        "column bank: expected an institution's name, found none in 1 row (3)",
        "column unit: expected a unit id, found none in 1 row (3)",
        "column unit: expected one row per unit, found rows of one unit in 2 rows (1, 2)",
    ]
    assert "SECRET" not in "".join(lines)
    assert all(";" in line for line in lines)  # each says what to do


def test_a_label_that_cannot_be_compared_counts_as_zero(tmp_path: Path) -> None:
    plan = study(positive="> 0")
    lines = problems(tmp_path, "a,1,0,x,yes,p", "b,1,0,x,2,p", "c,1,0,x,inf,p", plan=plan)
    assert len(lines) == 1
    assert lines[0].startswith("column label: expected a finite number")
    assert "2 rows (1, 3)" in lines[0]


def test_missing_columns_are_named_and_columns_that_exist_are_not(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "r.csv", "1,2", header="SECRET,amount")
    with pytest.raises(RecordsError) as caught:
        read_records([path], study())
    lines = str(caught.value).split("\n")
    named = [line.split("column ")[1].split(" ")[0].rstrip(",") for line in lines]
    assert named == ["share", "channel", "label", "unit"]
    assert "SECRET" not in str(caught.value)


def test_problems_of_several_files_come_together(tmp_path: Path) -> None:
    first = csv_file(tmp_path / "one.csv", "a,x,0,x,1,p")
    second = csv_file(tmp_path / "two.csv", "1,2", header="unit,amount")
    third = csv_file(tmp_path / "three.csv", "b,1,0,x,1,p", "a,1,0,x,1,p")
    with pytest.raises(RecordsError) as caught:
        read_records([first, second, third], study())
    lines = str(caught.value).split("\n")
    assert len(lines) == 3  # columns refuse, and nothing that rows hold
    assert all("two.csv: expected column" in line for line in lines)
    records = read_records([first, third], study())
    assert records.units.tolist() == ["b"]
    text = "\n".join(zero_lines(records))
    assert "one.csv: column amount: expected a number, found other text in 1 row (1)" in text
    assert (
        "one.csv: column unit: expected one row per unit, found rows of one unit in 1 row (1)"
        in text
    )
    assert (
        "three.csv: column unit: expected one row per unit, found rows of one unit in 1 row (2)"
        in text
    )


def test_a_unit_may_stand_at_two_institutions_but_not_twice_at_one(tmp_path: Path) -> None:
    rows = ["a,1,0,x,1,p", "a,1,0,x,1,q", "b,1,0,x,1,p"]
    assert len(load(tmp_path, *rows, institution_column="bank")) == 3
    assert "2 rows (1, 2)" in problems(tmp_path, *rows)[0]
    lines = problems(tmp_path, *rows, "b,2,0,x,0,p", institution_column="bank")
    assert "2 rows (3, 4)" in lines[0]


def test_without_a_unit_column_a_row_is_named_by_its_content(tmp_path: Path) -> None:
    rows = ["a,1,0,x,1,p", "b,1,0,x,1,p", "a,1,0,x,1,p", "c,,0.5,online,0,q"]
    plan = study(unit=None)

    def names(*paths: Path, **options: Any) -> list[str]:
        return [str(unit) for unit in read_records(list(paths), plan, **options).units]

    first, other, again, last = names(csv_file(tmp_path / "r.csv", *rows))
    assert len({first, other, again, last}) == 4
    assert (first[:-1], first[-1], again[-1]) == (again[:-1], "1", "2")
    # In two files, in another order, with other forms of numbers and texts: the same names.
    parts = (csv_file(tmp_path / "1.csv", *rows[3:]), csv_file(tmp_path / "2.csv", *rows[:3]))
    assert names(*parts) == [last, first, other, again]
    header = "bank,label,unit,channel,share,amount"
    turned = [",".join(row.split(",")[i] for i in (5, 4, 0, 3, 2, 1)) for row in rows]
    path = csv_file(tmp_path / "t.csv", *turned, header=header)
    assert names(path) == [first, other, again, last]
    path = csv_file(tmp_path / "r.csv", "a,1.0, 0,x ,1e0,p")
    assert names(path) == [first]
    # Every column counts, also one that the study does not read; the institution's does not.
    assert names(csv_file(tmp_path / "r.csv", "a,1,0,x,1,q")) != [first]
    one, two = (
        csv_file(tmp_path / "1.csv", rows[0]),
        csv_file(tmp_path / "2.csv", rows[0][:-1] + "q"),
    )
    found = names(one, two, institution_column="bank")
    assert found[0] == found[1]
    audited = names(csv_file(tmp_path / "r.csv", *rows), audit_column="channel")
    assert audited == [first, other, again, last]


@pytest.mark.parametrize("taken", [0, 1, 700, -1])
def test_one_row_less_moves_no_other_row_without_an_id(tmp_path: Path, taken: int) -> None:
    """The same names in Parquet, of typed columns, and without one row: its name goes, no other."""
    random = np.random.default_rng(0)
    table = pa.table(
        {
            "amount": random.integers(0, 30, 1500),
            "share": random.choice([0.5, -0.25], 1500),
            "channel": random.choice(["branch", "online"], 1500),
            "label": random.integers(0, 2, 1500),
        }
    )
    pq.write_table(table, tmp_path / "r.parquet")
    before = read_records([tmp_path / "r.parquet"], study(unit=None))
    assert len(set(before.units.tolist())) == 1500  # also of rows that are equal
    keep = np.ones(1500, dtype=bool)
    keep[taken] = False
    pq.write_table(table.filter(pa.array(keep)), tmp_path / "r.parquet")
    after = read_records([tmp_path / "r.parquet"], study(unit=None))
    gone = set(before.units.tolist()) - set(after.units.tolist())
    assert {name.rpartition("-")[0] for name in gone} == {before.units[taken].rpartition("-")[0]}
    assert set(after.units.tolist()) < set(before.units.tolist())
    assert len(gone) == 1


@pytest.mark.promises
def test_a_row_of_hundreds_of_columns_has_a_content(tmp_path: Path) -> None:
    """More than the engine's memory holds at once: digests of a few columns each are joined."""
    names = ["amount", "share", "channel", "label", *(f"x{i}" for i in range(396))]
    values = ["1", "0", "x", "1", *(str(i % 7) for i in range(396))]
    rows = [",".join(values), ",".join([*values[:-1], "another"]), ",".join(values)]
    path = csv_file(tmp_path / "r.csv", *rows, header=",".join(names))
    first, other, again = read_records([path], study(unit=None)).units
    assert (first[:-1], first[-1], again[-1]) == (again[:-1], "1", "2")
    assert other[:-1] != first[:-1]


def test_long_ids_are_no_numbers_in_a_rows_content(tmp_path: Path) -> None:
    rows = [f"12345678901234567{last},1,0,x,1,p" for last in (1, 2)]
    records = read_records([csv_file(tmp_path / "r.csv", *rows)], study(unit=None))
    assert [name[-1] for name in records.units] == ["1", "1"]


def test_an_institution_without_units_loads_like_any_other(tmp_path: Path) -> None:
    records = load(tmp_path, institution_column="bank", audit_column="channel")
    assert records.data.positions.shape == (3, 0)
    assert records.data.labels.dtype == np.uint8
    assert len(records) == 0


def test_a_mapping_names_the_file_columns(tmp_path: Path) -> None:
    header = "KONTO,BETRAG,share,channel,KZ,BANK"
    path = csv_file(tmp_path / "r.csv", "a,x,0,online,1,p", header=header)
    names = {"unit": "KONTO", "amount": "BETRAG", "label": "KZ", "bank": "BANK"}
    mapping = ColumnMapping(columns=names)
    records = read_records([path], study(), mapping=mapping, institution_column="bank")
    assert "column BETRAG: expected a number" in zero_lines(records)[0]
    path = csv_file(tmp_path / "r.csv", "a,5,0,online,1,p", header=header)
    records = read_records([path], study(), mapping=mapping, institution_column="bank")
    assert records.units.tolist() == ["a"]
    with pytest.raises(StudyError, match=r"columns\.amuont"):
        read_records([path], study(), mapping=ColumnMapping(columns={"amuont": "BETRAG"}))


def test_a_folder_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    csv_file(folder / "2.csv", "c,1,0,x,1,p", "a,SECRET,0,x,1,p")
    csv_file(folder / "1.csv", "a,1,0,x,1,p", "b,1,0,x,1,p")
    records = read_records([folder], study())
    amount, unit = zero_lines(records)
    assert "column amount: expected a number, found other text in 1 row (2.csv 2)" in amount
    assert "column unit: expected one row per unit" in unit
    assert "2 rows (1.csv 1, 2.csv 2)" in unit
    assert records.units.tolist() == ["b", "c"]
    csv_file(folder / "2.csv", "c,1,0,x,1,p")
    assert read_records([folder], study()).units.tolist() == ["a", "b", "c"]


def test_files_that_cannot_be_opened_come_together_and_no_row_refuses(tmp_path: Path) -> None:
    second = csv_file(tmp_path / "two.csv", "c,1,0,x,1,p", "c,1,0,x,1,p")
    with pytest.raises(RecordsError) as caught:
        read_records([tmp_path / "one.csv", tmp_path / "none.csv", second], study())
    first, none = str(caught.value).split("\n")
    assert "one.csv: expected a file with records" in first
    assert "none.csv: expected a file with records" in none


def test_declared_numerals_give_what_plain_ones_do(tmp_path: Path) -> None:
    header = "unit;amount;share;channel;label"
    german = csv_file(tmp_path / "de.csv", "1,5;1.234,5;0,5;3,0;1,0", "b;-1;;3;0", header=header)
    plain = csv_file(tmp_path / "us.csv", "1,5;1234.5;0.5;3.0;1.0", "b;-1;;3;0", header=header)
    mapping = ColumnMapping(decimal=",", thousands=".", separator=";")
    found = read_records([german], study(), mapping=mapping)
    expected = read_records([plain], study(), mapping=ColumnMapping(separator=";"))
    assert np.array_equal(found.data.positions, expected.data.positions)
    assert found.data.labels.tolist() == expected.data.labels.tolist() == [1, 0]
    assert found.units.tolist() == ["1,5", "b"]  # an id stays as it is


def test_sources_of_several_kinds_are_one_table(tmp_path: Path) -> None:
    csv_file(tmp_path / "r.csv", "a,10,0.5,online,1,x")
    connection = sqlite3.connect(tmp_path / "r.db")
    connection.execute("CREATE TABLE t (KONTO, amount, share, channel, label)")
    connection.execute("INSERT INTO t VALUES ('b', 20.25, NULL, 3, 0)")
    connection.commit()
    connection.close()
    settings = tmp_path / "institution.toml"
    settings.write_text("""
        [[records]]
        path = "r.csv"
        columns = {needed_by_another_study = "X"}
        [[records]]
        kind = "sqlite"
        path = "r.db"
        columns = {unit = "KONTO"}
        [[records]]
        path = "nowhere.csv"
        studies = ["another"]
    """)
    sources = load_sources(settings)
    records = read_sources(sources, study(), folder=tmp_path, environment={})
    assert records.units.tolist() == ["a", "b"]
    assert records.data.labels.tolist() == [1, 0]
    assert records.counts.missing["share"] == 1
    with pytest.raises(RecordsError, match="expected a source of records for t"):
        read_sources(sources[2:], study(), folder=tmp_path, environment={})


def test_no_file_is_an_error() -> None:
    with pytest.raises(RecordsError, match="at least one file"):
        read_records([], study())


@pytest.mark.parametrize("labels", [[True, False], [1, 0], [1.0, 0.0], ["1", "0"], ["true", "f"]])
def test_the_default_positive_fits_every_usual_label(tmp_path: Path, labels: list[Any]) -> None:
    path = tmp_path / "r.parquet"
    table = {"unit": ["a", "b"], "amount": [1, 2], "share": [0.0, None], "channel": ["x", None]}
    pq.write_table(pa.table({**table, "label": labels}), path)
    assert read_records([path], study()).data.labels.tolist() == [1, 0]


values = st.one_of(
    st.none(), st.floats(-10, 2e6), st.sampled_from([0.0, -1.0, 1e6, math.nan, 0.1 + 0.2])
)
channels = st.sampled_from([None, "", "branch", "3", "3.0", "web"])
rows = st.lists(st.tuples(values, values, channels, st.booleans()), min_size=1, max_size=24)


def _encoded(path: Path, table: list[tuple[Any, ...]], group: int) -> dict[str, tuple[int, ...]]:
    unit, amount, share, channel, label = zip(*table, strict=True)
    columns = {
        "unit": pa.array(unit, pa.string()),
        "amount": pa.array(amount, pa.float64(), from_pandas=False),
        "share": pa.array(share, pa.float64(), from_pandas=False),
        "channel": pa.array(channel, pa.string()),
        "label": pa.array(label, pa.bool_()),
    }
    pq.write_table(pa.table(columns), path, row_group_size=group)
    records = read_records([path], study())
    parts = zip(records.units, records.data.positions.T, records.data.labels, strict=True)
    return {unit: (*map(int, column), int(label)) for unit, column, label in parts}


@given(rows, st.data())
@settings(SHARING, max_examples=examples(15, 40))
def test_a_unit_is_encoded_by_its_own_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: list[Any], data: st.DataObject
) -> None:
    """Delete rows, reorder them, cut them otherwise: all other positions are bit-identical."""
    named = [(f"u{index}", *row) for index, row in enumerate(table)]
    whole = _encoded(tmp_path / "all.parquet", named, group=len(named))
    kept = data.draw(st.permutations(named))[: data.draw(st.integers(1, len(named)))]
    with monkeypatch.context() as patch:
        patch.setattr(engine, "BATCH_ROWS", data.draw(st.integers(1, 8)))
        part = _encoded(tmp_path / "part.parquet", kept, group=data.draw(st.integers(1, 9)))
    assert part == {unit: whole[unit] for unit in part}
    assert len(part) == len(kept)


def test_csv_and_parquet_of_the_same_records_encode_alike(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    size = 3000
    table = {
        "unit": [f"u{i}" for i in range(size)],
        "amount": generator.lognormal(3, 3, size).tolist(),
        "share": generator.normal(0, 1, size).tolist(),
        "channel": generator.choice(["branch", "online", "3", "web"], size).tolist(),
        "label": generator.integers(0, 2, size).tolist(),
    }
    pq.write_table(pa.table(table), tmp_path / "r.parquet")
    lines = [",".join(map(str, row)) for row in zip(*table.values(), strict=True)]
    csv_file(tmp_path / "r.csv", *lines, header=",".join(table))
    parquet, text = (read_records([tmp_path / name], study()) for name in ("r.parquet", "r.csv"))
    assert np.array_equal(parquet.data.positions, text.data.positions)
    assert np.array_equal(parquet.data.labels, text.data.labels)
    alone = encode_numeric(study().features[0], np.array(table["amount"][:1]))  # type: ignore[arg-type]
    assert alone[0] == parquet.data.positions[0, 0]


def network_study(rows: int) -> Study:
    model = {"kind": "mlp", "hidden": [8], "rows": rows}
    return Study.model_validate(study().model_dump(mode="json") | {"model": model})


def test_rows_of_a_unit_are_read_together_where_a_network_reads_several(tmp_path: Path) -> None:
    rows = ["a,1,0,branch,0,x", "b,2,0,branch,0,x", "a,3,0,online,1,x", "a,4,0,branch,0,x"]
    path = csv_file(tmp_path / "r.csv", *rows)
    found = read_records([path], network_study(2))
    assert found.units.tolist() == ["a", "b"]
    assert found.data.labels.tolist() == [1, 0]
    assert found.counts.beyond == 1
    assert found.data.tables is not None
    assert found.data.tables.counts.tolist() == [2, 1]
    single = read_records([csv_file(tmp_path / "s.csv", *rows[:2])], network_study(1))
    tables = found.data.tables.positions
    assert tables[:, 0].tolist() == single.data.positions[:, 0].tolist()
    assert tables[:, 2].tolist() == single.data.positions[:, 1].tolist()
    alone = read_records([path], network_study(1))
    assert alone.units.tolist() == ["b"]
    assert "3 rows (1, 3, 4)" in zero_lines(alone)[0]


def test_a_network_knows_units_by_a_hash_of_their_ids_alone(tmp_path: Path) -> None:
    rows = ["a,1,0,branch,0,x", "b,2,0,branch,0,x", "c,3,0,online,1,x"]
    whole = read_records([csv_file(tmp_path / "r.csv", *rows)], network_study(1))
    part = read_records([csv_file(tmp_path / "s.csv", *rows[1:])], network_study(1))
    assert whole.data.order is not None
    assert part.data.order is not None
    assert whole.data.order[1:].tolist() == part.data.order.tolist()
    assert len(set(whole.data.order.tolist())) == 3


def test_a_new_export_moves_no_unit_to_the_other_side(tmp_path: Path) -> None:
    """Integers become numbers with a point where a column has gaps, in files and in frames."""
    ids = list(range(1, 41))
    rows = [f"{one},5,0.1,branch,0,b" for one in ids]
    pointed = [f"{one}.0,5,0.1,branch,0,b" for one in ids]
    found = [load(tmp_path, *some) for some in (rows, pointed)]
    for name, kind in (("int", pa.int64()), ("float", pa.float64())):
        table = {"unit": pa.array(ids, kind), "amount": [5.0] * 40, "share": [0.1] * 40,
                 "channel": ["branch"] * 40, "label": [0] * 40}  # fmt: skip
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        found.append(read_records([tmp_path / f"{name}.parquet"], study()))
    masks = [holdout_mask(one.units, key=b"key", share=0.3).tolist() for one in found]
    assert 0 < sum(masks[0]) < 40
    assert masks == [masks[0]] * 4
    both = load(tmp_path, rows[0], pointed[0])  # one unit, twice
    assert len(both) == 0

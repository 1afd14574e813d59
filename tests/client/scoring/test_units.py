from pathlib import Path

import numpy as np
import pytest
from tests.support.records.scored import customers, scored_study, units_of, write

from fieldfare.client.records import read_records
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.units import ScorableUnits, read_units, values_before
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.study.study import Study

STUDY = scored_study()


def read(path: Path, study: Study = STUDY, audit: tuple[str, ...] = ()) -> ScorableUnits:
    return read_units([table_at(path)], study, audit)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_positions_are_those_that_training_reads(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"c.{suffix}", customers(200))
    found, trained = read(path), read_records([path], STUDY)
    assert found.units.to_pylist() == trained.units.tolist()
    assert (found.positions == trained.data.positions).all()
    assert (found.labels == trained.data.labels).all()


def test_values_stand_as_in_the_records(tmp_path: Path) -> None:
    rows = customers(50)
    rows["R01"][0] = 1e6  # out of bounds: clamped for the model, shown as it is
    found = read(write(tmp_path / "c.parquet", rows))
    assert found.values[0, 0] == np.float32(1e6)
    assert np.isnan(found.values[1, 3])
    assert np.isnan(found.values[5]).all()  # a category is no number


def test_labels_may_be_absent_or_partly_there(tmp_path: Path) -> None:
    rows = customers(50)
    assert not read(write(tmp_path / "a.csv", rows, without=["reported"])).labelled.any()
    rows["reported"][7] = ""
    found = read(write(tmp_path / "b.csv", rows))
    assert np.flatnonzero(~found.labelled).tolist() == [7]


def test_groups_are_read_for_comparison_only(tmp_path: Path) -> None:
    rows = customers(50)
    found = read(write(tmp_path / "c.csv", rows), audit=("group",))
    assert found.groups["group"].to_pylist() == rows["group"]
    assert len(found.positions) == len(STUDY.features)


@pytest.mark.parametrize("name", ["nowhere", ""])
def test_a_group_of_no_column_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordsError, match=f"c.csv: expected column {name}, found none"):
        read(write(tmp_path / "c.csv", customers(50)), audit=(name,))


def test_a_selection_keeps_everything_together(tmp_path: Path) -> None:
    units = units_of(tmp_path, customers(40), STUDY)
    mask = np.arange(40) % 3 == 0
    found = units.select(mask)
    assert found.units.to_pylist() == [
        u for u, m in zip(units.units.to_pylist(), mask, strict=True) if m
    ]
    assert (found.positions == units.positions[:, mask]).all()
    assert found.groups["group"].to_pylist() == units.groups["group"].filter(mask).to_pylist()
    assert units.select(np.ones(40, np.bool_)) is units


def test_what_was_before_is_found_by_id(tmp_path: Path) -> None:
    now = units_of(tmp_path, customers(20), STUDY)
    rows = customers(20, seed=7)
    rows["customer"] = [*rows["customer"][10:], *(f"new{row}" for row in range(10))]
    before = units_of(tmp_path, rows, STUDY)
    found = values_before(now, before)
    assert np.isnan(found[:, :10]).all()
    assert np.array_equal(found[:, 10:], before.values[:, :10], equal_nan=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"customer": ["secret"] * 9}, "8 further rows"),
        ({"customer": ["", *(f"secret{row}" for row in range(8))]}, "1 rows without an id"),
        ({"R01": ["secret"] * 9}, "R01"),
    ],
)
def test_records_that_do_not_fit_are_refused_without_a_value(
    tmp_path: Path, change: dict[str, list[str]], said: str
) -> None:
    path = write(tmp_path / "c.csv", customers(9) | change)
    with pytest.raises(RecordsError, match=said) as caught:
        read(path)
    assert "secret" not in str(caught.value)


def test_absent_columns_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", customers(9), without=["R04", "customer"])
    with pytest.raises(RecordsError, match="R04") as caught:
        read(path)
    assert "customer" in str(caught.value)


def test_an_alert_must_be_about_somebody(tmp_path: Path) -> None:
    study = scored_study(records={"label": "reported", "units": 10, "prevalence": 0.1})
    with pytest.raises(UsageError, match="ids"):
        read(write(tmp_path / "c.csv", customers(9)), study)


def test_texts_and_vectors_are_read_as_training_reads_them(tmp_path: Path) -> None:
    vectors = np.random.default_rng(1).normal(size=(20, 64)).tolist()
    texts = [f"message {row % 3}" if row else "" for row in range(20)]
    ids, labels = [f"c{row}" for row in range(20)], [row % 2 for row in range(20)]
    rows = {"customer": ids, "reported": labels, "note": texts, "made": vectors}
    path = write(tmp_path / "r.parquet", rows)
    for kind in (
        {"kind": "text", "column": "note", "buckets": 256},
        {"kind": "vector", "column": "made", "entries": 64},
    ):
        study = scored_study(features=[], model=kind)
        found, trained = read(path, study), read_records([path], study)
        assert found.rows is not None
        assert trained.data.rows is not None
        norms = found.rows.squared_norms().tolist()
        assert norms == trained.data.rows.squared_norms().tolist()
        assert found.labels.tolist() == labels
        assert found.positions.tolist() == [[int(norm == 0) for norm in norms]]
        mask = np.arange(20) % 3 == 0
        part = found.select(mask).encoded()
        assert part.rows is not None
        assert part.rows.squared_norms().tolist() == np.array(norms)[mask].tolist()
        assert part.positions.shape == (0, 7)
    with pytest.raises(RecordsError, match="column note"):
        read(
            write(tmp_path / "n.parquet", rows, without=["note"]),
            scored_study(features=[], model={"kind": "text", "column": "note"}),
        )


@pytest.mark.parametrize("rows", [1, 2])
def test_units_of_a_network_are_read_as_training_reads_them(tmp_path: Path, rows: int) -> None:
    study = scored_study(model={"kind": "mlp", "hidden": [8], "rows": rows})
    table = customers(40)
    if rows > 1:
        table = {name: [*column, *column[:10], *column[:5]] for name, column in table.items()}
        table["R01"][40:] = [70.0] * 15
        table["reported"][40] = 1
    path = write(tmp_path / "c.parquet", table)
    found, trained = read(path, study), read_records([path], study)
    assert found.units.to_pylist() == trained.units.tolist()
    for one, other in (
        (found.encoded(), trained.data),
        (found.select(np.arange(40) > 3).encoded(), trained.data.select(np.arange(40) > 3)),
    ):
        assert np.array_equal(one.labels, other.labels)
        assert one.order is not None
        assert other.order is not None
        assert np.array_equal(one.order, other.order)
        assert np.array_equal(one.positions, other.positions)
        if one.tables is not None and other.tables is not None:
            assert np.array_equal(one.tables.starts, other.tables.starts)
            assert np.array_equal(one.tables.positions, other.tables.positions)
    if rows > 1:
        assert found.values[0, :10].tolist() == [70.0] * 10
        assert found.labels[0] == 1

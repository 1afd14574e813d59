"""A folder of partitions is one table, in order of names, refused for links and changes."""

import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv
from tests.support.properties import SHARING

from fieldfare.client.records import LoadedRecords, read_records
from fieldfare.client.records.load import RecordsCheck, check_records
from fieldfare.client.records.sources import parquet_files
from fieldfare.client.records.sources.folders import files_below
from fieldfare.client.records.sources.source import Table, table_at
from fieldfare.shared.errors import RecordsError
from fieldfare.shared.study.study import Study

DAYS = ["2026-01-01", "2026-01-02", "a/b", None]


def study(day: bool = False) -> Study:
    features: list[dict[str, Any]] = [
        {"kind": "numeric", "name": "x", "lower": 0, "upper": 100},
    ]
    if day:
        features.append({"kind": "categorical", "name": "day", "levels": ["2026-01-01", "a/b"]})
    return Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": "unit", "label": "label", "units": 100, "prevalence": 0.1},
            "features": features,
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )


def rows(first: int, count: int) -> pa.Table:
    ids = range(first, first + count)
    return pa.table(
        {
            "unit": [f"u{i}" for i in ids],
            "x": [float(i % 90) for i in ids],
            "label": [i % 2 for i in ids],
        },
        schema=pa.schema({"unit": pa.string(), "x": pa.float64(), "label": pa.int64()}),
    )


def written(folder: Path, files: dict[str, pa.Table]) -> Path:
    for name, table in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / name)
    return folder


def partitions(folder: Path) -> Path:
    names = {
        "day=2026-01-01/part-0.parquet": rows(0, 3),
        "day=2026-01-01/part-1.parquet": rows(3, 2),
        "day=2026-01-02/part-0.parquet": rows(5, 4),
        "day=__HIVE_DEFAULT_PARTITION__/part-0.parquet": rows(9, 1),
        "day=a%2Fb/part-0.parquet": rows(10, 2),
    }
    return written(folder, names)


def one_by_one(folder: Path) -> Table:
    """The same folder, each file opened by itself."""
    whole = table_at(folder)
    return Table(whole.name, whole.mapping, whole.parts)


def checked(folder: Path) -> RecordsCheck:
    return check_records([table_at(folder)], study(), today=date(2026, 6, 30))


def same(one: LoadedRecords, other: LoadedRecords) -> bool:
    return (
        one.units.tolist() == other.units.tolist()
        and np.array_equal(one.data.positions, other.data.positions)
        and np.array_equal(one.data.labels, other.data.labels)
    )


def test_a_partition_is_a_column_of_its_rows(
    tmp_path: Path, texts_in: Callable[..., list[dict[str, Any]]]
) -> None:
    """Also where a folder above, which is not ours, has a name like one."""
    folder = partitions(tmp_path / "x=7" / "records")
    found = []
    for part in table_at(folder).runs():
        with part.open() as source:
            found += texts_in(source)
    assert [row["unit"] for row in found] == [f"u{i}" for i in range(12)]
    days = [*["2026-01-01"] * 5, *["2026-01-02"] * 4, None, "a/b", "a/b"]
    assert [row["day"] for row in found] == days
    assert [float(row["x"]) for row in found] == [float(i) for i in range(12)]
    alone = []
    for part in table_at(folder).parts:
        with part.open() as source:
            alone += texts_in(source)
    assert alone == found


@pytest.mark.parametrize("kind", ["csv", "arrow", "parquet"])
def test_partitions_of_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    """A name that would end a text of SQL is one; a line that is no row is told by its file."""
    odd = 0
    for index, day in enumerate(["a'b", 'c"d', "e"]):
        place = tmp_path / f"day={day}" / f"p.{kind}"
        place.parent.mkdir()
        table = rows(index * 4, 4)
        if kind == "csv":
            csv.write_csv(table, place)
            place.write_text(place.read_text() + "one,two\n")
            odd += 1
        elif kind == "arrow":
            with pa.ipc.new_file(place, table.schema) as writer:
                writer.write_table(table)
        else:
            pq.write_table(table, place)
    plan = study(day=True)
    feature = plan.features[1].model_copy(update={"levels": ("a'b", 'c"d')})
    plan = plan.model_copy(update={"features": (plan.features[0], feature)})
    found = read_records([tmp_path], plan)
    days = found.data.positions[1].tolist()
    assert [days[index] for index in (0, 4, 8)] == [0, 1, 2]
    assert days == sorted(days)
    assert len(found) == 12
    assert found.counts.zero == odd


@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    days=st.lists(st.sampled_from(DAYS[:2]), min_size=8, max_size=8),
    most=st.integers(1, 4),
)
@settings(SHARING, max_examples=12)
def test_a_folder_loads_as_one_file_of_its_rows(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], days: list[str], most: int
) -> None:
    """Against a whole read by Arrow, files by files, for any way of putting files together."""
    folder = tmp_path_factory.mktemp("folder")
    first = 0
    for index, (count, day) in enumerate(zip(counts, days, strict=False)):
        written(folder, {f"day={day}/p-{index}.parquet": rows(first, count)})
        first += count
    whole = ds.dataset(folder, partitioning="hive").to_table()
    names = [f.name for f in files_below(folder)]
    assert names == sorted(names)
    one = folder.parent / f"{folder.name}.parquet"
    pq.write_table(whole, one)
    before = parquet_files.MOST_FILES
    try:
        parquet_files.MOST_FILES = most  # type: ignore[misc]
        found = read_records([folder], study(day=True))
    finally:
        parquet_files.MOST_FILES = before  # type: ignore[misc]
    assert same(found, read_records([one], study(day=True)))


def test_files_come_in_the_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = partitions(tmp_path)
    names = [file.name for file in files_below(folder)]
    listing = os.scandir

    class Shuffled:
        """A disk that lists in another order, whichever it was."""

        def __init__(self, path: Path) -> None:
            self._open = listing(path)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return reversed(list(self._open))

        def __exit__(self, *_: object) -> None:
            self._open.close()

    monkeypatch.setattr(os, "scandir", Shuffled)
    assert [file.name for file in files_below(folder)] == names
    assert len(names) == 5


def test_how_far_it_is_is_told_up_to_the_end(tmp_path: Path) -> None:
    """Never back, in bytes of the files, and in 80 columns beside a bar."""
    folder = partitions(tmp_path / ("a" * 60))
    told: list[tuple[str, int, int]] = []
    check_records(
        [table_at(folder)],
        study(),
        today=date(2026, 6, 30),
        said=lambda what, done, total: told.append((what, done, total)),
    )
    size = sum(file.size for file in files_below(folder))
    assert [total for _, _, total in told] == [size] * len(told)
    done = [part for _, part, _ in told]
    assert done == sorted(done)
    assert told[-1][1] == size
    assert told[-1][0].endswith(": 12 rows")
    assert max(len(what) for what, _, _ in told) < 50


def test_rows_are_told_by_their_file(tmp_path: Path) -> None:
    bad = pa.table({"unit": ["b1", "b2"], "x": [1.0, float("inf")], "label": [0, 1]})
    folder = written(tmp_path, {"d=1/a.parquet": rows(0, 3), "d=2/b.parquet": bad})
    (found,) = [one for one in checked(folder).findings if one.count]
    assert "1 row (d=2/b.parquet 2)" in found.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: (f / "l.parquet").symlink_to(f / "day=2026-01-02/part-0.parquet"), "a link"),
        (lambda f: (f / "day=9").symlink_to("/etc"), "found a link, day=9"),
        (lambda f: (f / "day=2026-01-02/more").mkdir(), "found day=2026-01-02/more"),
        (lambda f: (f / "=9").mkdir(), "found =9"),
        (lambda f: written(f, {"a.parquet": rows(0, 1)}), "expected every file in folders of none"),
        (lambda f: written(f, {"hour=3/a.parquet": rows(0, 1)}), "every file in folders day=..."),
        (lambda f: written(f, {"day=9/Day=3/a.parquet": rows(0, 1)}), "Day twice"),
        (lambda f: os.mkfifo(f / "day=2026-01-02/p.parquet"), "files alone"),
    ],
)
def test_what_is_no_partition_is_refused(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    folder = partitions(tmp_path)
    make(folder)
    with pytest.raises(RecordsError, match=message):
        table_at(folder)


def test_a_folder_of_empty_partitions_has_no_file(tmp_path: Path) -> None:
    (tmp_path / "day=2026-01-01").mkdir()
    (tmp_path / "day=2026-01-01" / "_SUCCESS").touch()
    with pytest.raises(RecordsError, match="expected at least one file"):
        table_at(tmp_path)


def test_a_partitions_column_stands_in_its_name_alone(tmp_path: Path) -> None:
    """One that stood in both would be read from one of them, and nobody would know which."""
    own = rows(0, 2).append_column("Day", pa.array(["x", "y"]))
    for files in ({"day=1/a.parquet": own}, {"day=1/a.parquet": own, "day=1/b.parquet": own}):
        folder = written(tmp_path / str(len(files)), files)
        with pytest.raises(RecordsError, match="expected column day in the names of folders alone"):
            read_records([folder], study())


def test_a_column_named_as_the_engines_own_says_no_partition(tmp_path: Path) -> None:
    """All rows were of the first day, and texts there refused the load."""
    tables = {}
    for number, values in enumerate((["0", "0", "0"], ["0", "x", "0"])):
        table = rows(3 * number, 3).append_column("File_Index", pa.array(values))
        tables[f"day=2026-01-0{number + 1}/part-0.parquet"] = table
    found = []
    for part in table_at(written(tmp_path, tables)).runs():
        with part.open() as source:
            for batch in source.batches(["day"], ["day"]):
                found += batch.column(0).to_pylist()
    assert found == ["2026-01-01"] * 3 + ["2026-01-02"] * 3


def test_a_name_with_a_patterns_signs_is_read_once_or_refused(tmp_path: Path) -> None:
    """Four rows were read as nine: each unit in several rows, and so in no sum."""
    names = ["a[b].parquet", "c*.parquet", "d?.parquet", "e.parquet"]
    folder = written(tmp_path, {name: rows(place, 1) for place, name in enumerate(names)})
    assert read_records([folder], study()).units.tolist() == ["u0", "u1", "u2", "u3"]
    written(tmp_path, {"ab.parquet": rows(4, 1)})
    with pytest.raises(
        RecordsError, match=r"a\[b\].parquet: expected a name that matches no other file"
    ):
        read_records([folder], study())


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """An error that is none of ours ended the custodian, and every study with it."""
    (tmp_path / os.fsdecode(b"a\xff.parquet")).touch()
    with pytest.raises(RecordsError, match=r"found 'a\\udcff.parquet'; rename it"):
        table_at(tmp_path)


def test_a_file_without_a_column_is_named(tmp_path: Path) -> None:
    files = {f"day={day}/p.parquet": rows(day * 5, 5) for day in range(4)}
    files["day=2/p.parquet"] = files["day=2/p.parquet"].drop_columns(["x"])
    report = checked(written(tmp_path, files))
    assert not report.loads
    (found,) = report.findings
    assert "expected column x, found none among 3 columns" in found.text
    assert "(in day=2/p.parquet)" in found.text


def test_a_file_with_another_type_is_read_by_value_and_named(tmp_path: Path) -> None:
    """A program chose it by one value: refused, that value would decide what is answered."""
    files = {f"day={day}/p.parquet": rows(day * 5, 5) for day in range(3)}
    plain = read_records([written(tmp_path / "plain", files)], study())
    other = files["day=1/p.parquet"]
    texts = pa.array([str(x) for x in other.column("x").to_pylist()])
    files["day=1/p.parquet"] = other.set_column(1, "x", texts)
    folder = written(tmp_path / "other", files)
    report = checked(folder)
    assert report.loads
    assert report.zero == 0
    (found,) = report.findings
    assert "expected column x of type number, as in day=0/p.parquet, found text" in found.text
    assert "(in day=1/p.parquet)" in found.text
    assert same(read_records([folder], study()), plain)


def test_a_file_of_nested_values_is_refused_and_named(tmp_path: Path) -> None:
    other = rows(5, 2).set_column(1, "x", pa.array([[{"a": 1}], []]))
    report = checked(written(tmp_path, {"d=1/a.parquet": rows(0, 5), "d=2/a.parquet": other}))
    assert not report.loads
    refused = [one.text for one in report.findings if one.effect.value == "refused"]
    assert "found binary or nested values" in refused[0]
    assert "(in d=2/a.parquet)" in refused[0]


def test_the_damaged_file_among_many_is_named(tmp_path: Path) -> None:
    folder = written(tmp_path, {f"p-{i}.parquet": rows(i * 50, 50) for i in range(4)})
    path = folder / "p-2.parquet"
    content = bytearray(path.read_bytes())
    content[4:40] = bytes(36)  # the first page of its first column; the end is whole
    path.write_bytes(content)
    with pytest.raises(RecordsError, match=r"p-2\.parquet: expected"):
        read_records([folder], study())


@pytest.mark.parametrize("name", ["p-1.parquet", "p-3.parquet"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_changes_while_it_is_read_is_refused(tmp_path: Path, name: str, count: int) -> None:
    """A file that is written to, one that came, one that is gone: in a run of files and alone."""
    folder = written(tmp_path, {f"p-{i}.parquet": rows(i * 5, 5) for i in range(count + 1)})
    table = table_at(folder)

    def changing() -> Iterator[Any]:
        for part in table.runs() if count > 1 else iter(table.parts):
            yield part
            written(folder, {name: rows(90, 5)})

    changed = Table(table.name, table.mapping, table.parts, changing, table.check_unchanged)
    with pytest.raises(RecordsError, match=f"{name}: expected files that stay as they are"):
        read_records([changed], study())


def test_a_file_that_changes_within_its_reading_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("unit,x,label\na,1,1\n")
    (part,) = table_at(path).parts

    def read() -> None:
        with part.open() as source:
            list(source.batches(["x"]))
            path.write_text("unit,x,label\na,1,1\nb,2,0\n")

    with pytest.raises(RecordsError, match="stay as they are"):
        read()

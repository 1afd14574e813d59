"""Runs within a stated memory: the same bytes however customers are cut."""

import os
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldfare.client.typologies import partitions
from fieldfare.client.typologies.checking import AS_OF, probe_records
from fieldfare.client.typologies.pack import own_pack
from fieldfare.client.typologies.partitions import Room, cut, room_beside
from fieldfare.client.typologies.running import (
    RunReport,
    RunTask,
    engine_memory,
    outgrown,
    parts_for,
    run_pack,
)
from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RecordsError, UsageError

MEMORY = 600 << 20
PACK = own_pack().chosen(["R01", "R14", "R26", "R37"])


@pytest.fixture(scope="module")
def canonical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("canonical")
    for name, table in probe_records(7).items():
        pq.write_table(table, folder / f"{name}.parquet")
    return folder


def ran(
    folder: Path, out: Path, parts: int | None, threads: int = 2, **other: Any
) -> tuple[bytes, RunReport]:
    with room_beside(out, MEMORY, threads) as room:
        report = run_pack(RunTask(folder, PACK, AS_OF, parts=parts, **other), room, out)
    return out.read_bytes(), report


@pytest.fixture(scope="module")
def whole(canonical: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, RunReport]:
    return ran(canonical, tmp_path_factory.mktemp("whole") / "f.parquet", None)


@given(parts=st.integers(2, 7), threads=st.integers(1, 3))
@settings(max_examples=2, deadline=None)
def test_parts_and_threads_change_no_byte(
    canonical: Path, whole: tuple[bytes, RunReport], parts: int, threads: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    out = tmp_path_factory.mktemp("cut") / "f.parquet"
    content, report = ran(canonical, out, parts, threads)
    assert content == whole[0]
    assert report.parts == parts
    assert (report.units, report.fired, report.several) == (
        whole[1].units, whole[1].fired, whole[1].several
    )  # fmt: skip
    assert report.present == whole[1].present
    assert [one.name for one in out.parent.iterdir()] == ["f.parquet"]


@pytest.mark.parametrize(
    ("rows", "fit", "parts"), [(0, 9, 1), (9, 9, 1), (10, 9, 2), (100, 9, 13), (1_000, 100, 11)]
)
def test_parts_leave_room_for_those_that_are_larger(rows: int, fit: int, parts: int) -> None:
    assert parts_for(rows, fit) == parts


@pytest.mark.promises
def test_a_part_with_more_than_fits_is_cut_again(
    canonical: Path, whole: tuple[bytes, RunReport], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(partitions, "LEAST_ROWS", 2_000)
    monkeypatch.setattr(partitions, "ROWS_FOR_A_GIGABYTE", 0)
    with room_beside(tmp_path / "f.parquet", MEMORY) as room:
        units = [one.units for one in cut(canonical, room, 2, AS_OF).extracts(room, AS_OF)]
    assert len(units) > 2
    assert sum(units) == whole[1].units
    assert ran(canonical, tmp_path / "f.parquet", 2)[0] == whole[0]


def test_parts_are_for_this_user_alone_and_one_run_writes_a_file(
    canonical: Path, tmp_path: Path
) -> None:
    out = tmp_path / "f.parquet"
    left = tmp_path / ".f.parquet.parts"
    (left / "transactions").mkdir(parents=True)
    (left / "transactions" / "of-a-killed-run").write_text("x")
    with room_beside(out, MEMORY) as room:
        assert not list(room.folder.iterdir())
        assert room.folder == left
        cut(canonical, room, 3, AS_OF)
        assert room.folder.stat().st_mode & 0o777 == 0o700
        with pytest.raises(RecordsError, match="no other command"), room_beside(out, MEMORY):
            pass
        assert (room.folder / "transactions").is_dir()
    assert not left.exists()


def test_strays_and_wrong_rows_are_refused_in_parts_too(canonical: Path, tmp_path: Path) -> None:
    records = probe_records(7)
    folder = tmp_path / "canonical"
    folder.mkdir()
    rows = records["transactions"]
    wrong = rows.set_column(0, "txn_id", [["", *rows.column(0).to_pylist()[1:]]])
    for name, table in {**records, "transactions": wrong}.items():
        pq.write_table(table, folder / f"{name}.parquet")
    with pytest.raises(RecordsError, match="row 1: expected a canonical txn_id"):
        ran(folder, tmp_path / "f.parquet", 3)
    pq.write_table(rows, folder / "transactions.parquet")
    pq.write_table(records["accounts"].slice(1), folder / "accounts.parquet")
    lost = rows.column("account_id").to_pylist().count("a00")
    with pytest.raises(RecordsError, match=f"accounts that are in accounts, found {lost} other"):
        ran(folder, tmp_path / "f.parquet", 3)
    assert [one.name for one in tmp_path.iterdir()] == ["canonical"]


def test_who_hits_what_is_for_this_user_alone(canonical: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.parquet" for name in ("f", "hits", "linked")]
    call = ["typologies", "run", str(canonical), "--as-of", AS_OF.isoformat(), "--only", "R01,R21"]
    before = os.umask(0)
    try:
        assert run([*call, "--out", str(files[0]), "--hits", str(files[1]),
                    "--linked", str(files[2])]) == 0  # fmt: skip
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 3
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_a_file_on_another_disk_appears_at_once_too(
    canonical: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[tuple[int, int]] = []
    replace = os.replace

    def replaced(draft: Path, path: Path) -> None:
        moved.append((draft.stat().st_dev, path.parent.stat().st_dev))
        replace(draft, path)

    monkeypatch.setattr(os, "replace", replaced)
    disks = (Path(one) for one in ("/dev/shm", "/var/tmp"))  # noqa: S108 -- one is another disk
    there = next(one for one in disks if one.stat().st_dev != tmp_path.stat().st_dev)
    with tempfile.TemporaryDirectory(dir=there) as other:
        hits = Path(other) / "hits.parquet"
        with room_beside(tmp_path / "f.parquet", MEMORY) as room:
            run_pack(RunTask(canonical, PACK, AS_OF), room, tmp_path / "f.parquet", hits)
        assert hits.stat().st_mode & 0o777 == 0o600
        assert list(hits.parent.iterdir()) == [hits]
    assert [draft == place for draft, place in moved] == [True, True]


@pytest.mark.parametrize(
    ("problem", "told"),
    [(duckdb.OutOfMemoryException, "fit into 600 MB"), (duckdb.IOException, "room for parts")],
)
def test_what_an_engine_has_no_room_for_is_told(
    problem: type[Exception], told: str, tmp_path: Path
) -> None:
    task, room = RunTask(tmp_path, PACK, AS_OF), Room(MEMORY, tmp_path / "parts")
    with pytest.raises(RecordsError, match=told) as found, outgrown(task, room):
        raise problem("a value of the records")
    assert "a value" not in str(found.value)


def test_memory_is_what_the_whole_process_holds() -> None:
    assert engine_memory(4096) < 3 << 30
    assert engine_memory(None) > 0
    with pytest.raises(UsageError, match="at least 1536 MB, found 512"):
        engine_memory(512)
    with pytest.raises(UsageError, match="found 0"):
        engine_memory(0)  # not: nothing was said
    assert Room(2 << 30, Path()).rows == 2 * partitions.ROWS_FOR_A_GIGABYTE

"""An interrupted load goes on with what it had read; nothing of it lies there once one ended."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fieldfare.client.records import LoadedRecords
from fieldfare.client.records.kept_parts import LONGEST, KeptParts, _kept_in, parts_kept
from fieldfare.client.records.load import Load
from fieldfare.client.records.sources import parquet_files
from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.source import table_at
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.study.study import Study

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
STUDY = "ab" * 32
FILES = 6
KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from tests.client.records.test_kept_parts import one_by_one, plan
from fieldfare.client.records.kept_parts import parts_kept
from fieldfare.client.records.load import Load
from fieldfare.client.records.sources.source import table_at

def said(what, done, total):
    if done * 2 > total:
        os.kill(os.getpid(), signal.SIGKILL)

with parts_kept(Path(sys.argv[2]), sys.argv[3], datetime.now(UTC), resume=True) as kept:
    Load(plan(), said=said, kept=kept).read(one_by_one(Path(sys.argv[1])))
"""


def plan() -> Study:
    return Study.model_validate(
        {
            "name": "t",
            "purpose": "p",
            "records": {"unit": "unit", "label": "label", "units": 100, "prevalence": 0.1},
            "features": [{"kind": "numeric", "name": "x", "lower": 0, "upper": 100}],
            "privacy": {"epsilon": 1, "delta": 1e-5},
        }
    )


def one_by_one(folder: Path) -> Any:
    """A folder of which each file is a part."""
    parquet_files.MOST_FILES = 1  # type: ignore[misc]
    return table_at(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "records"
    place.mkdir()
    for file in range(FILES):
        ids = range(file * 10, file * 10 + 10)
        rows = {"unit": [f"u{i}" for i in ids], "x": [float(i) for i in ids], "label": [0, 1] * 5}
        pq.write_table(pa.table(rows), place / f"p-{file}.parquet")
    before = parquet_files.MOST_FILES
    yield place
    parquet_files.MOST_FILES = before  # type: ignore[misc]


def load(folder: Path, spill: Path, stop: float = 2, **options: Any) -> tuple[LoadedRecords, int]:
    """Load a folder, interrupted after a share of it."""

    def said(what: str, done: int, total: int) -> None:
        del what
        if done > stop * total:
            raise KeyboardInterrupt

    with parts_kept(spill, STUDY, NOW, **{"resume": True, **options}) as kept:
        reading = Load(plan(), said=said, kept=kept)
        reading.read(one_by_one(folder))
        return reading.finish(), kept.used


def same(one: LoadedRecords, other: LoadedRecords) -> bool:
    return (
        one.units.tolist() == other.units.tolist()
        and np.array_equal(one.data.positions, other.data.positions)
        and np.array_equal(one.data.labels, other.data.labels)
    )


def test_an_interrupted_load_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = tmp_path / "spill"
    whole, used = load(folder, tmp_path / "other")
    assert used == 0
    with pytest.raises(KeyboardInterrupt):
        load(folder, spill, stop=0.6)
    (left,) = spill.iterdir()
    assert left.name == f"kept-{STUDY}"
    assert left.stat().st_mode & 0o777 == 0o700
    kept = list(left.iterdir())
    assert 0 < len(kept) < FILES
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    plain, read = Source.batches, list[str]()

    def counted(self: Source, *arguments: Any, **options: Any) -> Any:
        read.append(self.name)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Source, "batches", counted)
    again, used = load(folder, spill)
    assert used == len(kept)
    assert len(read) == FILES - used
    assert same(again, whole)
    assert list(spill.iterdir()) == []


def test_a_killed_load_goes_on(folder: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    command = [sys.executable, "-c", KILLED, str(folder), str(spill), STUDY]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = spill.iterdir()
    assert any(path.suffix == ".arrow" for path in left.iterdir())
    again, used = load(folder, spill)
    assert 0 < used < FILES
    assert same(again, load(folder, tmp_path / "other")[0])
    assert list(spill.iterdir()) == []


def test_what_changed_meanwhile_is_read_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load(folder, tmp_path / "spill", stop=0.8)
    path = folder / "p-0.parquet"
    rows = pq.read_table(path)
    found = path.stat()
    pq.write_table(rows.set_column(1, "x", pa.array([99.0] * 10)), path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # as who copies with times does
    again, used = load(folder, tmp_path / "spill")
    assert used > 0
    assert same(again, load(folder, tmp_path / "other")[0])
    assert len(set(again.data.positions[0, :10].tolist())) == 1


def test_another_question_is_no_part_of_this_one(folder: Path, tmp_path: Path) -> None:
    """Kept parts are of what was asked, in the clear: another study's load uses none of them."""
    kept = KeptParts(tmp_path)
    (part,) = [one for one in table_at(folder).parts if one.name == "p-1.parquet"]

    def columns(asked: list[str]) -> int:
        with part.open() as source:
            read = kept.batches(part.identity, asked, lambda: source.batches(asked), lambda: True)
            return max(int(batch.num_columns) for batch in read)

    assert columns(["x"]) == 1
    assert columns(["x", "x + 1"]) == 2
    assert kept.used == 0
    assert columns(["x"]) == 1
    assert kept.used == 1


def test_what_is_not_resumed_goes(folder: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    for options in ({"resume": False}, {}):
        with pytest.raises(KeyboardInterrupt):
            load(folder, spill, stop=0.6)
        (left,) = spill.iterdir()
        left.rename(spill / "kept-other")
        old = (NOW - LONGEST - timedelta(minutes=1)).timestamp()
        os.utime(spill / "kept-other", (old, old) if not options else (NOW.timestamp(),) * 2)
        load(folder, spill, **options)
        assert list(spill.iterdir()) == []


def test_a_load_that_is_refused_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    rows = pq.read_table(folder / "p-4.parquet").drop_columns(["x"])
    pq.write_table(rows, folder / "p-4.parquet")
    with pytest.raises(RecordsError, match="expected column x"):
        load(folder, tmp_path / "spill")
    assert list((tmp_path / "spill").iterdir()) == []


def test_two_loads_of_one_study_do_not_meet(folder: Path, tmp_path: Path) -> None:
    """The second keeps nothing, and is served all the same."""
    with parts_kept(tmp_path / "spill", STUDY, NOW, resume=True):
        again, used = load(folder, tmp_path / "spill")
    assert (len(again), used) == (FILES * 10, 0)


def test_a_part_with_lines_that_are_no_rows_is_read_again(tmp_path: Path) -> None:
    """Else what is told of them, and how many count as zero, would be lost."""
    records = tmp_path / "records"
    records.mkdir()
    for name in "abc":
        lines = [f"{name}{i},{i},{i % 2}" for i in range(9)] + ["odd"] * (name == "a")
        (records / f"{name}.csv").write_text("\n".join(["unit,x,label", *lines]) + "\n")
    with pytest.raises(KeyboardInterrupt):
        load(records, tmp_path / "spill", stop=0.5)
    again, used = load(records, tmp_path / "spill")
    assert used == 1
    assert again.counts.zero == 1
    assert same(again, load(records, tmp_path / "other")[0])


def test_a_load_under_way_loses_no_part_to_another_process(folder: Path, tmp_path: Path) -> None:
    """A command with `resume = false` took them away under a custodian that began with true."""
    spill = tmp_path / "spill"
    with parts_kept(spill, STUDY, NOW, resume=True) as kept:
        reading = Load(plan(), kept=kept)
        with parts_kept(spill, "cd" * 32, NOW, resume=False):
            reading.read(one_by_one(folder))
        assert len(reading.finish()) == FILES * 10


@pytest.mark.parametrize("room", [300, 900])
def test_a_full_disk_refuses_this_load_alone(folder: Path, tmp_path: Path, room: int) -> None:
    """Wherever the disk ends: in a batch, in the file's end, or when its last bytes go there."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(UsageError, match="expected room for records on its disk"):
            load(folder, tmp_path / "spill")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list((tmp_path / "spill").iterdir()) == []


def test_whatever_bytes_of_a_part_changed_ends_no_load(tmp_path: Path) -> None:
    """Most of it is an error of the system's to the engine, which a load does not expect."""
    path, rows = tmp_path / "part.arrow", pa.record_batch([pa.array(["x"] * 100)], ["a"])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_batch(rows)
    whole, random = path.read_bytes(), np.random.default_rng(7)
    for at in random.integers(0, len(whole), 300):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        assert _kept_in(path) is not None or not path.exists()
    path.unlink(missing_ok=True)
    assert _kept_in(path) is None


@pytest.mark.parametrize(("kept", "more"), [(0, b""), (400, b""), (300, bytes(2000))])
def test_a_damaged_part_is_read_again(folder: Path, tmp_path: Path, kept: int, more: bytes) -> None:
    """The engine's own error went past the load, out of the custodian."""
    with pytest.raises(KeyboardInterrupt):
        load(folder, tmp_path / "spill", stop=0.6)
    (left,) = (tmp_path / "spill").iterdir()
    for path in left.iterdir():
        path.write_bytes(path.read_bytes()[:kept] + more)
    again, used = load(folder, tmp_path / "spill")
    assert used == 0
    assert same(again, load(folder, tmp_path / "other")[0])

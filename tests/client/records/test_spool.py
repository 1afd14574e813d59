"""What a load keeps on a disk is what it kept in memory, and nobody else's."""

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.simulations.engines.conftest import study_of

from fieldfare.client.records.load import Load
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.records.spool import Spool
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import unnamed_file


def test_few_stay_in_memory_and_the_rest_is_mapped(tmp_path: Path) -> None:
    spool, first = Spool(tmp_path / "spill", 100), np.arange(40, dtype=np.uint16).reshape(2, 20)
    assert spool.kept(first) is first
    assert not (tmp_path / "spill").exists()
    kept = [spool.kept(first * np.uint16(times))[:, ::-1] for times in (2, 3, 0)]
    assert [one[:, ::-1].tolist() for one in kept] == [(first * t).tolist() for t in (2, 3, 0)]
    assert spool.kept(first[:, :0]).shape == (2, 0)
    room = spool.room((2, 3))
    room[:] = 7
    assert room.sum() == 42
    assert list((tmp_path / "spill").iterdir()) == []  # they have no names


def test_a_load_of_nobody_has_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spill", 0)
    spool.kept(np.ones((2, 3), np.uint16))
    assert spool.room((2, 0)).shape == (2, 0)


def test_a_load_over_a_disk_is_the_load_in_memory(tmp_path: Path) -> None:
    study, random = study_of("plain"), np.random.default_rng(3)
    ids = [f"u{row % 4900}" for row in range(5000)]  # some stand twice, and count as zero
    table = {
        "id": ids,
        "amount": random.uniform(-5, 120, 5000),
        "channel": random.choice(["branch", "online", "post"], 5000),
        "reported": random.integers(0, 2, 5000),
    }
    pq.write_table(pa.table(table), tmp_path / "records.parquet", row_group_size=700)
    found = []
    for spool in (None, Spool(tmp_path / "spill", 1000)):
        load = Load(study, spool=spool)
        load.read(table_at(tmp_path / "records.parquet"))
        found.append(load.finish())
    memory, disk = found
    assert isinstance(disk.data.positions.base, np.memmap)
    assert 0 < len(disk) < 4900
    assert disk.data.positions.tolist() == memory.data.positions.tolist()
    assert disk.data.labels.tolist() == memory.data.labels.tolist()
    assert disk.units.tolist() == memory.units.tolist()


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 4096 bytes; its writer is told so, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_told_before_anything_is_mapped(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spill", 0)
    spool.kept(np.ones((2, 10), np.uint16))
    with pytest.raises(UsageError, match="spill: expected room for records on its disk, found"):
        spool.room((2, 4000))
    with pytest.raises(UsageError, match="spill: expected room for records on its disk, found"):
        spool.kept(np.ones((2, 4000), np.uint16))


def test_a_folder_that_others_reach_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "spill"
    folder.mkdir(mode=0o700)
    with unnamed_file(folder):
        pass
    folder.chmod(0o750)
    with pytest.raises(UsageError, match="a folder of this user alone"):
        unnamed_file(folder)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="a folder of this user alone"):
        unnamed_file(tmp_path / "link")

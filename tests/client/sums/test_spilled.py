"""A part comes back from its file as it went in, and the file is nobody else's."""

import os
import resource
import stat
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.sums.conftest import Whole
from tests.simulations.engines.conftest import STUDIES

from fieldfare.client.sums.spilled import mapped, spill
from fieldfare.shared.errors import UsageError
from fieldfare.shared.features.basis import EncodedUnits, UnitTables

SPILLED = ("plain", "groups", "questions", "texts", "vectors", "network")


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every array and fact below a dataclass, by its place."""
    if is_dataclass(value):
        for one in fields(value):
            yield from flat(getattr(value, one.name), f"{path}.{one.name}")
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from flat(one, f"{path}.{name}")
    elif isinstance(value, np.ndarray):
        yield path, (value.dtype, value.shape, value.tobytes())
    else:
        yield path, value


@pytest.mark.parametrize("name", SPILLED)
@pytest.mark.parametrize("parts", [1, 4])
def test_every_array_comes_back(name: str, parts: int, whole: Whole, tmp_path: Path) -> None:
    assert set(SPILLED) <= set(STUDIES)
    study, units = whole(name)
    for part in units.cut(study, parts):
        with spill(part, tmp_path / "spill") as file:
            assert dict(flat(mapped(file.fileno()))) == dict(flat(part))


def test_rows_of_units_with_several_come_back(whole: Whole, tmp_path: Path) -> None:
    study, units = whole("plain")
    (part,) = units.cut(study, 1)
    tables = UnitTables(np.array([0, 2, 3]), np.arange(6, dtype=np.uint16).reshape(2, 3))
    rows = EncodedUnits(np.empty((0, 2), np.uint16), np.ones(2, np.uint8), tables=tables)
    object.__setattr__(part, "training", rows)
    with spill(part, tmp_path / "spill") as file:
        assert dict(flat(mapped(file.fileno()))) == dict(flat(part))


def test_a_disk_that_is_full_at_a_parts_end_refuses_the_load(whole: Whole, tmp_path: Path) -> None:
    """It ended the custodian: arrays had room of their own, the file's last bytes had none."""
    study, units = whole("plain")
    (part,) = units.cut(study, 1)
    with spill(part, tmp_path / "spill") as file:
        size = os.fstat(file.fileno()).st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, before[1]))
    try:
        with pytest.raises(UsageError, match="expected room for records"):
            spill(part, tmp_path / "spill")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_file_has_no_name_and_no_other_reader(whole: Whole, tmp_path: Path) -> None:
    study, units = whole("plain")
    folder = tmp_path / "spill"
    os.umask(0)
    with spill(units.cut(study, 1)[0], folder) as file:
        found = os.fstat(file.fileno())
        assert (found.st_nlink, stat.S_IMODE(found.st_mode)) == (0, 0o600)
        assert list(folder.iterdir()) == []
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with pytest.raises(ValueError, match="read-only"):
            mapped(file.fileno()).training.positions[:] = 0

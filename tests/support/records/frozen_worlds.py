"""Frozen worlds: what their tables hold, as hashes that do not depend on how files are written.

    python -m tests.support.records.frozen_worlds [SEED...]

makes the worlds of version 1 that benchmarks measure in and prints lines for frozen_worlds.toml.
"""

import hashlib
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import MONTHS, PEOPLE, PREVALENCE, banks_study
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.writing import write_world

VERSION: Final = 1
FROZEN_DELTA: Final = 1e-5  # of the study when the documents' tables were measured in these worlds
FILE: Final = Path(__file__).with_name("frozen_worlds.toml")


def world_digest(world: Path) -> str:
    """Return a SHA-256 of every value of a written world's tables, their names and types."""
    found = hashlib.sha256()
    for path in sorted(world.rglob("*.parquet")):
        table = pq.read_table(path)
        found.update(f"{path.relative_to(world).as_posix()} {table.num_rows}".encode())
        for name in table.column_names:
            found.update(f" {name} {table.schema.field(name).type}".encode())
            _add(found, table[name])
    return found.hexdigest()


def _add(found: Any, column: Any) -> None:
    """Hash which values are null, then each value's bytes; of text also its length."""
    found.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if pa.types.is_string(column.type):
        lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy()
        found.update(lengths.astype("<i8").tobytes())
        for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
            data, ends = chunk.buffers()[2], _ends(chunk)
            found.update(memoryview(data)[int(ends[0]) : int(ends[-1])] if data else b"")
        return
    if pa.types.is_list(column.type):
        found.update(pc.fill_null(pc.list_value_length(column), 0).to_numpy().tobytes())
        _add(found, pc.list_flatten(column))
        return
    if pa.types.is_temporal(column.type):
        width = "int32" if pa.types.is_date32(column.type) else "int64"
        column = column.cast(pa.timestamp("us") if width == "int64" else column.type).cast(width)
    if pa.types.is_boolean(column.type):
        column = column.cast("int8")
    values = pc.fill_null(column, 0).to_numpy()
    found.update(values.astype("<f8" if values.dtype.kind == "f" else "<i8").tobytes())


def _ends(chunk: Any) -> Any:
    return np.frombuffer(chunk.buffers()[1], np.int32)[chunk.offset :][: len(chunk) + 1]


def frozen_plan(people: int, seed: int) -> WorldPlan:
    """Return the plan of a world of version 1, at the demo's months and prevalence."""
    return WorldPlan.of(
        people=people, months=MONTHS, seed=seed, prevalence=PREVALENCE, version=VERSION
    )


def frozen_study() -> Study:
    """Return the five banks' study at the delta of the documents' tables."""
    study = banks_study()
    privacy = study.privacy.model_dump() | {"delta": FROZEN_DELTA}
    return Study.model_validate(study.model_dump() | {"privacy": privacy})


def check_frozen(world: Path, plan: WorldPlan) -> None:
    """Check a written world where its hash is known.

    Raises:
        ValueError: the tables hold other values than those that were frozen.
    """
    expected = tomllib.loads(FILE.read_text("utf-8")).get(_name(plan))
    if expected and (found := world_digest(world)) != expected:
        raise ValueError(f"world of {_name(plan)}: expected {expected:.16}, found {found:.16}")


def _name(plan: WorldPlan) -> str:
    return f"{plan.people} people, seed {plan.seed}"


if __name__ == "__main__":
    for number in map(int, sys.argv[1:] or range(100, 110)):
        asked = frozen_plan(PEOPLE, number)
        with TemporaryDirectory() as folder:
            write_world(asked, Path(folder) / "world")
            sys.stdout.write(f'"{_name(asked)}" = "{world_digest(Path(folder) / "world")}"\n')

"""What is kept of a sweep: each point's rows in a file, whole or not at all, and the table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from fieldfare.simulations.metrics import METRICS
from fieldfare.simulations.sweeps.measuring import PointRows
from fieldfare.simulations.sweeps.points import SweepGrid, SweepPoint

POINTS: Final = "points"
TABLE: Final = "sweep.parquet"

SCHEMA: Final = pa.schema(
    [
        *(("point", pa.int32()), ("seed", pa.int64())),
        *(("epsilon", pa.float64()), ("institutions", pa.int32()), ("units", pa.int64())),
        *(("partition", pa.string()), ("collusion_tolerance", pa.int32())),
        *(("dropouts", pa.float64()), ("stragglers", pa.float64()), ("steps", pa.int32())),
        *(("slots", pa.int32()), ("geometry", pa.string()), ("start", pa.string())),
        *(("model", pa.string()), ("study", pa.string())),
        *(("finished", pa.bool_()), ("failure", pa.string()), ("participants", pa.int32())),
        *(("epsilon_spent", pa.float64()), ("sigma", pa.float64())),
        *(("failed_attempts", pa.int32()), ("rounds", pa.int32())),
        *(("bytes_down", pa.int64()), ("bytes_up", pa.int64())),
        *(("learner", pa.string()), ("institution", pa.string()), ("held", pa.string())),
        *(("training_units", pa.int64()), ("held_units", pa.int64())),
        *(("held_positives", pa.int64()), *((name, pa.float64()) for name in METRICS)),
    ]
)
"""Of the table; docs/sweeps.md says what each column is."""


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep.

    Attributes:
        folder: of this one; a sweep of other records or another study keeps its own files in it.
        grid: of the sweep.
    """

    folder: Path
    grid: SweepGrid

    @property
    def table(self) -> Path:
        """The file of the table."""
        return self.folder / TABLE

    def _path(self, key: str) -> Path:
        return self.folder / POINTS / f"{key[:32]}.json"

    def found(self, point: SweepPoint) -> PointRows | None:
        """Return the rows of a point that are kept, or None; half a file is none."""
        key = self.grid.key(point)
        try:
            kept = PointRows.model_validate_json(self._path(key).read_bytes())
        except (OSError, ValidationError):
            return None
        return kept if kept.key == key else None

    def put(self, rows: PointRows) -> None:
        """Keep the rows of a point, whole or not at all."""
        path = self._path(rows.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        replaced(path, rows.model_dump_json().encode())

    def write_table(self) -> pa.Table:
        """Write the table of all points, in the order of the grid; returns it.

        The same rows give the same bytes, whoever computed them and however often it was begun.
        """
        rows = [
            row
            for number, point in enumerate(self.grid.points)
            for row in self._rows(number, point)
        ]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        replaced(self.table, sink.getvalue().to_pybytes())
        return table

    def _rows(self, number: int, point: SweepPoint) -> Iterator[Mapping[str, Any]]:
        kept, study = self.found(point), self.grid.study(point)
        if kept is None:
            return
        facts = kept.model_dump(exclude={"key", "rows", "institutions", "units"})
        axes = {
            **point.axes,
            "epsilon": study.privacy.epsilon,
            "institutions": kept.institutions,
            "units": kept.units,
            "partition": point.partition or _undealt(point),
            "collusion_tolerance": study.privacy.collusion_tolerance,
            "dropouts": point.dropouts or 0.0,
            "stragglers": point.stragglers or 0.0,
            "steps": study.training.steps,
            "geometry": study.geometry.kind if study.geometry else "none",
            "start": study.training.start or "none",
            "model": study.model.kind,
        }
        same = {
            "point": number,
            "seed": point.seed,
            "study": study.id,
            "finished": not kept.failure,
            **axes,
            **facts,
        }
        for row in kept.rows:
            yield {**same, **row.model_dump(mode="json", exclude={"metrics"}), **row.metrics}
        if not kept.rows:
            yield same


def _undealt(point: SweepPoint) -> str:
    return "iid" if point.institutions is not None else "files"


def replaced(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)

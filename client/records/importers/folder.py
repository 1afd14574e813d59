"""A folder of canonical records that an importer writes: whole, or not at all."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from fieldfare.client.records.canonical import TABLES
from fieldfare.client.records.canonical_cases import CaseSummary
from fieldfare.client.records.canonical_tables import arrow_schema
from fieldfare.shared.errors import UsageError
from fieldfare.shared.private_files import PRIVATE_FOLDER

CASES: Final = "cases"
LABELS: Final = "labels"
MODELS: Final[Mapping[str, type[BaseModel]]] = MappingProxyType({**TABLES, CASES: CaseSummary})
LABEL_SCHEMA: Final = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("label", pa.int8(), nullable=False),
    ]
)
"""`labels.parquet`: what a published data set says of a customer; records like all others."""

Columns = Mapping[str, Sequence[str]]


class CanonicalFolder:
    """Tables that are being written, each with the columns that its source can fill.

    Which columns are there follows from the form of the source, never from its rows: else
    one customer's records would decide what is missing for another (docs/design.md, "The unit").
    """

    def __init__(self, path: Path, columns: Columns) -> None:
        """Write below `path`; `columns` of each table, required ones among them."""
        self.path = path
        self._schemas = {name: _schema(name, listed) for name, listed in columns.items()}
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._rows = dict.fromkeys(self._schemas, 0)
        self._filled: dict[str, set[str]] = {name: set() for name in self._schemas}

    def add(self, name: str, rows: Any) -> None:
        """Append an Arrow table with at least the table's columns."""
        schema = self._schemas[name]
        part = rows.select(schema.names).cast(schema)
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._file(name), schema, compression="zstd")
        self._writers[name].write_table(part)
        self._rows[name] += part.num_rows
        self._filled[name] |= {
            column for column in schema.names if part.column(column).null_count < part.num_rows
        }

    def add_records(self, name: str, records: Sequence[BaseModel]) -> None:
        """Append validated records; what was not said of one is null, whatever its default."""
        schema = self._schemas[name]
        rows = [
            record.model_dump(include=set(schema.names), exclude_unset=True) for record in records
        ]
        self.add(name, pa.Table.from_pylist(rows, schema=schema))

    def finish(self) -> None:
        """Close every file; a table without a row is an empty file."""
        for name, schema in self._schemas.items():
            if name not in self._writers:
                self.add(name, schema.empty_table())
            self._writers[name].close()

    def discard(self) -> None:
        """Take back what was written: half of an import would look like a whole one."""
        for name in self._schemas:
            with suppress(OSError):  # the disk that was full for the rows is so for the end
                if name in self._writers:
                    self._writers[name].close()
            self._file(name).unlink(missing_ok=True)

    def lines(self) -> list[str]:
        """Say what was written, and what the source does not have."""
        said = []
        for name, schema in self._schemas.items():
            said.append(f"{name}: {self._rows[name]:,} rows, {', '.join(schema.names)}")
            absent = [column for column in _known(name) if column not in schema.names]
            if absent:
                said.append(f"    not in this source, so missing, not zero: {', '.join(absent)}")
            if self._rows[name]:
                said += self._empty(name, schema)
        return said

    def _empty(self, name: str, schema: Any) -> list[str]:
        empty = [column for column in schema.names if column not in self._filled[name]]
        listed = ",".join(f"{name}.{column}" for column in empty)
        return [f"    without one value here; where you lack them, import with --lacking {listed}"
                ] if empty else []  # fmt: skip

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.parquet"


def _known(name: str) -> list[str]:
    return list(MODELS[name].model_fields) if name in MODELS else []


def _schema(name: str, columns: Sequence[str]) -> Any:
    whole = LABEL_SCHEMA if name == LABELS else arrow_schema(MODELS[name])
    return pa.schema([field for field in whole if field.name in columns])


@contextmanager
def open_folder(path: Path, columns: Columns) -> Iterator[CanonicalFolder]:
    """Write canonical tables to a new or empty folder; nothing stays where something fails.

    Raises:
        UsageError: the folder holds something, or cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"--out: expected a new or empty folder, found files in {path}")
    try:
        path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        path.chmod(PRIVATE_FOLDER)  # one that was there may be open to others
    except OSError as error:
        raise UsageError(
            f"--out: expected a folder that can be made, found: {error.strerror}"
        ) from None
    folder = CanonicalFolder(path, columns)
    whole = False
    try:
        yield folder
        folder.finish()
        whole = True
    except OSError as error:
        raise UsageError(f"--out: expected a disk with room, found: {error.strerror}") from None
    finally:
        if not whole:
            folder.discard()

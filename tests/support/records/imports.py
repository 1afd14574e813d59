"""What tests of importers share: samples of our own writing, and how one is imported."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fieldfare.client.cli.records import installed_importers
from fieldfare.client.records.importers.base import ImportOptions, KeyedHash
from fieldfare.client.records.importers.registry import ImportFormat, import_records
from fieldfare.client.typologies.extract import open_extract

SAMPLES = Path(__file__).parents[2] / "client" / "records" / "importers" / "samples"
KEYED = KeyedHash(bytes(range(32)))
MARKER = b"Marker"  # stands in the samples wherever nothing may be carried over


def imported(form: str, files: list[Path], out: Path, **said: Any) -> list[str]:
    options = ImportOptions(KEYED, **said)
    return import_records(ImportFormat(form), files, out, options, importers=installed_importers())


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


def opens_as_canonical(folder: Path) -> int:
    """Read a folder as indicators do; how many customers."""
    with open_extract(folder, date(2017, 3, 1)) as extract:
        return extract.units


def holds_no_marker(folder: Path) -> bool:
    tables = [pq.read_table(path) for path in folder.iterdir()]
    return bool(tables) and not any(MARKER.decode() in str(table.to_pylist()) for table in tables)

"""The ranking as a Parquet file that only its owner may read, written as it is made."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from fieldfare.client.scoring.alert_table import FORMAT, SCHEMA, AlertTable
from fieldfare.shared.errors import UsageError
from fieldfare.shared.private_files import PRIVATE_FILE, sync_folder

METADATA_KEY: Final = b"fieldfare.alerts"
SUFFIX: Final = ".parquet"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def check_out(path: Path) -> None:
    """Refuse a name that cannot be written, before minutes of work.

    Raises:
        UsageError: no `.parquet`, something is there already, or no such folder.
    """
    if path.suffix != SUFFIX:
        raise UsageError(f"--out: expected a name that ends in {SUFFIX}, found {path.name}")
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path}: expected a new file, found an existing one: nothing is overwritten; move it "
            "away, or choose another --out"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: expected a folder, found none; make it first")


def write_alerts(table: AlertTable, path: Path, said: Mapping[str, str]) -> None:
    """Write every unit, the highest score first; a file that could not be finished is removed.

    Args:
        table: makes the rows.
        path: a new file, mode 0600.
        said: what else stands in the metadata: study, run, time.

    Raises:
        UsageError: the path cannot be written, or is not new.
    """
    metadata = json.dumps({"format": FORMAT, **said}, sort_keys=True).encode()
    schema = SCHEMA.with_metadata({METADATA_KEY: metadata})
    try:
        descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE
        )
    except OSError as error:
        raise UsageError(f"{path}: expected a new file, found: {error.strerror}") from None
    finished = False
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, PRIVATE_FILE)  # whatever the umask says
            _write(table, file, schema)
            file.flush()
            os.fsync(descriptor)
        sync_folder(path.parent)
        finished = True
    except OSError as error:
        raise UsageError(f"{path}: expected a file, found: {error.strerror or error}") from None
    finally:
        if not finished:
            path.unlink(missing_ok=True)


def _write(table: AlertTable, file: Any, schema: Any) -> None:
    """Write batch after batch; while one is compressed, the next one is made."""
    with (
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
        ThreadPoolExecutor(1) as beside,
    ):
        under_way: list[Future[None]] = []
        for batch in table.batches():
            for earlier in under_way:  # one at a time: they wait in no queue, and keep their order
                earlier.result()
            under_way = [beside.submit(writer.write_batch, batch.cast(schema))]
        for last in under_way:
            last.result()

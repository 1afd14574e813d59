"""What importers share: a folder written whole or not at all, options, keyed hashes, amounts.

Identifiers of other people (an account elsewhere, a merchant, a reference) are hashed by
HMAC-SHA256 under a key of the institution's own, which never leaves: the same account is the same
key in every import, and the key means nothing elsewhere. Amounts are read from texts into whole
minor units of their currency (ISO 4217).
"""

import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from fieldfare.client.records.canonical_bank import TABLES
from fieldfare.client.records.canonical_cases import CaseSummary
from fieldfare.client.records.canonical_tables import arrow_schema
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.system.private_files import PRIVATE_FOLDER, create_private, read_private

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
            create_private(self._file(name), b"")  # a writer keeps the mode of what is there
            self._writers[name] = pq.ParquetWriter(self._file(name), schema, compression="zstd")
        self._writers[name].write_table(part)
        self._rows[name] += part.num_rows
        self._filled[name] |= {
            column for column in schema.names if part.column(column).null_count < part.num_rows
        }

    def add_records(self, name: str, records: Sequence[BaseModel]) -> None:
        """Append validated records; a field that was not given is null, whatever its default."""
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
        """Delete the written files: half of an import would look like a whole one."""
        for name in self._schemas:
            with suppress(OSError):  # the disk that was full for the rows is so for the end
                if name in self._writers:
                    self._writers[name].close()
            self._file(name).unlink(missing_ok=True)

    def lines(self) -> list[str]:
        """Return the counts of records written, and the columns that the source lacks, in lines."""
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
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
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
            for one in made:
                with suppress(OSError):  # somebody else uses it meanwhile
                    one.rmdir()


# -- keying ---------------------------------------------------------------------------------------

KEY_BYTES: Final = 32
KEY_FILE: Final = Path("keys", "records.key")  # below the institution's folder


class KeyedHash:
    """HMAC-SHA256 in hex (RFC 2104), for each kind of name apart."""

    def __init__(self, key: bytes) -> None:
        """Take a key of 32 bytes.

        Raises:
            KeysError: of another length.
        """
        if len(key) != KEY_BYTES:
            raise KeysError(f"expected a records key of {KEY_BYTES} bytes, found {len(key)}")
        self._key = key

    def of(self, kind: str, name: str) -> str:
        """Return the key of one name; `kind` keeps an account and a reference apart."""
        return hmac.digest(self._key, f"{kind}\0{name}".encode(), "sha256").hex()

    def column(self, kind: str, names: Any) -> Any:
        """Return the keys of an Arrow string array; null where it is null."""
        coded = names.dictionary_encode()
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.combine_chunks()
        keys = pa.array([self.of(kind, name) for name in coded.dictionary.to_pylist()], pa.string())
        return keys.take(coded.indices)


def keyed_hash(path: Path) -> KeyedHash:
    """Return the keyed hash of the key in a private file, which is made where there is none.

    Raises:
        KeysError: the file is open to others, or holds no such key.
        UsageError: it cannot be made.
    """
    if not path.exists():
        try:
            with suppress(UsageError):  # made meanwhile
                create_private(path, secrets.token_bytes(KEY_BYTES))
        except OSError as error:
            raise UsageError(
                f"{path}: expected a place for the records key, found: {error.strerror}; say "
                "--key-file FILE"
            ) from None
    return KeyedHash(read_private(path))


# -- options --------------------------------------------------------------------------------------


class PaymentOwner(StrEnum):
    """Whose a payment between two own customers is."""

    DEBTOR = "debtor"
    CREDITOR = "creditor"
    BOTH = "both"


FIRST_DAY = date(2017, 1, 1)  # AMLSim's own `base_date`; a published choice, read off no records


@dataclass(frozen=True)
class ImportOptions:
    """The options of a command.

    Attributes:
        keyed: makes `*_key` columns.
        bank: of a source with several banks, whose records these are; empty for all together.
        bic: of the institution, for payments between banks.
        in_house: whose a payment between two own customers is.
        start: the day that a simulation's step 0 stands for.
        lacking: columns such as `transactions.mcc` that the institution does not have.
        codes: bank transaction codes of its own, each with the channel that it means; an empty
            one leaves the entry out.
        mapping: names of the columns, and the form of CSV.
    """

    keyed: KeyedHash
    bank: str = ""
    bic: str = ""
    in_house: PaymentOwner = PaymentOwner.DEBTOR
    start: date = FIRST_DAY
    lacking: frozenset[str] = frozenset()
    codes: Mapping[str, str] = field(default_factory=dict)
    mapping: ColumnMapping = field(default_factory=ColumnMapping)

    def having(self, columns: Columns) -> Columns:
        """Return the columns of each table without those that the institution lacks."""
        return {
            name: [one for one in listed if f"{name}.{one}" not in self.lacking]
            for name, listed in columns.items()
        }

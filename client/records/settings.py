"""`[[records]]` in `institution.toml`: where an institution's records are, and how written.

    [[records]]
    kind = "csv"
    path = "/srv/records/2025" # a file, or a folder of files of this kind
    unit = "customer" # whose budget the ledger keeps, by the studies' name; the same everywhere
    encoding = "latin-1"
    decimal = ","
    columns = { amount_in = "AMT_CR" }

    [[records]]
    kind = "postgresql"
    uri_file = "keys/postgresql.uri" # mode 0600; or uri_environment = "A_NAME"
    table = "accounts"
    unit = "customer"

Sources are read in order, as one table. No setting holds a database's address: that may
contain a password, and stands in a private file or in the environment.
"""

import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from fieldfare.client.records.sources.mapping import ColumnMapping, SourceMapping, load_mapping
from fieldfare.shared.errors import RecordsError, StudyError
from fieldfare.shared.features.features import Name
from fieldfare.shared.study.toml import PathText, problem_lines
from fieldfare.shared.system.private_files import open_regular
from fieldfare.shared.terminal.texts import plain

if TYPE_CHECKING:
    from fieldfare.client.records.sources.databases import Rows
    from fieldfare.client.records.sources.source import Table
    from fieldfare.shared.study.study import Study

MAX_URI_BYTES: Final = 4096
MOST_CONNECTIONS: Final = 16  # to one database
_OTHERS: Final = 0o077

QueryText = Annotated[str, Field(min_length=1, max_length=100_000)]


class _Source(SourceMapping):
    """The settings that every source has.

    Attributes:
        studies: names of the studies that it serves; all where none is named.
        mapping: a file (mapping.py) that says what could also stand here: one or the other.
        unit: the column of the population's ids, by the studies' name; None runs no study.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    studies: tuple[Name, ...] = Field(default=(), strict=False)
    unit: Name | None = None
    mapping: PathText | None = None

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        said = sorted(self.model_fields_set.intersection(ColumnMapping.model_fields))
        if self.mapping is not None and said:
            raise ValueError(f"{said[0]}: expected nothing beside a mapping file; say it there")
        return self

    def declared(self, folder: Path) -> ColumnMapping:
        """Return the source's declaration, from here or from its mapping file.

        Raises:
            StudyError: the mapping file is wrong.
        """
        if self.mapping is not None:
            return load_mapping(folder / self.mapping)
        return ColumnMapping.model_validate(
            self.model_dump(include=set(ColumnMapping.model_fields))
        )

    def as_table(
        self, mapping: ColumnMapping, folder: Path, environment: Mapping[str, str]
    ) -> "Table":
        """Return the source's table under `mapping`; paths begin in `folder`."""
        raise NotImplementedError


class _Files(_Source):
    """A file, or a folder of files of one kind."""

    kind: str
    path: PathText

    def as_table(
        self, mapping: ColumnMapping, folder: Path, environment: Mapping[str, str]
    ) -> "Table":
        """Return its table."""
        del environment
        return _file(folder / self.path, mapping, "" if self.kind == "file" else self.kind)


class FileSource(_Files, ColumnMapping):
    """A file, or a folder of files of one kind; the names say which kind."""

    kind: Literal["file"] = "file"


class CsvSource(_Files, ColumnMapping):
    """A CSV file (also `.gz`), or a folder of them."""

    kind: Literal["csv"]


class ColumnarSource(_Files):
    """A Parquet or Arrow file, or a folder of them."""

    kind: Literal["parquet", "arrow"]


class _Database(_Source):
    """A source with a table or a query; a file with one table needs neither."""

    table: Name | None = None
    schema_name: Name | None = Field(default=None, alias="schema")
    query: QueryText | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.query is not None and (self.table or self.schema_name):
            raise ValueError("query: expected no table or schema beside it; leave one out")
        if self.schema_name is not None and self.table is None:
            raise ValueError("schema: expected a table beside it; name it")
        return self

    @property
    def rows(self) -> "Rows":
        """Which rows."""
        from fieldfare.client.records.sources.databases import Rows  # noqa: PLC0415 -- as below

        return Rows(self.table, self.schema_name, self.query)


class DatabaseFileSource(_Database):
    """A DuckDB or SQLite file."""

    kind: Literal["duckdb", "sqlite"]
    path: PathText

    def as_table(
        self, mapping: ColumnMapping, folder: Path, environment: Mapping[str, str]
    ) -> "Table":
        """Return its table."""
        del environment
        path = folder / self.path
        if path.is_dir():
            raise RecordsError(f"{path}: expected a database file, found a folder")
        return _file(path, mapping, self.kind, self.rows)


class PostgresqlSource(_Database):
    """A table or query of a PostgreSQL database.

    Attributes:
        uri_file: a private file (mode 0600) whose one line is the address.
        uri_environment: or the environment variable that holds it.
        connections: that read a table side by side.
    """

    kind: Literal["postgresql"]
    connections: int = Field(default=1, ge=1, le=MOST_CONNECTIONS)
    uri_file: PathText | None = None
    uri_environment: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @model_validator(mode="after")
    def _all_said(self) -> Self:
        if (self.uri_file is None) == (self.uri_environment is None):
            raise ValueError("expected either uri_file or uri_environment")
        if self.table is None and self.query is None:
            raise ValueError("expected either a table or a query")
        return self

    def as_table(
        self, mapping: ColumnMapping, folder: Path, environment: Mapping[str, str]
    ) -> "Table":
        """Return its table; the address is looked up when it is opened."""
        from fieldfare.client.records.sources.postgresql import open_postgresql  # noqa: PLC0415 -- as below
        from fieldfare.client.records.sources.source import SourceFile, Table  # noqa: PLC0415 -- as below

        def opened() -> Any:
            uri = self._uri(folder, environment)
            return open_postgresql(uri, mapping, self.rows, self.connections)

        return Table(f"postgresql {self.rows.label}", mapping, (SourceFile("", opened),))

    def _uri(self, folder: Path, environment: Mapping[str, str]) -> str:
        if self.uri_file is not None:
            return private_line(folder / self.uri_file)
        uri = environment.get(self.uri_environment or "", "").strip()
        if not uri:
            raise RecordsError(
                f"environment variable {self.uri_environment}: expected a database's address, "
                "found none; set it"
            )
        return uri


def _file(
    path: Path, mapping: ColumnMapping, kind: str = "", rows: "Rows | None" = None
) -> "Table":
    """Return a file's table; its name says the kind where none is given."""
    # Whoever only reads settings, to show an alert, does not wait for a database engine.
    from fieldfare.client.records.sources.databases import WHOLE  # noqa: PLC0415 -- see above
    from fieldfare.client.records.sources.source import FileKind, table_at  # noqa: PLC0415 -- see above

    return table_at(path, mapping, kind=FileKind(kind) if kind else None, rows=rows or WHOLE)


def private_line(path: Path) -> str:
    """Return the one line of a file that only its owner can read.

    Raises:
        RecordsError: no such file, one that others can read, or not one line of text.
    """
    try:
        with open_regular(path) as stream:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = stream.read(MAX_URI_BYTES + 1)
    except OSError as error:
        raise RecordsError(f"{path}: expected a readable file, found: {error.strerror}") from None
    if mode & _OTHERS:
        raise RecordsError(f"{path}: expected mode 0600, found {mode:04o}: chmod 600 {path}")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(content) > MAX_URI_BYTES or not text.isprintable():
        raise RecordsError(f"{path}: expected one line of text, found something else")
    return text


def _kind(value: object) -> object:
    if isinstance(value, dict):
        return value.get("kind", "file")
    return getattr(value, "kind", None)


RecordsSource = Annotated[
    Annotated[FileSource, Tag("file")]
    | Annotated[CsvSource, Tag("csv")]
    | Annotated[ColumnarSource, Tag("parquet")]
    | Annotated[ColumnarSource, Tag("arrow")]
    | Annotated[DatabaseFileSource, Tag("duckdb")]
    | Annotated[DatabaseFileSource, Tag("sqlite")]
    | Annotated[PostgresqlSource, Tag("postgresql")],
    Discriminator(_kind),
]


def tables_of(
    sources: Sequence[RecordsSource],
    study: "Study",
    *,
    folder: Path,
    environment: Mapping[str, str],
) -> "list[Table]":
    """Return the tables of those `sources` that serve a study, each under its own mapping.

    Raises:
        RecordsError: no source serves it, or a path leads nowhere.
        StudyError: a mapping file is wrong.
    """
    from fieldfare.client.records.encoding.columns import asked_by  # noqa: PLC0415 -- as above

    serving = [source for source in sources if study.name in (source.studies or (study.name,))]
    if not serving:
        raise RecordsError(
            f"expected a source of records for {study.name} under [[records]], found none; add one "
            "to institution.toml"
        )
    # A source serves many studies: what it maps for others is no mistake here.
    asked = asked_by(study)
    return [
        source.as_table(source.declared(folder).only(asked), folder, environment)
        for source in serving
    ]


def one_unit(sources: tuple[RecordsSource, ...]) -> tuple[RecordsSource, ...]:
    """Return `sources` where all name the same unit, or none does.

    Raises:
        ValueError: they differ.
    """
    units = [source.unit for source in sources]
    for index, unit in enumerate(units):
        if unit != units[0]:
            raise ValueError(
                f"{index}.unit: expected {units[0] or 'none'} as in the first table, found "
                f"{unit or 'none'}: one population has one unit; write it beside every source"
            )
    return sources


def own_unit(sources: Sequence[RecordsSource]) -> str | None:
    """Return the unit of the population that `sources` are about, or None where none is named."""
    return sources[0].unit if sources else None


def check_unit(study: "Study", unit: str | None) -> None:
    """Check that a study counts the units that this institution's budget protects.

    A coordinator that chose another column would spend a customer's budget many times over: with
    ten accounts, an epsilon of 1 for each account is more than 10 for the customer.

    Args:
        study: that asks.
        unit: of the institution's population, from its own settings.

    Raises:
        StudyError: it counts others, or the institution has not said whom it protects.
    """
    if unit is None:
        raise StudyError(
            "institution.toml, [[records]] unit: expected the column that holds one id for each "
            "member of your population, found none: write it beside every source, as your people "
            'decide and no study (unit = "customer"); the ledger keeps it for good'
        )
    if study.records.unit != unit:
        raise StudyError(
            f"records.unit: expected {unit}, the unit of your population in institution.toml, "
            f"found {plain(study.records.unit or 'none')}: your budget protects each {unit} and "
            "this study would count others; ask the coordinator for a study with that unit"
        )


class _RecordsPart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    records: tuple[RecordsSource, ...] = Field(default=(), strict=False)

    _unit = field_validator("records")(one_unit)


def _text(path: Path) -> str:
    with open_regular(path) as file:
        return file.read().decode("utf-8")


def load_sources(path: Path) -> tuple[RecordsSource, ...]:
    """Read the `[[records]]` tables of an institution's settings, and nothing else there.

    Raises:
        StudyError: unreadable, no TOML, or lists every mistake in them, one line each.
    """
    try:
        return _RecordsPart.model_validate(tomllib.loads(_text(path))).records
    except OSError as error:
        raise StudyError(f"{path}: expected a readable file, found: {error.strerror}") from None
    except ValidationError as error:
        raise StudyError([f"{path}: {line}" for line in problem_lines(error)]) from None
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: expected TOML: {error}") from None
    except (ValueError, RecursionError):
        raise StudyError(f"{path}: expected UTF-8 text in TOML") from None

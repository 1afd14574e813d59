"""`[[records]]` tables say where records are; a database's address stands elsewhere."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from tests.support.system.postgres import PostgresServer

from fieldfare.client.records.settings import (
    MAX_URI_BYTES,
    ColumnarSource,
    CsvSource,
    DatabaseFileSource,
    FileSource,
    PostgresqlSource,
    RecordsSource,
    load_sources,
    private_line,
    tables_of,
)
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.shared.errors import RecordsError, StudyError
from fieldfare.shared.study.study import Study

MARKER = "MARKED-7781"
STUDY = Study.model_validate(
    {
        "name": "t",
        "purpose": "p",
        "records": {"unit": "unit", "label": "label", "units": 10, "prevalence": 0.5},
        "features": [{"kind": "numeric", "name": "x", "lower": 0, "upper": 1}],
        "privacy": {"epsilon": 1, "delta": 1e-5},
    }
)


def settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "institution.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_kind_of_source(tmp_path: Path) -> None:
    text = """
        id = "bank-a"  # other keys of the file are read by others
        [[records]]
        path = "a.parquet"
        mapping = "m.toml"
        [[records]]
        kind = "csv"
        path = "in"
        encoding = "latin-1"
        decimal = ","
        separator = ";"
        [records.columns]
        x = "X"
        [[records]]
        kind = "arrow"
        path = "a.feather"
        [[records]]
        kind = "duckdb"
        path = "a.duckdb"
        schema = "core"
        table = "t"
        [[records]]
        kind = "sqlite"
        path = "a.db"
        query = "SELECT 1"
        [[records]]
        kind = "postgresql"
        uri_environment = "FIELDFARE_PG"
        table = "accounts"
        studies = ["t"]
        [records.dates]
        opened = "iso"
    """
    sources = load_sources(settings(tmp_path, text))
    assert [type(source) for source in sources] == [
        FileSource, CsvSource, ColumnarSource, DatabaseFileSource, DatabaseFileSource,
        PostgresqlSource,
    ]  # fmt: skip
    assert sources[1].declared(tmp_path) == ColumnMapping(
        columns={"x": "X"}, encoding="latin-1", decimal=",", separator=";"
    )
    assert isinstance(sources[3], DatabaseFileSource)
    assert sources[3].rows.relation == '"core"."t"'
    assert sources[5].declared(tmp_path).dates == {"opened": "iso"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "oracle"\npath = "x"', "records.0.kind: expected 'file', 'csv'"),
        ('kind = "csv"', "path: expected a value"),
        ('kind = "csv"\npath = ""', "path"),
        ('kind = "csv"\npath = "a\\u0000b"', "path"),
        ('kind = "csv"\npath = "x"\nencoding = "klingon"', "an encoding that Python knows"),
        (
            'kind = "csv"\npath = "x"\nmapping = "m"\ndecimal = ","',
            "decimal: expected nothing beside",
        ),
        ('kind = "parquet"\npath = "x"\nencoding = "latin-1"', "encoding: expected no such key"),
        (
            'kind = "sqlite"\npath = "x"\ntable = "t"\nquery = "q"',
            "query: expected no table or schema",
        ),
        ('kind = "duckdb"\npath = "x"\nschema = "s"', "schema: expected a table beside it"),
        ('kind = "postgresql"\ntable = "t"', "expected either uri_file or uri_environment"),
        (
            'kind = "postgresql"\ntable = "t"\nuri_file = "f"\nuri_environment = "E"',
            "expected either uri_file or uri_environment",
        ),
        ('kind = "postgresql"\nuri_file = "f"', "expected either a table or a query"),
        (
            'kind = "postgresql"\nuri_file = "f"\ntable = "t"\nuri = "x"',
            "uri: expected no such key",
        ),
        ('kind = "postgresql"\nuri_environment = "A B"\ntable = "t"', "uri_environment"),
        ('path = "x"\nkind = 3', "records.0.kind"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError) as caught:
        load_sources(settings(tmp_path, f"[[records]]\n{text}\n"))
    assert message in str(caught.value)
    assert str(tmp_path / "institution.toml") in str(caught.value)


def test_files_that_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="expected a readable file"):
        load_sources(tmp_path / "none.toml")
    wrong = ((b'id = "a"\nkind csv\n', r"expected TOML: .*line 2, column 6"), (b"\xff", "in TOML"))
    for content, said in wrong:
        (tmp_path / "institution.toml").write_bytes(content)
        with pytest.raises(StudyError, match=said):
            load_sources(tmp_path / "institution.toml")
    assert load_sources(settings(tmp_path, 'id = "x"')) == ()


def source(**values: Any) -> RecordsSource:
    return TypeAdapter(RecordsSource).validate_python(values)


def test_sources_serve_the_studies_that_they_name(tmp_path: Path) -> None:
    for name in ("all.csv", "mine.csv", "other.csv"):
        (tmp_path / name).write_text("x\n")
    sources = [
        source(path="all.csv", columns={"x": "X", "y": "Y"}),
        source(path="other.csv", studies=["other"]),
        source(kind="csv", path=str(tmp_path / "mine.csv"), studies=["other", "t"]),
    ]
    tables = tables_of(sources, STUDY, folder=tmp_path, environment={})
    assert [Path(table.name).name for table in tables] == ["all.csv", "mine.csv"]
    assert tables[0].mapping.columns == {"x": "X"}
    with pytest.raises(RecordsError, match=r"expected a source of records for t under \[\[records"):
        tables_of(sources[1:2], STUDY, folder=tmp_path, environment={})


def test_a_mapping_file_is_found_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('decimal = ","\n[columns]\nx = "X"\n')
    found = source(path="a.csv", mapping="m.toml").declared(tmp_path)
    assert found == ColumnMapping(columns={"x": "X"}, decimal=",")
    with pytest.raises(StudyError, match="a readable mapping file"):
        source(path="a.csv", mapping="n.toml").declared(tmp_path)


def test_a_database_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="expected a database file, found a folder"):
        tables_of([source(kind="sqlite", path=".")], STUDY, folder=tmp_path, environment={})


def test_an_address_is_looked_up_when_it_is_needed_and_never_told(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text(f"postgresql://u:{MARKER}@127.0.0.1:1/x\n")
    (tmp_path / "uri").chmod(0o600)
    by_file = source(kind="postgresql", uri_file="uri", table="t")
    by_name = source(kind="postgresql", uri_environment="PG", query="SELECT 1 AS x")
    environment = {"PG": f"postgresql://u:{MARKER}@127.0.0.1:1/x"}
    tables = tables_of([by_file, by_name], STUDY, folder=tmp_path, environment=environment)
    assert [table.name for table in tables] == ["postgresql table t", "postgresql query"]
    for table in tables:
        assert MARKER not in repr(table)
        with pytest.raises(RecordsError, match="expected a connection") as caught:
            table.parts[0].open().__enter__()
        assert MARKER not in str(caught.value)
    assert MARKER not in repr([by_file, by_name])
    (unset,) = tables_of([by_name], STUDY, folder=tmp_path, environment={"PG": " "})
    with pytest.raises(
        RecordsError, match="environment variable PG: expected a database's address"
    ):
        unset.parts[0].open().__enter__()


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (f"{MARKER}\n".encode(), 0o640, "expected mode 0600, found 0640"),
        (f"{MARKER}\n".encode(), 0o604, "expected mode 0600, found 0604"),
        (b"", 0o600, "expected one line of text"),
        (f"{MARKER}\nmore".encode(), 0o600, "expected one line of text"),
        (f"{MARKER}".encode() + b"\xff", 0o600, "expected one line of text"),
        (MARKER.encode() * MAX_URI_BYTES, 0o600, "expected one line of text"),
    ],
)
def test_private_files(tmp_path: Path, content: bytes, mode: int, message: str) -> None:
    path = tmp_path / "uri"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(RecordsError, match=message) as caught:
        private_line(path)
    assert MARKER not in str(caught.value)


def test_a_private_file_gives_its_line(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text(" host=x \n")
    (tmp_path / "uri").chmod(0o400)
    assert private_line(tmp_path / "uri") == "host=x"
    with pytest.raises(RecordsError, match="expected a readable file"):
        private_line(tmp_path / "none")


def test_a_postgresql_source_reads_the_server(postgres: PostgresServer, tmp_path: Path) -> None:
    postgres.execute("DROP TABLE IF EXISTS plain", "CREATE TABLE plain AS SELECT 5 AS x")
    found = source(kind="postgresql", uri_environment="PG", table="plain")
    (table,) = tables_of([found], STUDY, folder=tmp_path, environment={"PG": postgres.uri})
    with table.parts[0].open() as opened:
        assert [batch.to_pylist() for batch in opened.batches(["x"])] == [[{"x": 5}]]

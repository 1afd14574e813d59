"""One odd record, of two hundred kinds, in every kind of source: no other unit's vector changes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.records.odd_records import (
    COLUMNS,
    NUMBERS,
    SOURCES,
    TYPED,
    beside,
    number_rows,
    others,
    texts,
    vectors,
)
from tests.support.system.postgres import PostgresServer

from fieldfare.client.records import read_records
from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.mapping import ColumnMapping
from fieldfare.client.records.sources.postgresql import open_postgresql
from fieldfare.client.records.sources.source import SourceFile, Table
from fieldfare.shared.study.study import Study

KINDS = texts()


def study() -> Study:
    return Study.model_validate({
        "name": "t", "purpose": "p",
        "records": {"unit": "unit", "label": "label", "positive": "> 0", "units": 3000,
                    "prevalence": 0.1, "missing": ["", "NA"]},
        "features": [
            {"kind": "numeric", "name": "amount", "lower": 0, "upper": 10},
            {"kind": "categorical", "name": "channel", "levels": ["branch", "online"]},
        ],
        "columns": [{"kind": "numeric", "name": "hours", "lower": 0, "upper": 24}],
        "queries": [{"kind": "mean", "name": "q", "column": "hours"}],
        "privacy": {"epsilon": 1, "delta": 1e-5},
    })  # fmt: skip


def of_others(where: Any) -> dict[str, Any]:
    found = vectors(read_records([where], study()))
    return {unit: vector for unit, vector in found.items() if unit.startswith("u")}


def test_there_are_two_hundred_kinds() -> None:
    assert len(KINDS) >= 200


@pytest.mark.parametrize("source", SOURCES)
def test_no_odd_record_changes_anothers_vector(source: str, tmp_path: Path) -> None:
    """All kinds at once, each a record of its own: whatever one did would be seen."""
    alone = of_others(SOURCES[source](tmp_path, others()))
    assert len(alone) == len(others())
    assert of_others(SOURCES[source](tmp_path, beside(KINDS))) == alone


@pytest.mark.promises
@pytest.mark.timeout(3000)  # a file of a database is read by a process of its own, each time
@pytest.mark.parametrize("source", SOURCES)
def test_no_odd_record_alone_changes_anothers_vector(source: str, tmp_path: Path) -> None:
    alone = of_others(SOURCES[source](tmp_path, others()))
    changed = [
        kind for kind in KINDS if of_others(SOURCES[source](tmp_path, beside([kind]))) != alone
    ]
    assert changed == []


def in_postgresql(server: PostgresServer, name: str) -> Table:
    file = SourceFile("", lambda: open_postgresql(server.uri, ColumnMapping(), Rows(name)))
    return Table(name, ColumnMapping(), (file,))


def test_no_odd_record_of_a_server_changes_anothers_vector(postgres: PostgresServer) -> None:
    """A server holds no text that is none, and no zero byte."""
    held = [row for row in KINDS if b"\0" not in b"".join(row) and _is_utf8(row)]
    for name, rows in (("odd_alone", others()), ("odd_beside", beside(held))):
        cells = [[cell.decode() for cell in column] for column in zip(*rows, strict=True)]
        postgres.ingest({name: pa.table(cells, names=list(COLUMNS))})
    assert len(held) >= 200
    assert of_others(in_postgresql(postgres, "odd_beside")) == of_others(
        in_postgresql(postgres, "odd_alone")
    )


def _is_utf8(row: tuple[Any, ...]) -> bool:
    return b"".join(row) == b"".join(row).decode(errors="replace").encode()


@pytest.mark.parametrize("source", TYPED)
def test_no_odd_number_changes_anothers_vector(source: str, tmp_path: Path) -> None:
    """Where columns have types, or each value has its own."""
    alone = of_others(TYPED[source](tmp_path, number_rows()))
    assert len(alone) == len(others())
    assert of_others(TYPED[source](tmp_path, number_rows(NUMBERS))) == alone

"""Sources of every kind for the tests of records; one real PostgreSQL for all of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.system.postgres import PostgresServer, running_postgres

from fieldfare.client.records.sources.engine import Source
from fieldfare.client.records.sources.source import open_source
from fieldfare.client.records.sources.sql import number_of, quoted, text_of


@pytest.fixture(scope="session")
def texts_in() -> Callable[[Source], list[dict[str, Any]]]:
    """Every row of a source as texts."""

    def read(source: Source) -> list[dict[str, Any]]:
        columns = source.columns.items()
        names = [f"{text_of(name, kind)} AS {quoted(name)}" for name, kind in columns]
        return [row for batch in source.batches(names) for row in batch.to_pylist()]

    return read


@pytest.fixture(scope="session")
def read_texts(
    texts_in: Callable[[Source], list[dict[str, Any]]],
) -> Callable[..., list[dict[str, Any]]]:
    """Every row of a file as texts."""

    def read(path: Path, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        with open_source(path, *arguments, **options) as source:
            return texts_in(source)

    return read


@pytest.fixture(scope="session")
def read_numbers() -> Callable[..., list[float | None]]:
    """The column x of a file as numbers; -999 and ? are missing."""

    def read(path: Path, *arguments: Any) -> list[float | None]:
        with open_source(path, *arguments) as source:
            query = number_of("x", source.columns["x"], ("?", "-999"), source.numerals)
            found = source.batches([f"{query} AS x"])
            return [value for batch in found for value in batch.column(0).to_pylist()]

    return read


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One real server for all tests here."""
    with running_postgres() as server:
        yield server

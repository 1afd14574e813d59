"""`fieldfare institution records check`: test whether records load; list what does not fit."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.records.check import check_records, report_lines
from fieldfare.client.records.database import Rows
from fieldfare.client.records.mapping import load_mapping
from fieldfare.client.records.settings import load_sources, tables_of
from fieldfare.client.records.source import Table, table_at
from fieldfare.shared.errors import UsageError
from fieldfare.shared.study import Study, load_study

EXIT_REFUSED: Final = 2

records_check_app = typer.Typer(add_completion=False)


@records_check_app.command()
def records_check(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    home: HomeOption = DEFAULT_HOME,
    records: Annotated[
        list[Path] | None,
        typer.Option(help="A file or folder instead of what institution.toml names."),
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="With --records: a mapping file for it.")
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="With --records: the table of a database file.")
    ] = None,
) -> None:
    """Say whether records would load under a study, and name everything that does not fit.

    Prints counts and row numbers, never a value. Nothing leaves this machine. Exits with 0 when
    the records would load, with 2 when not.
    """
    plan = load_study(study)
    tables = _named(records, mapping, table) if records else _own(home, plan, mapping, table)
    report = check_records(tables, plan, today=datetime.now(UTC).date())
    typer.echo("\n".join(report_lines(report)))
    if not report.loads:
        raise typer.Exit(EXIT_REFUSED)


def _named(records: list[Path], mapping: Path | None, table: str | None) -> list[Table]:
    declared = load_mapping(mapping) if mapping is not None else None
    return [table_at(path, declared, rows=Rows(table)) for path in records]


def _own(home: Path, study: Study, mapping: Path | None, table: str | None) -> list[Table]:
    if mapping is not None or table is not None:
        raise UsageError(
            "--mapping, --table: expected beside --records only; an institution's own sources "
            "say this in institution.toml"
        )
    sources = load_sources(home / "institution.toml")
    return tables_of(sources, study, folder=home, environment=os.environ)

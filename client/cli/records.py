"""`fieldfare institution records import|check`: canonical records, and what does not fit."""

import os
from collections import ChainMap
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Final

import typer

from fieldfare.client.cli import app
from fieldfare.client.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    MappingOption,
    RecordsOption,
    day_given,
)
from fieldfare.client.home.layout import Home
from fieldfare.client.institution.changed_ids import change_since, key_of_ids
from fieldfare.client.records.drift import drift_lines
from fieldfare.client.records.encoding.id_sketch import IDS_CHANGED
from fieldfare.client.records.health import (
    RecordsProfile,
    earlier_profile,
    keep_profile,
    profile_at,
)
from fieldfare.client.records.importers.bank_codes import own_codes
from fieldfare.client.records.importers.base import (
    FIRST_DAY,
    KEY_FILE,
    ImportOptions,
    PaymentOwner,
    keyed_hash,
)
from fieldfare.client.records.importers.registry import (
    IMPORTERS,
    Importers,
    ImportFormat,
    import_records,
)
from fieldfare.client.records.load import RecordsCheck, check_records, report_lines
from fieldfare.client.records.settings import check_unit, load_sources, own_unit, tables_of
from fieldfare.client.records.sources.databases import Rows
from fieldfare.client.records.sources.mapping import ColumnMapping, load_mapping
from fieldfare.client.records.sources.source import Table, table_at
from fieldfare.shared.cli.part import PARTS, Part
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.terminal.stderr import progress_bar
from fieldfare.shared.terminal.texts import SHORT

EXIT_REFUSED: Final = 2


@app.command("institution.records.check")
def records_check(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study.")],
    home: HomeOption = DEFAULT_HOME,
    records: RecordsOption = None,
    mapping: MappingOption = None,
    table: Annotated[
        str | None, typer.Option(help="With --records: the table of a database file.")
    ] = None,
) -> None:
    """Check whether records load under a study, and name everything that does not fit.

    Prints counts and row numbers, never a value. Nothing leaves this machine. Exits with 0 when
    the records would load, with 2 when not, also where so many ids are others than at the study's
    first answer that the custodian would serve nothing. Of an institution's own sources counts of
    rows by column are kept in the home, and compared with those of the last day: what moved is
    said, and decides nothing.
    """
    plan, opened = load_study(study), Home(home.absolute())
    tables = _named(records, mapping, table) if records else _own(home, plan, mapping, table)
    key = b"" if records else key_of_ids(opened)
    with progress_bar(begins="reading records") as said:
        report = check_records(tables, plan, today=datetime.now(UTC).date(), said=said, key=key)
    typer.echo("\n".join(report_lines(report)))
    if not report.loads:
        raise typer.Exit(EXIT_REFUSED)
    if not records:
        found = profile_at(report.columns, report.rows, report.zero, datetime.now(UTC))
        _compare(opened.health, plan, found)
    if key and plan.records.unit is not None:
        _compare_ids(opened, plan, report, key)


def _compare_ids(home: Home, plan: Study, report: RecordsCheck, key: bytes) -> None:
    """Say whether units have the ids of the study's first answer, where there was one.

    A user who may not read the ledger sees that they were not compared.
    """
    try:
        change = change_since(home, plan, report.ids, key)
    except LedgerError as error:
        typer.echo(f"ids were not compared with those of the study's first answer: {error}")
        return
    if change is None:
        return
    typer.echo(change.words)
    if change.renamed:
        typer.echo(IDS_CHANGED.format(study=plan.id[:SHORT]))
        raise typer.Exit(EXIT_REFUSED)


def _compare(path: Path, plan: Study, found: RecordsProfile) -> None:
    """Say what moved since an earlier day, and keep counts for the next time.

    A user who may only read the home sees that they are not kept.
    """
    then = earlier_profile(path, plan, found)
    if then is not None:
        typer.echo("\n".join(drift_lines(then, found)))
    try:
        keep_profile(path, plan, found)
    except OSError as error:
        typer.echo(f"{path}: counts were not kept to compare with: {error.strerror}", err=True)


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
    if study.records.unit is not None:  # else the check itself says so
        check_unit(study, own_unit(sources))
    return tables_of(sources, study, folder=home, environment=os.environ)


@app.command("institution.records.import")
def records_import(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="What to read.")],
    form: Annotated[ImportFormat, typer.Option("--from", help="What the files are.")],
    out: Annotated[Path, typer.Option(help="A new folder for the canonical records.")],
    home: HomeOption = DEFAULT_HOME,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="The private key of keyed hashes; made where there is none.",
            show_default="keys/records.key of the home",
        ),
    ] = None,
    bank: Annotated[str, typer.Option(help="The bank to read, where FILES hold several.")] = "",
    bic: Annotated[str, typer.Option(help="Of payments between banks: your own BIC.")] = "",
    in_house: Annotated[
        PaymentOwner | None,
        typer.Option(
            help="The customer whose statement has a payment between two of your own.",
            show_default="debtor",
        ),
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(help="TOML: bank transaction codes of your own, and channels.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Of cases: a mapping file, if columns have other names.")
    ] = None,
    start: Annotated[
        str, typer.Option(help="The day of a simulation's step 0.", show_default=str(FIRST_DAY))
    ] = "",
    lacking: Annotated[
        str, typer.Option(help="Columns that you do not have: transactions.mcc,...")
    ] = "",
) -> None:
    """Read files of banks, simulators or case systems into canonical records.

    Names, addresses, birth dates and the text of payments are not carried over. What cannot be
    read is refused by file and line, and then nothing is written. Nothing leaves this machine.
    """
    given = {"--bank": bank, "--bic": bic, "--in-house": in_house, "--codes": codes,
             "--mapping": mapping, "--start": start}  # fmt: skip
    options = ImportOptions(
        keyed=keyed_hash(key_file or home / KEY_FILE),
        bank=bank,
        bic=bic,
        in_house=in_house or PaymentOwner.DEBTOR,
        start=day_given(start, "--start", "2017-01-01") if start else FIRST_DAY,
        codes={} if codes is None else own_codes(codes),
        mapping=ColumnMapping() if mapping is None else load_mapping(mapping),
        lacking=frozenset(name.strip() for name in lacking.split(",") if name.strip()),
    )
    heard = frozenset(name for name, value in given.items() if value)
    importers = IMPORTERS if form in IMPORTERS else installed_importers()
    typer.echo("\n".join(import_records(form, files, out, options, heard, importers)))


def installed_importers() -> Importers:
    """Return the importers of every part that is installed."""
    parts = [point.load() for point in entry_points(group=PARTS)]
    rooms = [part.imports for part in parts if isinstance(part, Part) and part.imports]
    return dict(ChainMap(*(import_module(room).IMPORTERS for room in rooms), dict(IMPORTERS)))

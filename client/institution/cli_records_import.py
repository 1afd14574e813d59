"""`fieldfare institution records import`: other programs' files as canonical records."""

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from fieldfare.client.institution.cli_home import DEFAULT_HOME, HomeOption
from fieldfare.client.records.importers.bank_codes import own_codes
from fieldfare.client.records.importers.choosing import ImportFormat, import_records
from fieldfare.client.records.importers.keying import KEY_FILE, keyed_hash
from fieldfare.client.records.importers.options import FIRST_DAY, ImportOptions, InHouse
from fieldfare.client.records.mapping import ColumnMapping, load_mapping
from fieldfare.shared.errors import UsageError

records_import_app = typer.Typer(add_completion=False)


@records_import_app.command("import")
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
    bank: Annotated[str, typer.Option(help="Of several banks in FILES, whose records.")] = "",
    bic: Annotated[str, typer.Option(help="Of payments between banks: your own BIC.")] = "",
    in_house: Annotated[
        InHouse | None,
        typer.Option(
            help="Whose statement a payment between two of your own customers stands on.",
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
        in_house=in_house or InHouse.DEBTOR,
        start=_day(start) if start else FIRST_DAY,
        codes={} if codes is None else own_codes(codes),
        mapping=ColumnMapping() if mapping is None else load_mapping(mapping),
        lacking=frozenset(name.strip() for name in lacking.split(",") if name.strip()),
    )
    heard = frozenset(name for name, value in given.items() if value)
    typer.echo("\n".join(import_records(form, files, out, options, heard)))


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--start: expected a date such as 2017-01-01, found {text}") from None

"""AMLworld (IBM, Altman and others 2023): payments between accounts of many banks, as CSV.

Its header names `Account` twice: the payer's first, then the payee's. A payment is an entry on
two statements, each in its own currency.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fieldfare.client.records.canonical_bank import Channel, Direction
from fieldfare.client.records.importers.base import LABELS, ImportOptions, open_folder
from fieldfare.client.records.importers.csv_rows import (
    FIELDS,
    Value,
    bare,
    file_forms,
    flag_value,
    level_value,
    numbered_rows,
    text_value,
    time_value,
)
from fieldfare.client.records.importers.sides import PAYEE, PAYER, SeenAccounts, entries
from fieldfare.client.records.money import minor_digits
from fieldfare.client.records.sources.sql import literal

BITCOIN: Final = "XBT"  # as markets write it; ISO 4217 has none
_BITCOIN_DIGITS: Final = 8
_HEADER: Final = (
    "Timestamp", "From Bank", "Account", "To Bank", "Account.1", "Amount Received",
    "Receiving Currency", "Amount Paid", "Payment Currency", "Payment Format", "Is Laundering",
)  # fmt: skip
_CURRENCIES: Final = {
    "US Dollar": "USD", "Euro": "EUR", "Yuan": "CNY", "Rupee": "INR", "Ruble": "RUB",
    "Yen": "JPY", "UK Pound": "GBP", "Brazil Real": "BRL", "Mexican Peso": "MXN",
    "Australian Dollar": "AUD", "Canadian Dollar": "CAD", "Shekel": "ILS", "Saudi Riyal": "SAR",
    "Swiss Franc": "CHF", "Bitcoin": BITCOIN,
}  # fmt: skip
_OUT: Final[Mapping[str, str]] = {
    "ACH": Channel.ACH, "Wire": Channel.WIRE, "Cheque": Channel.CHEQUE, "Credit Card": Channel.POS,
    "Cash": Channel.CASH_WD, "Bitcoin": Channel.VASP_OUT, "Reinvestment": Channel.ACH,
}  # fmt: skip
_IN: Final = {**_OUT, "Cash": Channel.CASH_DEP, "Bitcoin": Channel.VASP_IN}
COLUMNS: Final = {
    "transactions": (
        "txn_id", "org_id", "account_id", "ts_utc", "direction", "amount_minor", "currency",
        "channel", "counterparty_key", "counterparty_org",
    ),
    "accounts": ("account_id", "customer_id"),
    "customers": ("customer_id",),
    LABELS: ("customer_id", "label"),
}  # fmt: skip
_MONEY: Final = {
    Direction.OUT: ("Amount Paid", "Payment Currency", _OUT),
    Direction.IN: ("Amount Received", "Receiving Currency", _IN),
}
_TOLD: Final = ("amount_minor", "currency", "channel")


def import_amlworld(files: Sequence[Path], out: Path, options: ImportOptions) -> list[str]:
    """Write AMLworld's payments as canonical records; returns counts of rows read, in lines.

    Raises:
        RecordsError: input that cannot be read, by file and line.
        UsageError: `out` cannot be written.
    """
    file_forms(files, {"payments": _HEADER}, repeats=True)
    read = 0
    with SeenAccounts() as seen, open_folder(out, options.having(COLUMNS)) as folder:
        for payments in _payments(files):
            read += payments.num_rows
            for direction in Direction:
                rows = _side(payments, direction, options)
                seen.add(rows, pc.cast(rows.column("marked"), pa.int8()))
                folder.add("transactions", rows)
        seen.write(folder)
    whose = f"bank {options.bank} alone" if options.bank else "all banks together; --bank takes one"
    return [
        f"read {read:,} payments; each is an entry out and an entry in, of {whose}",
        *folder.lines(),
    ]


def _side(payments: Any, direction: Direction, options: ImportOptions) -> Any:
    """Return the entries of one side, of one bank where one is named."""
    own, other = ("payer_bank", "payee_bank")[:: 1 if direction is Direction.OUT else -1]
    renamed = {own: "org_id", other: "counterparty_org"}
    renamed |= {f"{direction.value}_{name}": name for name in _TOLD}
    rows = entries(payments, direction, options.keyed)
    rows = rows.rename_columns([renamed.get(name, name) for name in rows.column_names])
    if not options.bank:
        return rows
    return rows.filter(pc.equal(rows.column("org_id"), options.bank))


def _payments(paths: Sequence[Path]) -> Iterator[Any]:
    values = {
        PAYER: _account("From Bank", "Account"),
        PAYEE: _account("To Bank", "Account.1"),
        "payer_bank": text_value("From Bank", "org_id"),
        "payee_bank": text_value("To Bank", "org_id"),
        "ts_utc": time_value("Timestamp"),
        "marked": flag_value("Is Laundering"),
    }
    for direction, (amount, currency, channels) in _MONEY.items():
        values |= {
            f"{direction.value}_amount_minor": _minor(amount, currency),
            f"{direction.value}_currency": level_value(currency, _CURRENCIES, "currency"),
            f"{direction.value}_channel": level_value("Payment Format", channels, "channel"),
        }
    return numbered_rows(paths, values, repeats=True)


def _account(bank: str, account: str) -> Value:
    """Return an account with its bank before it: numbers are given by each bank for itself."""
    return Value(f"{bare(bank)} || ':' || {bare(account)}", account, FIELDS["account_id"])


def _minor(amount: str, currency: str) -> Value:
    """Return an amount in minor units of the currency beside it, rounded to whole ones."""
    digits = {name: minor_digits(code) for name, code in _CURRENCIES.items()}
    digits["Bitcoin"] = _BITCOIN_DIGITS
    scale = " ".join(f"WHEN {literal(name)} THEN {10**n}" for name, n in digits.items())
    units = f"round(TRY_CAST({bare(amount)} AS DOUBLE) * CASE {bare(currency)} {scale} END)"
    return Value(f"TRY_CAST({units} AS BIGINT)", amount, FIELDS["amount_minor"])

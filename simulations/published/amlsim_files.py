"""AMLSim (IBM, Apache-2.0): accounts, transactions and alerts as CSV.

Read are the simulator's own output (accounts.csv, transactions.csv, alert_accounts.csv) and the
form of its published samples (nodes.csv, transactions.csv), told apart by their headers. A
transaction is an entry on two statements. Names, addresses, birth dates and numbers of persons in
accounts.csv are not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fieldfare.client.records.canonical_bank import Channel, Direction
from fieldfare.client.records.importers.base import (
    LABELS,
    CanonicalFolder,
    ImportOptions,
    open_folder,
)
from fieldfare.client.records.importers.csv_rows import (
    FIELDS,
    CsvFiles,
    Value,
    file_forms,
    flag_value,
    level_value,
    minor_value,
    numbered_rows,
    text_value,
    time_value,
)
from fieldfare.client.records.importers.sides import PAYEE, PAYER, belonging, entries
from fieldfare.client.records.sources.sql import literal
from fieldfare.shared.errors import RecordsError

NO_CURRENCY: Final = "XXX"  # ISO 4217: no currency is involved
_CHANNELS: Final = {
    "TRANSFER": Channel.P2P, "WIRE": Channel.WIRE, "ACH": Channel.ACH, "CREDIT": Channel.ACH,
    "DEBIT": Channel.ACH, "CHECK": Channel.CHEQUE,
}  # fmt: skip
_FORMS: Final = {
    "nodes": ("nodeid", "isFraud"),
    "edges": ("sourceNodeId", "targetNodeId", "value", "time"),
    "accounts": ("acct_id", "acct_stat", "acct_rptng_crncy", "open_dt", "bank_id"),
    "alerts": ("alert_id", "acct_id", "is_sar"),
    "alert transactions": ("alert_type", "tran_id"),
    "transactions": ("tran_id", "orig_acct", "bene_acct", "tx_type", "base_amt", "tran_timestamp"),
}
_ENTRY: Final = (
    "txn_id", "account_id", "ts_utc", "direction", "amount_minor", "currency", "channel",
    "counterparty_key",
)  # fmt: skip
SAMPLE_COLUMNS: Final = {
    "transactions": _ENTRY,
    "accounts": ("account_id", "customer_id"),
    "customers": ("customer_id",),
    LABELS: ("customer_id", "label"),
}
OWN_COLUMNS: Final = {
    "transactions": _ENTRY,
    "accounts": ("account_id", "customer_id", "type", "currency", "opened", "status"),
    "customers": ("customer_id",),
    LABELS: ("customer_id", "label"),
}


def import_amlsim(files: Sequence[Path], out: Path, options: ImportOptions) -> list[str]:
    """Write AMLSim's files as canonical records; returns counts of rows read, in lines.

    Raises:
        RecordsError: input that cannot be read, by file and line.
        UsageError: `out` cannot be written.
    """
    found = file_forms(files, _FORMS)
    if found["alert transactions"]:
        raise RecordsError(
            f"{found['alert transactions'][0]}: expected each transaction once, found those of "
            "alerts in transactions.csv already; leave the file out"
        )
    sample = bool(found["nodes"])
    books, money = ("nodes", "edges") if sample else ("accounts", "transactions")
    strays = [name for name in _FORMS if found[name] and name not in {books, money, "alerts"}]
    if not found[books] or not found[money] or strays:
        raise RecordsError(
            "expected accounts.csv and transactions.csv of one simulation (or nodes.csv and "
            "transactions.csv of a sample), found another choice of files"
        )
    columns = options.having(SAMPLE_COLUMNS if sample else OWN_COLUMNS)
    with open_folder(out, columns) as folder:
        accounts = _accounts(found[books], options, sample=sample)
        if found["alerts"]:
            accounts = accounts.relabelled(_alerted(found["alerts"]))
        _write_accounts(folder, accounts)
        read, kept = 0, 0
        for payments in _payments(found[money], options, sample=sample):
            read += payments.num_rows
            for direction in (Direction.OUT, Direction.IN):
                side = entries(payments, direction, options.keyed)
                mine = accounts.priced(belonging(side, accounts.ids))
                kept += mine.num_rows
                folder.add("transactions", mine)
    whose = f" of bank {options.bank}" if options.bank else ""
    said = f"read {read:,} transactions; each is an entry out and an entry in, {kept:,} of them on "
    return [f"{said}accounts that are listed{whose}", *folder.lines()]


@dataclass(frozen=True)
class _Accounts:
    """Arrow: account_id, label, currency and the form's further columns."""

    table: Any

    @property
    def ids(self) -> Any:
        return self.table.column("account_id").combine_chunks()

    def relabelled(self, alerted: Any) -> "_Accounts":
        """Return the accounts with these labelled and no others."""
        label = pc.cast(pc.is_in(self.ids, alerted), pa.int8())
        place = self.table.column_names.index("label")
        return _Accounts(self.table.set_column(place, "label", label))

    def priced(self, rows: Any) -> Any:
        """Return entries in the currency of their account."""
        place = pc.index_in(rows.column("account_id"), self.ids)
        return rows.append_column("currency", self.table.column("currency").take(place))


def _accounts(paths: Sequence[Path], options: ImportOptions, *, sample: bool) -> _Accounts:
    values = _node_values() if sample else _account_values(options)
    table = pa.concat_tables(_tables(paths, values))
    if options.bank and not sample:
        table = table.filter(pc.equal(table.column("bank"), options.bank))
    ids = table.column("account_id")
    if pc.count_distinct(ids).as_py() < table.num_rows or not table.num_rows:
        raise RecordsError(
            f"{paths[0]}: expected accounts that stand there once, found none or one twice"
        )
    return _Accounts(table)


def _tables(paths: Sequence[Path], values: Mapping[str, Value]) -> Iterator[Any]:
    for file in CsvFiles(paths):
        yield from file.rows(values)


def _node_values() -> dict[str, Value]:
    return {
        "account_id": text_value("nodeid", "account_id"),
        "label": flag_value("isFraud"),
        "currency": Value(literal(NO_CURRENCY), "nodeid"),
    }


def _account_values(options: ImportOptions) -> dict[str, Value]:
    opened = time_value("open_dt", literal_day(options))
    written = time_value("open_dt")
    day = Value(f"CAST(coalesce({opened.sql}, {written.sql}) AS DATE)", "open_dt", needed=False)
    return {
        "account_id": text_value("acct_id", "account_id"),
        "label": flag_value("prior_sar_count"),
        "currency": text_value("acct_rptng_crncy", "currency"),
        "type": text_value("type", "type", needed=False),
        "status": text_value("acct_stat", "status", needed=False),
        "opened": day,
        "bank": text_value("bank_id", "org_id", needed=False),
    }


def literal_day(options: ImportOptions) -> str:
    """Return SQL for noon of the day of step 0: no hour is known, and noon is no night."""
    return f"CAST({literal(f'{options.start.isoformat()} 12:00:00')} AS TIMESTAMP)"


def _alerted(paths: Sequence[Path]) -> Any:
    """Return the accounts that an alert says are true ones."""
    values = {"account_id": text_value("acct_id", "account_id"), "sar": flag_value("is_sar")}
    table = pa.concat_tables(_tables(paths, values))
    return table.filter(table.column("sar")).column("account_id").combine_chunks()


def _write_accounts(folder: CanonicalFolder, accounts: _Accounts) -> None:
    table = accounts.table
    table = table.append_column("customer_id", table.column("account_id"))
    for name in ("accounts", "customers", LABELS):
        folder.add(name, table)


def _payments(paths: Sequence[Path], options: ImportOptions, *, sample: bool) -> Iterator[Any]:
    if sample:
        return numbered_rows(paths, _edge_values(options))
    return _tables(paths, _transaction_values(options))


def _edge_values(options: ImportOptions) -> dict[str, Value]:
    return {
        PAYER: text_value("sourceNodeId", "account_id"),
        PAYEE: text_value("targetNodeId", "account_id"),
        "amount_minor": minor_value("value"),
        "ts_utc": time_value("time", literal_day(options)),
        "channel": Value(literal(Channel.P2P), "value"),
    }


def _transaction_values(options: ImportOptions) -> dict[str, Value]:
    step, written = time_value("tran_timestamp", literal_day(options)), time_value("tran_timestamp")
    return {
        "txn_id": text_value("tran_id", "txn_id"),
        PAYER: text_value("orig_acct", "account_id"),
        PAYEE: text_value("bene_acct", "account_id"),
        "amount_minor": minor_value("base_amt"),
        "ts_utc": Value(f"coalesce({step.sql}, {written.sql})", "tran_timestamp", FIELDS["ts_utc"]),
        "channel": level_value("tx_type", _CHANNELS, "channel"),
    }

"""PaySim (Lopez-Rojas, Elmir, Axelsson 2016): mobile money of one provider, as CSV.

A transfer is an entry on two statements; everything else is one on the customer's own, since the
data say nothing about merchants and agents. Balances have no canonical field. A step is an hour,
but the files do not say which one of the day, so there are no local times.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from fieldfare.client.records.canonical_bank import Channel, CounterpartyType, Direction
from fieldfare.client.records.importers.base import LABELS, ImportOptions, open_folder
from fieldfare.client.records.importers.csv_rows import (
    Value,
    file_forms,
    flag_value,
    level_value,
    minor_value,
    numbered_rows,
    text_value,
    time_value,
)
from fieldfare.client.records.importers.sides import PAYEE, PAYER, SeenAccounts, entries
from fieldfare.client.records.sources.sql import literal
from fieldfare.simulations.published.amlsim_files import NO_CURRENCY

_HEADER: Final = ("step", "type", "amount", "nameOrig", "nameDest", "isFraud")
_CHANNELS: Final = {
    "CASH_IN": Channel.CASH_DEP,
    "CASH_OUT": Channel.CASH_WD,
    "DEBIT": Channel.ACH,  # to the customer's account at a bank
    "PAYMENT": Channel.POS,
    "TRANSFER": Channel.P2P,
}
COLUMNS: Final = {
    "transactions": (
        "txn_id", "account_id", "ts_utc", "direction", "amount_minor", "currency", "channel",
        "merchant_key", "counterparty_key", "counterparty_type",
    ),
    "accounts": ("account_id", "customer_id"),
    "customers": ("customer_id",),
    LABELS: ("customer_id", "label"),
}  # fmt: skip


def import_paysim(files: Sequence[Path], out: Path, options: ImportOptions) -> list[str]:
    """Write PaySim's files as canonical records; returns counts of rows read, in lines.

    Raises:
        RecordsError: input that cannot be read, by file and line.
        UsageError: `out` cannot be written.
    """
    file_forms(files, {"transactions": _HEADER})
    read = 0
    with SeenAccounts() as seen, open_folder(out, options.having(COLUMNS)) as folder:
        for payments in _payments(files, options):
            read += payments.num_rows
            for rows in _statements(payments, options):
                seen.add(rows, pc.cast(rows.column("fraud"), pa.int8()))
                folder.add("transactions", rows)
        seen.write(folder)
    return [
        f"read {read:,} transactions; a transfer is two entries, all others one",
        *folder.lines(),
    ]


def _payments(paths: Sequence[Path], options: ImportOptions) -> Iterator[Any]:
    first = f"CAST({literal(options.start.isoformat())} AS TIMESTAMP) - INTERVAL 1 HOUR"
    values = {
        PAYER: text_value("nameOrig", "account_id"),
        PAYEE: text_value("nameDest", "account_id"),
        "amount_minor": minor_value("amount"),
        "ts_utc": time_value("step", first, "hour"),
        "channel": level_value("type", _CHANNELS, "channel"),
        "currency": Value(literal(NO_CURRENCY), "amount"),
        "fraud": flag_value("isFraud"),
    }
    return numbered_rows(paths, values)


def _statements(payments: Any, options: ImportOptions) -> Iterator[Any]:
    """Give the entries of each direction, with what is known of the other side."""
    channel = payments.column("channel")
    transfer, cash_in = pc.equal(channel, Channel.P2P), pc.equal(channel, Channel.CASH_DEP)
    yield _told(entries(payments.filter(pc.invert(cash_in)), Direction.OUT, options.keyed))
    received = entries(payments.filter(transfer), Direction.IN, options.keyed)
    yield _told(received)
    deposits = payments.filter(cash_in)
    # The customer pays in, and is named first all the same: the other is an agent.
    swapped = deposits.rename_columns(
        [{PAYER: PAYEE, PAYEE: PAYER}.get(name, name) for name in deposits.column_names]
    )
    yield _told(entries(swapped, Direction.IN, options.keyed))


def _told(rows: Any) -> Any:
    """Say what the other side is: a merchant, a person, or only the provider's agent."""
    channel, key = rows.column("channel"), rows.column("counterparty_key")
    bought, sent = pc.equal(channel, Channel.POS), pc.equal(channel, Channel.P2P)
    kinds = pc.if_else(
        bought,
        CounterpartyType.BUSINESS.value,
        pc.if_else(sent, CounterpartyType.PERSON.value, CounterpartyType.UNKNOWN.value),
    )
    none = pa.scalar(None, pa.string())
    return (
        rows.drop_columns(["counterparty_key"])
        .append_column("counterparty_key", pc.if_else(pc.or_(bought, sent), key, none))
        .append_column("merchant_key", pc.if_else(bought, key, none))
        .append_column("counterparty_type", kinds)
    )

"""A payment between two accounts as entries of statements, and the accounts that are seen so."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from fieldfare.client.records.canonical_bank import Direction
from fieldfare.client.records.importers.base import LABELS, CanonicalFolder, KeyedHash
from fieldfare.client.records.sources.engine import BATCH_ROWS

ACCOUNT: Final = "account"  # what kind of name is hashed
PAYER: Final = "payer"  # the columns in which a payment names its two accounts
PAYEE: Final = "payee"


def entries(payments: Any, direction: Direction, keyed: KeyedHash) -> Any:
    """Return one side of payments: whose statement it is, and the keyed other side.

    Args:
        payments: Arrow table with `payer` and `payee`, and what both sides share.
        direction: out for the payer's statements, in for the payee's.
        keyed: hashes the other account.
    """
    mine, other = (PAYER, PAYEE) if direction is Direction.OUT else (PAYEE, PAYER)
    return (
        payments.drop_columns([PAYER, PAYEE])
        .append_column("account_id", payments.column(mine))
        .append_column("counterparty_key", keyed.column(ACCOUNT, payments.column(other)))
        .append_column("direction", pa.repeat(direction.value, payments.num_rows))
    )


def belonging(rows: Any, accounts: Any) -> Any:
    """Return the entries of those accounts."""
    return rows.filter(pc.is_in(rows.column("account_id"), accounts))


class SeenAccounts:
    """Accounts that a source without a list of them names, each with the largest label seen."""

    def __init__(self) -> None:
        """Collect in an engine in memory that reaches nothing."""
        self._connection = duckdb.connect(":memory:", config={"enable_external_access": "false"})
        self._connection.execute("CREATE TABLE seen (account_id VARCHAR, label TINYINT)")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the engine."""
        self._connection.close()

    def add(self, rows: Any, labels: Any) -> None:
        """Take the accounts of entries, and a label (0 or 1) for each entry."""
        arriving = pa.table({"account_id": rows.column("account_id"), "label": labels})
        self._connection.register("arriving", arriving)
        self._connection.execute(
            "INSERT INTO seen SELECT account_id, max(label) FROM arriving GROUP BY account_id"
        )
        self._connection.unregister("arriving")

    def tables(self) -> Iterator[Any]:
        """Give every account once, as Arrow: account_id, customer_id (the same), label."""
        query = (
            "SELECT account_id, account_id AS customer_id, max(label) AS label FROM seen "
            "GROUP BY account_id ORDER BY account_id"
        )
        reader = self._connection.execute(query).to_arrow_reader(BATCH_ROWS)
        yield from (pa.Table.from_batches([batch]) for batch in reader)

    def write(self, folder: CanonicalFolder) -> None:
        """Write every account, as its own holder, and its label."""
        for table in self.tables():
            for name in ("accounts", "customers", LABELS):
                folder.add(name, table)

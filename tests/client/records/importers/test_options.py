"""What an institution lacks is left out of its columns, and nothing else."""

from tests.support.imports import KEYED

from fieldfare.client.records.importers.base import ImportOptions


def test_lacking_takes_columns_out() -> None:
    options = ImportOptions(KEYED, lacking=frozenset({"transactions.mcc"}))
    columns = {"transactions": ("txn_id", "mcc"), "accounts": ("mcc",)}
    assert options.having(columns) == {"transactions": ["txn_id"], "accounts": ["mcc"]}

"""Account features from the AMLSim sample simulations: two simulations, six banks.

A folder holds `bank_a` and `bank_b`, each with `nodes.csv.gz` (nodeid, isFraud,
init_balance, fraudStep) and `transactions.csv.gz` (sourceNodeId, targetNodeId, value,
time). Each simulation splits by `nodeid % 3` into three banks.

First every transaction becomes two statement entries, a debit on the source's own
statement and a credit on the target's; then `amlsim.sql` reads each statement alone, so
every feature is `own` (docs/design.md, "The unit").

The pack's indicators over published simulations: one row for each account, to try studies on.
"""

import tempfile
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.importers.base import (
    FIRST_DAY,
    KEY_BYTES,
    LABELS,
    ImportOptions,
    KeyedHash,
)
from fieldfare.client.records.sources.source import open_source
from fieldfare.client.typologies.extract import open_extract
from fieldfare.client.typologies.features import UNIT, FeatureTable, feature_table
from fieldfare.client.typologies.pack import Pack, own_pack
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.simulations.published.amlsim_files import import_amlsim

SIMULATIONS: Final = ("bank_a", "bank_b")
BANKS_PER_SIMULATION: Final = 3

_NODES: Final = {
    "node": "CAST(nodeid AS BIGINT)",
    "label": "CAST(isFraud AS TINYINT)",
    "init_balance": "CAST(init_balance AS DOUBLE)",
}
_TRANSACTIONS: Final = {
    "source": "CAST(sourceNodeId AS BIGINT)",
    "target": "CAST(targetNodeId AS BIGINT)",
    "cents": 'CAST(round(CAST("value" AS DOUBLE) * 100) AS BIGINT)',
    "step": 'CAST("time" AS BIGINT)',
}


def _columns(path: Path, columns: dict[str, str], needed: tuple[str, ...]) -> Any:
    with open_source(path) as source:
        absent = [name for name in needed if name not in source.columns]
        if absent:
            raise RecordsError(
                f"{path}: expected columns {', '.join(absent)}, found none; AMLSim's own files are "
                "needed"
            )
        query = [f"{expression} AS {name}" for name, expression in columns.items()]
        return pa.Table.from_batches(source.batches(query))


def read_simulation(folder: Path, name: str) -> tuple[Any, Any]:
    """Read one simulation as (accounts, statement), both Arrow tables.

    Accounts: unit, institution, label, init_balance. Statement: unit, credit,
    counterparty, cents, step; one row per entry, two per transaction.

    Raises:
        RecordsError: a file is missing or is none of AMLSim's.
    """
    nodes = _columns(folder / name / "nodes.csv.gz", _NODES, ("nodeid", "isFraud", "init_balance"))
    transactions = _columns(
        folder / name / "transactions.csv.gz",
        _TRANSACTIONS,
        ("sourceNodeId", "targetNodeId", "value", "time"),
    )
    prefix = name.removeprefix("bank_")
    with _connection() as connection:
        connection.register("nodes", nodes)
        connection.register("transactions", transactions)
        accounts = connection.execute(
            f"SELECT '{prefix}-' || node AS unit, '{name}_' || node % {BANKS_PER_SIMULATION} "
            "AS institution, label, init_balance FROM nodes"
        ).to_arrow_table()
        statement = connection.execute(
            f"SELECT '{prefix}-' || source AS unit, false AS credit, target AS counterparty, "
            "cents, step FROM transactions UNION ALL "
            f"SELECT '{prefix}-' || target, true, source, cents, step FROM transactions"
        ).to_arrow_table()
    return accounts, statement


def account_features(accounts: Any, statement: Any) -> Any:
    """Return unit, institution, label and the features of every account, in unit order.

    An account's row depends on its own row of `accounts` and its own entries of
    `statement`, bit for bit; both are Arrow tables as `read_simulation` returns them.
    """
    query = (
        resources.files("fieldfare.simulations.published").joinpath("amlsim.sql").read_text("utf-8")
    )
    with _connection() as connection:
        connection.register("account", accounts)
        connection.register("statement", statement)
        return connection.execute(query).to_arrow_table()


def derive_amlsim(folder: Path, out: Path) -> None:
    """Write the accounts of `folder`'s simulations to the Parquet file `out`.

    Same input, same bytes.

    Raises:
        RecordsError: a file is missing or is none of AMLSim's.
        UsageError: `out` is no Parquet file's name, or cannot be written.
    """
    if out.suffix != ".parquet":
        raise UsageError(f"--out: expected a name that ends in .parquet, found {out.name}")
    accounts, statements = zip(
        *(read_simulation(folder, name) for name in SIMULATIONS), strict=True
    )
    table = account_features(pa.concat_tables(accounts), pa.concat_tables(statements))
    try:
        pq.write_table(table, out, compression="zstd")
    except OSError as error:
        raise UsageError(
            f"--out: expected a file that can be written, found: {error.strerror}"
        ) from None


def _connection() -> duckdb.DuckDBPyConnection:
    """One thread: the order of work, and so every bit, is the same on every machine."""
    return duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": "false"})


# -- published ------------------------------------------------------------------------------------

LAST_DAY: Final[date] = FIRST_DAY + timedelta(days=149)  # the samples' last step
PUBLISHED: Final = KeyedHash(bytes(KEY_BYTES))  # no person to protect; the same bytes everywhere


def derive_amlsim_pack(folder: Path, out: Path) -> list[str]:
    """Write unit, institution, label and indicators of AMLSim's two samples to a Parquet file.

    The same accounts, banks and labels as `derive_amlsim`; records go through the importer. What
    the samples lack the fields for is left out, and named in the lines that are returned.

    Raises:
        RecordsError: a file is missing or is none of AMLSim's.
        UsageError: `out` is no Parquet file's name, or cannot be written.
    """
    if out.suffix != ".parquet":
        raise UsageError(f"--out: expected a name that ends in .parquet, found {out.name}")
    pack = own_pack()
    parts = [_units(folder, name, pack) for name in SIMULATIONS]
    missing = parts[0][1].missing
    kept = [one.id for one in pack.indicators if one.id not in missing]
    try:
        pq.write_table(pa.concat_tables(table for table, _ in parts), out, compression="zstd")
    except OSError as error:
        raise UsageError(
            f"--out: expected a file that can be written, found: {error.strerror}"
        ) from None
    lacking = [
        f"{name}: missing, without {', '.join(columns)}" for name, columns in missing.items()
    ]
    return [f"computed: {', '.join(kept)}", *lacking]


def _units(folder: Path, simulation: str, pack: Pack) -> tuple[Any, FeatureTable]:
    files = [folder / simulation / name for name in ("nodes.csv.gz", "transactions.csv.gz")]
    with tempfile.TemporaryDirectory() as room:
        canonical = Path(room) / "canonical"
        import_amlsim(files, canonical, ImportOptions(PUBLISHED))
        with open_extract(canonical, LAST_DAY) as extract:
            computed = feature_table(extract, pack)
        labels = pq.read_table(canonical / f"{LABELS}.parquet")
    nodes = computed.table.column(UNIT)
    place = pc.index_in(nodes, labels.column("customer_id").combine_chunks())
    prefix = simulation.removeprefix("bank_")
    banks = [f"{simulation}_{int(node) % BANKS_PER_SIMULATION}" for node in nodes.to_pylist()]
    columns = {
        UNIT: pc.binary_join_element_wise(prefix, nodes, "-"),
        "institution": pa.array(banks),
        "label": labels.column("label").take(place),
    }
    columns |= {name: computed.table.column(name) for name in _computed(computed, pack)}
    table = pa.table(columns)
    return table.sort_by([("institution", "ascending"), (UNIT, "ascending")]), computed


def _computed(computed: FeatureTable, pack: Pack) -> list[str]:
    return [
        spec.name
        for one in pack.indicators
        if one.id not in computed.missing
        for spec in one.typology.features
    ]

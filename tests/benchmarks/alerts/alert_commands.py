"""Processor time of an analyst's commands on 20,000 customers, start-up included.

    python -m tests.benchmarks.alerts.alert_commands [--customers 20000] [--runs 3] [--json]

Made-up customers are scored and their alerts kept in a home; then each command is typed as a
process of its own, as an analyst types it: list, card, decision, labels, drafts of a report, the
last ones with the customer's own entries out of 1.6 million, from Parquet and from CSV. What counts
is processor time, which other programs disturb less than the clock. Ends with 1 where a command
takes more than is promised.
"""

import resource
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv
from tests.benchmarks.harness import (
    COMMAND,
    FOLDER,
    Bench,
    BenchRow,
    at_most,
    run_process,
)
from tests.benchmarks.scoring import SEED
from tests.benchmarks.scoring import customers as pack_customers

from fieldfare.client.alerts.alert import alert_id, alert_of
from fieldfare.client.alerts.store import open_store
from fieldfare.client.home.layout import Home
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import rank_units
from fieldfare.client.scoring.ranking_table import AlertTable
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.client.scoring.units import read_units
from fieldfare.shared.models import model_for

CUSTOMERS: Final = 20_000
ENTRIES: Final = 80  # of each customer, in ninety days
SHARE: Final = 0.02  # of customers that are alerts
RUNS: Final = 3
MOST_SECONDS: Final = 1.0
CSV_SECONDS: Final = 3.0
OPENED: Final = datetime(2026, 4, 1, tzinfo=UTC)
_KEY: Final = b"bench"
_CSV: Final = "a draft with entries, from CSV"


def make_alert_home(folder: Path, customers: int) -> tuple[Path, str]:
    """Make a home whose alerts are kept; return it and the id of one alert."""
    home = folder / "home"
    typed("init", "--id", "bench", "--home", str(home))
    study = pack_customers().study(customers)
    pack_customers().write(folder / "units.parquet", customers)
    units = read_units([table_at(folder / "units.parquet")], study)
    generator = np.random.default_rng(SEED)
    parameters = generator.normal(0, 0.5, model_for(study).vectors.entries)
    ranking = rank_units(
        study, parameters, units, budget=AlertBudget(share=SHARE), key=_KEY, random=generator
    )
    rows = AlertTable.of(ranking, {}).cards(np.flatnonzero(ranking.chosen)).to_pylist()
    time = OPENED.isoformat(timespec="seconds")
    beside = {"study": study.id, "study_name": study.name, "run": "bench", "opened": time,
              "scored": time, "of": len(units), "calibration": "none"}  # fmt: skip
    alerts = [alert_of(row, alert=alert_id(_KEY, row["unit"], OPENED), **beside) for row in rows]
    with open_store(Home.open(home)) as store:
        store.put(alerts)
    write_entries(folder, [alert.unit for alert in alerts[:1]], customers)
    return home, alerts[0].alert


def write_entries(folder: Path, first: Sequence[str], customers: int) -> None:
    """Write canonical records of made-up customers, as Parquet and as CSV; `first` come first."""
    generator, count = np.random.default_rng(SEED), customers * ENTRIES
    ids = [*first, *(f"OTHER{row:09d}" for row in range(customers - len(first)))]
    accounts = pa.array([f"A-{one}" for one in ids])
    owner = generator.integers(0, customers, count)
    moment = np.datetime64("2026-01-01", "us") + generator.integers(0, 90 * 86_400, count).astype(
        "timedelta64[s]"
    )
    tables = {
        "customers": pa.table({"customer_id": ids}),
        "accounts": pa.table({"account_id": accounts, "customer_id": ids}),
        "transactions": pa.table(
            {
                "txn_id": pa.array([f"t{row:012d}" for row in range(count)]),
                "account_id": accounts.take(pa.array(owner)),
                "ts_utc": pa.array(moment),
                "direction": pa.array(["in", "out"]).take(pa.array(owner % 2)),
                "amount_minor": pa.array(generator.integers(100, 90_000, count)),
                "currency": pa.repeat("EUR", count),
                "channel": pa.array(["POS", "P2P", "WIRE"]).take(pa.array(owner % 3)),
                "counterparty_key": pa.array([f"{one:064x}" for one in owner[::-1].tolist()]),
            }
        ),
    }
    for kind in ("parquet", "csv"):
        (folder / kind).mkdir()
    for name, table in tables.items():
        pq.write_table(table, folder / "parquet" / f"{name}.parquet")
        csv.write_csv(table, folder / "csv" / f"{name}.csv")


def commands(folder: Path, home: Path, alert: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what an analyst types, in the order of a day; `{}` is another number each time."""
    at = ["--home", str(home)]
    decision = ["--disposition", "escalate", "--role", "controller"]
    draft = ["export", alert, "--format", "goaml", *at, "--out", f"{folder}/{{}}.xml"]
    yield "the list of alerts", ["alerts", *at]
    yield "one alert's card", ["alerts", alert, *at]
    yield "a decision", ["act", alert, "decide", *decision, *at]
    yield "labels", ["labels", *at, "--out", f"{folder}/{{}}.csv"]
    yield "a draft of a report", draft
    yield "a draft with entries, from Parquet", [*draft, "--transactions", f"{folder}/parquet"]
    yield _CSV, [*draft, "--transactions", f"{folder}/csv"]


def measure(customers: int = CUSTOMERS, runs: int = RUNS) -> list[dict[str, Any]]:
    """Make alerts, type every command `runs` times, and return the least seconds of each."""
    found, number = [], 0
    with TemporaryDirectory(prefix=FOLDER) as name:
        folder = Path(name)
        home, alert = make_alert_home(folder, customers)
        for what, arguments in commands(folder, home, alert):
            taken = []
            for _ in range(runs):
                number += 1
                taken.append(typed(*(one.format(number) for one in arguments)))
            most = CSV_SECONDS if what == _CSV else MOST_SECONDS
            row = {"name": what, "customers": customers, "seconds": min(taken), "most": most}
            found.append(row)
    return found


def typed(*arguments: str) -> float:
    """Run a command; return seconds of processor, its own and the system's for it.

    Raises:
        RunError: it failed.
    """
    before = _children()
    run_process([*COMMAND, "institution", *arguments])
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def promises(found: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of each command."""
    return [
        at_most(
            f"{one['name']}, {one['customers']:,} customers",
            one["seconds"],
            one["most"],
            "s",
            digits=2,
        )
        for one in found
    ]


BENCH: Final = Bench(measure, promises)

if __name__ == "__main__":
    BENCH.app()()

"""Processor time of an analyst's commands on 20,000 customers, start-up included.

    python -m fieldfare.simulations.bench.desk [--customers 20000] [--runs 3]

Made-up customers are scored and their alerts kept in a home; then each command is typed as a
process of its own, as an analyst types it: list, card, decision, labels, drafts of a report, the
last ones with the customer's own entries out of 1.6 million, from Parquet and from CSV. What counts
is processor time, which other programs disturb less than the clock. Ends with 1 where a command
takes more than is promised.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from fieldfare.client.alerts.alert import alert_id, alert_of
from fieldfare.client.alerts.store import open_store
from fieldfare.client.home.layout import Home
from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import rank_units
from fieldfare.client.scoring.ranking_table import AlertTable
from fieldfare.client.scoring.selection import Budget
from fieldfare.client.scoring.units import read_units
from fieldfare.shared.models import model_for
from fieldfare.simulations.bench.scoring import SEED, bench_study, write_units

CUSTOMERS: Final = 20_000
ENTRIES: Final = 80  # of each customer, in ninety days
SHARE: Final = 0.02  # of customers that are alerts
RUNS: Final = 3
MOST_SECONDS: Final = 1.0
CSV_SECONDS: Final = 3.0
COMMAND: Final = (sys.executable, "-c", "from fieldfare.shared.cli.root import main; main()")
OPENED: Final = datetime(2026, 4, 1, tzinfo=UTC)
_KEY: Final = b"bench"
_CSV: Final = "a draft with entries, from CSV"


@dataclass(frozen=True)
class Typed:
    """The cost of one command.

    Attributes:
        name: its task.
        seconds: of processor, the least of the runs.
        most: the promised limit.
    """

    name: str
    seconds: float
    most: float

    @property
    def holds(self) -> bool:
        """True where the promise holds."""
        return self.seconds <= self.most


def make_desk(folder: Path, customers: int) -> tuple[Path, str]:
    """Make a home whose alerts are kept; return it and the id of one alert."""
    home = folder / "home"
    typed("init", "--id", "bench", "--home", str(home))
    study = bench_study(customers)
    write_units(folder / "units.parquet", study, customers)
    units = read_units([table_at(folder / "units.parquet")], study)
    generator = np.random.default_rng(SEED)
    parameters = generator.normal(0, 0.5, model_for(study).vectors.entries)
    ranking = rank_units(study, parameters, units, budget=Budget(share=SHARE), key=_KEY,
                         random=generator)  # fmt: skip
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
    yield "one alert's card", ["alert", "show", alert, *at]
    yield "a decision", ["feedback", alert, *decision, *at]
    yield "labels", ["labels", *at, "--out", f"{folder}/{{}}.csv"]
    yield "a draft of a report", draft
    yield "a draft with entries, from Parquet", [*draft, "--transactions", f"{folder}/parquet"]
    yield _CSV, [*draft, "--transactions", f"{folder}/csv"]


def measure(customers: int = CUSTOMERS, runs: int = RUNS) -> list[Typed]:
    """Make a desk, type every command `runs` times, and return the least of each."""
    found, number = [], 0
    with TemporaryDirectory(prefix="fieldfare-bench-") as name:
        folder = Path(name)
        home, alert = make_desk(folder, customers)
        for what, arguments in commands(folder, home, alert):
            taken = []
            for _ in range(runs):
                number += 1
                taken.append(typed(*(one.format(number) for one in arguments)))
            found.append(Typed(what, min(taken), CSV_SECONDS if what == _CSV else MOST_SECONDS))
    return found


def typed(*arguments: str) -> float:
    """Run a command; return seconds of processor, its own and the system's for it."""
    before = _children()
    done = subprocess.run(  # noqa: S603 -- this very program
        [*COMMAND, "institution", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:2])}: {done.stderr}")
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def promises(
    found: Sequence[Typed], customers: int = CUSTOMERS
) -> list[tuple[str, str, str, bool]]:
    """Return rows as `make bench` shows them: what, measured, promised, whether it holds."""
    return [
        (f"{one.name}, {customers:,} customers", f"{one.seconds:.2f} s", f"{one.most:.0f} s",
         one.holds)
        for one in found
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line for each command, and return 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="bench_desk", description=__doc__)
    parser.add_argument("--customers", type=int, default=CUSTOMERS)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found = measure(options.customers, options.runs)
    if options.json:
        print(json.dumps([asdict(one) for one in found]))  # noqa: T201
        return 0
    for name, seconds, most, holds in promises(found, options.customers):
        verdict = "holds" if holds else "DOES NOT HOLD"
        print(f"{name}: {seconds} of processor; promised {most}: {verdict}")  # noqa: T201
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())

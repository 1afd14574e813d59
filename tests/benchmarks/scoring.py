"""Time and memory to score a million customers with reasons.

    python -m tests.benchmarks.scoring [--units 1000000] [--json]

Made-up customers with every feature of the indicators' pack are written as one Parquet file;
then a process of its own reads them, ranks them under a model, and writes everyone with reasons
to a file: all that `fieldfare institution score` does but its keys, its log and its few alerts.
Ends with 1 where it takes more than the promised 60 seconds or 2 GB.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, apart, at_most, peak_bytes
from tests.benchmarks.inputs import BenchCustomers

from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import rank_units
from fieldfare.client.scoring.ranking_table import AlertTable, write_alerts
from fieldfare.client.scoring.selection import AlertBudget
from fieldfare.client.scoring.units import read_units
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.errors import RunError
from fieldfare.shared.models import model_for

UNITS: Final = 1_000_000
MOST_SECONDS: Final = 60.0
MOST_BYTES: Final = 2 * 10**9
SEED: Final = 20260331
ALERTS: Final = 1000


def customers() -> BenchCustomers:
    """Return customers with every feature that the pack offers, under its public bounds."""
    return BenchCustomers(
        features=[
            spec.numeric(one.typology.tag)
            for one in own_pack().indicators
            for spec in one.typology.features
        ],
        draw=lambda generator, upper, rows: upper * generator.random(rows) ** 4,
        positive=0.005,
        absent=0.3,
        seed=SEED,
        at_once=250_000,
    )


def score(file: str, out: str, units: int) -> dict[str, Any]:
    """Score in this process.

    Returns:
        How many units and features; seconds of reading, ranking and writing, by the clock;
        seconds that all cores worked for it, which other programs disturb less; peak memory of
        the process; size of the file.

    Raises:
        RunError: another number of units.
    """
    study = customers().study(units)
    generator = np.random.default_rng(SEED)
    parameters = generator.normal(0, 0.5, model_for(study).vectors.entries)
    began, worked = time.perf_counter(), time.process_time()
    read = read_units([table_at(Path(file))], study)
    ready = time.perf_counter()
    ranking = rank_units(
        study, parameters, read, budget=AlertBudget(units=ALERTS), key=b"bench", random=generator
    )
    table = AlertTable.of(ranking, {})
    ranked = time.perf_counter()
    write_alerts(table, Path(out), {"run": "bench"})
    done = time.perf_counter()
    if len(ranking.units) != units:
        raise RunError(f"expected {units} units, found {len(ranking.units)}")
    return {
        "units": units,
        "features": len(study.features),
        "reading": ready - began,
        "ranking": ranked - ready,
        "writing": done - ranked,
        "processor": time.process_time() - worked,
        "peak_bytes": peak_bytes(),
        "file_bytes": Path(out).stat().st_size,
    }


def measure(units: int = UNITS) -> dict[str, Any]:
    """Time and memory to score made-up customers with reasons, in a process of its own."""
    with TemporaryDirectory(prefix=FOLDER) as folder:
        file, out = Path(folder) / "units.parquet", Path(folder) / "alerts.parquet"
        customers().write(file, units)
        found: dict[str, Any] = apart(score, file, out, units)
        return found


def _seconds(found: dict[str, Any]) -> float:
    return float(found["reading"] + found["ranking"] + found["writing"])


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of time and memory."""
    scored = f"{found['units']:,} customers scored with reasons"
    peak, most = found["peak_bytes"] / 1e6, MOST_BYTES / 1e6
    return [
        at_most(scored, _seconds(found), MOST_SECONDS, "s"),
        at_most("memory, scoring them", peak, most, "MB", digits=0),
    ]


def words(found: dict[str, Any]) -> list[str]:
    """Return where the time went."""
    text = (
        f"{found['units']:,} customers, {found['features']} features: {_seconds(found):.1f} s "
        f"(reading {found['reading']:.1f}, ranking {found['ranking']:.1f}, reasons and writing "
        f"{found['writing']:.1f}; processor {found['processor']:.1f}), "
        f"file {found['file_bytes'] / 1e6:,.0f} MB"
    )
    return [text]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

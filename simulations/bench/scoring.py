"""Time and memory to score a million customers with reasons.

    python -m fieldfare.simulations.bench.scoring [--units 1000000]

Made-up customers with every feature of the indicators' pack are written as one Parquet file;
then a process of its own reads them, ranks them under a model, and writes everyone with reasons
to a file: all that `fieldfare institution score` does but its keys, its log and its few alerts.
Ends with 1 where it takes more than the promised 60 seconds or 2 GB.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fieldfare.client.records.sources.source import table_at
from fieldfare.client.scoring.ranking import rank_units
from fieldfare.client.scoring.ranking_table import AlertTable, write_alerts
from fieldfare.client.scoring.selection import Budget
from fieldfare.client.scoring.units import read_units
from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.bench.records import peak_bytes

UNITS: Final = 1_000_000
MOST_SECONDS: Final = 60.0
MOST_BYTES: Final = 2 * 10**9
SEED: Final = 20260331
POSITIVE: Final = 0.005
ABSENT: Final = 0.3
ALERTS: Final = 1000
_GROUP: Final = 250_000  # rows made and written at once


@dataclass(frozen=True)
class Measure:
    """The cost of a scoring.

    Attributes:
        units, features: how many.
        reading, ranking, writing: seconds, wall clock.
        processor: seconds that all cores worked for it; less disturbed by other programs.
        peak_bytes: resident memory of the whole process at its highest.
        file_bytes: of everyone with reasons.
    """

    units: int
    features: int
    reading: float
    ranking: float
    writing: float
    processor: float
    peak_bytes: int
    file_bytes: int

    @property
    def seconds(self) -> float:
        """All together."""
        return self.reading + self.ranking + self.writing

    @property
    def holds(self) -> bool:
        """True where the promise holds."""
        return self.seconds <= MOST_SECONDS and self.peak_bytes <= MOST_BYTES


def bench_study(units: int) -> Study:
    """Return a study of every feature that the pack offers, under its public bounds."""
    features = [
        spec.numeric(one.typology.tag).model_dump(mode="json")
        for one in own_pack().indicators
        for spec in one.typology.features
    ]
    return Study.model_validate(
        {
            "name": "bench",
            "purpose": "measure",
            "records": {"unit": "unit", "label": "label", "units": units, "prevalence": POSITIVE},
            "features": features,
            "privacy": {"epsilon": 1, "delta": 1e-8},
        }
    )


def write_units(path: Path, study: Study, units: int) -> None:
    """Write made-up customers: ids of 14 characters in no order, a third of the values missing."""
    generator = np.random.default_rng(SEED)
    ids = generator.permutation(units)
    writer = None
    for start in range(0, units, _GROUP):
        table = _table(ids[start : start + _GROUP], study, generator)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def _table(ids: Any, study: Study, generator: np.random.Generator) -> Any:
    digits = pc.utf8_lpad(pa.array(ids).cast(pa.string()), width=10, padding="0")
    columns = {
        "unit": pc.binary_join_element_wise("CUST", digits, ""),
        "label": pa.array((generator.random(len(ids)) < POSITIVE).astype(np.int8)),
    }
    for feature in study.features:
        upper = getattr(feature, "upper", 1.0)
        values = upper * generator.random(len(ids)) ** 4
        columns[feature.name] = pa.array(values, mask=generator.random(len(ids)) < ABSENT)
    return pa.table(columns)


def measure(path: Path, out: Path, units: int) -> Measure:
    """Score in this process."""
    study = bench_study(units)
    generator = np.random.default_rng(SEED)
    parameters = generator.normal(0, 0.5, model_for(study).vectors.entries)
    began, worked = time.perf_counter(), time.process_time()
    read = read_units([table_at(path)], study)
    ready = time.perf_counter()
    ranking = rank_units(
        study, parameters, read, budget=Budget(units=ALERTS), key=b"bench", random=generator
    )
    table = AlertTable.of(ranking, {})
    ranked = time.perf_counter()
    write_alerts(table, out, {"run": "bench"})
    done = time.perf_counter()
    if len(ranking.units) != units:
        sys.exit(f"expected {units} units, found {len(ranking.units)}")
    return Measure(
        units=units,
        features=len(study.features),
        reading=ready - began,
        ranking=ranked - ready,
        writing=done - ranked,
        processor=time.process_time() - worked,
        peak_bytes=peak_bytes(),
        file_bytes=out.stat().st_size,
    )


def measured_apart(path: Path, out: Path, units: int) -> Measure:
    """Score in a process of its own, so that no memory of another counts."""
    module = [sys.executable, "-m", "fieldfare.simulations.bench.scoring"]
    arguments = ["--file", str(path), "--out", str(out), "--units", str(units)]
    done = subprocess.run([*module, *arguments], stdout=subprocess.PIPE, check=True)  # noqa: S603
    return Measure(**json.loads(done.stdout))


def speed_apart(units: int = UNITS) -> Measure:
    """Make up customers, and score them in a process of its own."""
    with TemporaryDirectory(prefix="fieldfare-bench-") as folder:
        file, out = Path(folder) / "units.parquet", Path(folder) / "alerts.parquet"
        write_units(file, bench_study(units), units)
        return measured_apart(file, out, units)


def promises(found: Measure) -> list[tuple[str, str, str, bool]]:
    """Return rows as `make bench` shows them: what, measured, promised, whether it holds."""
    peak = found.peak_bytes
    return [
        (f"{found.units:,} customers scored with reasons", f"{found.seconds:.1f} s",
         f"{MOST_SECONDS:.0f} s", found.seconds <= MOST_SECONDS),
        ("memory, scoring them", f"{peak / 1e6:,.0f} MB", f"{MOST_BYTES / 1e6:,.0f} MB",
         peak <= MOST_BYTES),
    ]  # fmt: skip


def line_of(found: Measure) -> str:
    """Return the measure as a line for people."""
    verdict = "holds" if found.holds else "does not hold"
    return (
        f"{found.units:,} customers, {found.features} features: {found.seconds:.1f} s "
        f"(reading {found.reading:.1f}, ranking {found.ranking:.1f}, reasons and writing "
        f"{found.writing:.1f}; processor {found.processor:.1f}), "
        f"{found.peak_bytes / 1e6:,.0f} MB, file {found.file_bytes / 1e6:,.0f} MB; promised "
        f"{MOST_SECONDS:.0f} s and {MOST_BYTES / 1e6:,.0f} MB: {verdict}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a line, and return 1 where the promise does not hold."""
    parser = argparse.ArgumentParser(prog="bench_scoring", description=__doc__)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.file is not None:
        print(json.dumps(asdict(measure(options.file, options.out, options.units))))  # noqa: T201
        return 0
    found = speed_apart(options.units)
    print(line_of(found))  # noqa: T201
    return 0 if found.holds else 1


if __name__ == "__main__":
    sys.exit(main())

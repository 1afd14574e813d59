"""Many institutions in one pass: processor time, memory, and how both grow.

    python -m tests.benchmarks.engines.one_pass [--institutions N] [--units N] [--steps N] [--json]
    python -m tests.benchmarks.engines.one_pass --institutions 10 --units 1000000 --growth 0

Each size is `fieldfare simulate --engine sums` in a process of its own: reading, holding out,
training, evaluation. Processor time, so that neighbours on a machine do not count. `--growth` is
how many further sizes are measured, each half of the one before, in institutions and in units.
"""

import json
import resource
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.benchmarks.harness import COMMAND, FOLDER, Bench, BenchRow, apart, at_most, run_process
from tests.benchmarks.inputs import study_toml, write_records

FEATURES: Final = 40
SECONDS, MEGABYTES = 60.0, 2000.0  # at 1,000 institutions of 1,000 units, 60 steps
EXPONENT: Final = 1.05


def one_size(folder: str, institutions: int, units: int, steps: int) -> dict[str, Any]:
    """Simulate one size; run in a process of its own, whose only child is the simulation.

    Returns:
        Processor seconds, peak megabytes, and seconds of wall clock by part.
    """
    place = Path(folder)
    records, study, out = place / "records.parquet", place / "study.toml", place / "out"
    total = institutions * units
    write_records(records, units=total, features=FEATURES, banks=institutions)
    study.write_text(study_toml(units=total, features=FEATURES, steps=steps), encoding="utf-8")
    chosen = ("--institution-column", "bank", "--engine", "sums", "--baselines", "", "--no-report")
    run_process([*COMMAND, "simulate", study, "--records", records, *chosen, "--out", out])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    timing = json.loads((out / "results.json").read_text(encoding="utf-8"))["timing"]
    return {
        "institutions": institutions,
        "units": units,
        "processor_seconds": used.ru_utime + used.ru_stime,
        "peak_megabytes": used.ru_maxrss / 1024,
        "timing": {name: value for name, value in timing.items() if name.endswith("seconds")},
    }


def measured(institutions: int, units: int, steps: int) -> dict[str, Any]:
    """Measure one size in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix=FOLDER) as folder:
        found: dict[str, Any] = apart(one_size, folder, institutions, units, steps)
    return found


def exponent(rows: list[dict[str, Any]], by: str, start: float) -> float:
    """Return the slope of log time over log size, start-up taken off."""
    sizes = np.log([row[by] for row in rows])
    times = np.log([max(row["processor_seconds"] - start, 1e-3) for row in rows])
    return float(np.polyfit(sizes, times, 1)[0])


def measure(
    institutions: int = 1000, units: int = 1000, steps: int = 60, growth: int = 3
) -> dict[str, Any]:
    """Simulate many institutions in one pass, and see how it grows."""
    whole = measured(institutions, units, steps)
    found: dict[str, Any] = {"steps": steps, "whole": whole}
    if growth:
        start = measured(3, 10, 0 if not steps else 1)["processor_seconds"]
        fewer = [measured(institutions >> n, units, steps) for n in range(1, growth + 1)]
        smaller = [measured(institutions, units >> n, steps) for n in range(1, growth + 1)]
        found |= {
            "start_seconds": start,
            "by_institutions": fewer,
            "by_units": smaller,
            "exponent_in_institutions": exponent([whole, *fewer], "institutions", start),
            "exponent_in_units": exponent([whole, *smaller], "units", start),
        }
    return found


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return the promises, at the size that they are about."""
    whole, rows = found["whole"], list[BenchRow]()
    if (whole["institutions"], whole["units"], found["steps"]) == (1000, 1000, 60):
        rows += [
            at_most("1,000 x 1,000 in one pass", whole["processor_seconds"], SECONDS, "s"),
            at_most("its memory", whole["peak_megabytes"], MEGABYTES, "MB", 0),
        ]
    for name in ("institutions", "units"):
        if f"exponent_in_{name}" in found:
            value = found[f"exponent_in_{name}"]
            rows.append(at_most(f"growth in {name}", value, EXPONENT, "", 2))
    return rows


def words(found: dict[str, Any]) -> list[str]:
    """Return a line for each size."""
    rows = [found["whole"], *found.get("by_institutions", []), *found.get("by_units", [])]
    return [
        f"{row['institutions']:,} x {row['units']:,}: {row['processor_seconds']:.1f} s of "
        f"processor, {row['peak_megabytes']:,.0f} MB"
        for row in rows
    ]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

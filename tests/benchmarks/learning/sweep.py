"""How long a sweep over AMLSim takes: 5 epsilons, 3 counts of institutions, 3 seeds.

    FIELDFARE_DATA=DIR python -m tests.benchmarks.learning.sweep [--engine ray] [--json]

In process on two cores; every point is the study of studies/amlsim.toml with real custodians, own
models, the shared one used at home, and the pool. Processor seconds are those of both processes,
so that others' work on the machine does not count; half of them is what two idle cores take.
"""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, at_most

from fieldfare.simulations.beside import beside
from fieldfare.simulations.published.amlsim import derive_amlsim
from fieldfare.simulations.sweeps.plan import sweep_of
from fieldfare.simulations.sweeps.points import SweepGrid
from fieldfare.simulations.sweeps.running import sweep

STUDY: Final = Path(__file__).parents[3] / "studies" / "amlsim.toml"
EPSILONS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
COUNTS: Final = (3, 5, 10)
SECONDS: Final = 180.0


def measure(engine: str = "custodians") -> dict[str, Any]:
    """Run the sweep of the issue, and return what it took."""
    with TemporaryDirectory(prefix=FOLDER) as folder:
        records = Path(folder) / "amlsim.parquet"
        derive_amlsim(Path(os.environ["FIELDFARE_DATA"]) / "amlsim", records)
        plan = sweep_of(
            str(STUDY), [str(records)], epsilon=EPSILONS, institutions=COUNTS, engine=engine
        )
        begun = time.perf_counter()

        def said(what: str, done: int, total: int) -> None:
            typer.echo(f"{time.perf_counter() - begun:6.0f} s  {done} of {total} {what}", err=True)

        with beside() as both:
            table = sweep(SweepGrid.of(plan), Path(folder) / "sweep", said, both)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    processor = sum(one.ru_utime + one.ru_stime for one in used)
    wall = time.perf_counter() - begun
    return {"rows": table.num_rows, "wall": wall, "processor": processor}


def promises(found: dict[str, Any]) -> Sequence[BenchRow]:
    """Return what is promised of it."""
    return [at_most("sweep of 45 points, two idle cores", found["processor"] / 2, SECONDS, "s")]


def words(found: dict[str, Any]) -> list[str]:
    """Return it in words."""
    return [f"{found['rows']} rows in {found['wall']:.0f} s beside whatever else ran"]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

"""All indicators over payments by the million, under one limit of memory.

    python -m tests.benchmarks.scale.indicators --millions 1 --millions 10 --limit 4096

makes payments by a seed, runs `fieldfare typologies run` over them in a memory cgroup, and prints a
line of JSON for each size: processor seconds for a million and the peak of all processes. Records
and results lie in a temporary folder (`--folder` says below which) and go afterwards.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from tests.benchmarks.scale.payments import AS_OF, make_payments
from tests.support.system.memory_group import memory_group

SECONDS = 7_200


def measured(millions: float, limit: int, folder: Path) -> dict[str, object]:
    """Make and run one size; returns what it took."""
    canonical = folder / "canonical"
    make_payments(canonical, round(millions * 1_000_000), seed=19)
    size = sum(file.stat().st_size for file in canonical.iterdir())
    out = folder / "features.parquet"
    command = [sys.executable, "-m", "fieldfare", "typologies", "run", canonical, "--as-of",
               AS_OF.isoformat(), "--out", out, "--memory", str(limit)]  # fmt: skip
    before = os.times()
    with memory_group(limit << 20) as group:
        done = group.run([str(one) for one in command], seconds=SECONDS)
        after = os.times()
        spent = after.children_user + after.children_system
        spent -= before.children_user + before.children_system
        if done.returncode:
            raise SystemExit(f"{millions} million: {done.stderr[-500:]}")
        return {
            "millions": millions,
            "limit_mb": limit,
            "processor_seconds": round(spent, 1),
            "seconds_for_a_million": round(spent / millions, 2),
            "elapsed_seconds": round(after.elapsed - before.elapsed, 1),
            "peak_mb": group.peak >> 20,
            "input_mb": size >> 20,
            "cores": os.cpu_count(),
            "said": done.stdout.splitlines()[0],
        }


def main(
    millions: Annotated[list[float] | None, typer.Option(help="Payments; 1 and 10.")] = None,
    limit: Annotated[int, typer.Option(help="MB that all processes may hold.")] = 4096,
    folder: Annotated[Path | None, typer.Option(help="Where there is room.")] = None,
) -> None:
    """Print a line of JSON for each size."""
    for one in millions or [1.0, 10.0]:
        with tempfile.TemporaryDirectory(dir=folder) as made:
            typer.echo(json.dumps(measured(one, limit, Path(made))))


if __name__ == "__main__":
    typer.run(main)

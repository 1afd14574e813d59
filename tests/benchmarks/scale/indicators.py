"""All indicators over payments by the million, under one limit of memory.

    python -m tests.benchmarks.scale.indicators --millions 1 --millions 10 --limit 4096

makes payments by a seed, runs `fieldfare typologies run` over them in a memory cgroup, and prints a
line of JSON for each size: processor seconds for a million and the peak of all processes. Records
and results lie in a temporary folder (`--folder` says below which) and go afterwards. Ends with 1
where a million of the largest takes too long beside a million of the smallest, and with 3 where it
could not be measured.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from tests.benchmarks.harness import NOT_MEASURED, BenchRow, Keep, at_most, line_of
from tests.benchmarks.kept.results import keep
from tests.benchmarks.scale.payments import AS_OF, make_large
from tests.support.system.memory_group import memory_group

from fieldfare.shared.errors import RunError

SECONDS: Final = 7_200
GROWTH: Final = 1.3  # of the time for a million, from the smallest size to the largest


def measured(millions: float, limit: int, folder: Path) -> dict[str, Any]:
    """Make and run one size; returns what it took."""
    canonical = folder / "canonical"
    make_large(canonical, round(millions * 1_000_000), seed=19)
    size = sum(file.stat().st_size for file in canonical.rglob("*.parquet"))
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
            raise RunError(f"{millions} million: {done.stderr[-500:]}")
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


def promises(rows: list[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of payments by the million, from rows of ascending size."""
    found = [
        at_most(f"{row['millions']:g} million payments, all processes", row["peak_mb"],
                row["limit_mb"], "MB", digits=0)
        for row in rows
    ]  # fmt: skip
    if len(rows) > 1:
        ratio = rows[-1]["seconds_for_a_million"] / rows[0]["seconds_for_a_million"]
        what = "a million of the largest / a million of the smallest"
        found.append(at_most(what, ratio, GROWTH, "x", digits=2))
    return found


def main(
    millions: Annotated[list[float] | None, typer.Option(help="Payments; 1 and 10.")] = None,
    limit: Annotated[int, typer.Option(help="MB that all processes may hold.")] = 4096,
    folder: Annotated[Path | None, typer.Option(help="Where there is room.")] = None,
    *,
    kept: Keep = False,
) -> None:
    """Print a line of JSON for each size."""
    rows = []
    try:
        for one in sorted(millions or [1.0, 10.0]):
            with tempfile.TemporaryDirectory(dir=folder) as made:
                rows.append(measured(one, limit, Path(made)))
            typer.echo(json.dumps(rows[-1]))
    except (OSError, RunError) as error:
        typer.echo(f"NOT MEASURED: {error}", err=True)
        raise typer.Exit(NOT_MEASURED) from None
    found = promises(rows)
    if kept:
        keep("indicators", {"rows": rows}, found)
    for row in found:
        typer.echo(line_of(row), err=True)
    raise typer.Exit(int(not all(row.holds for row in found)))


if __name__ == "__main__":
    typer.run(main)

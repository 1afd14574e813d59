"""Where time goes: flame graphs of four works, and the machine's limit beside each.

    python -m tests.benchmarks.flames.flames [--out out/flames] [--keep]

Samples each work with py-spy (of the extra [dev]) and writes OUT/NAME.svg, which a browser opens;
prints how many times a work takes what the machine would need at best, and the functions that it
spends its own time in.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer
from tests.benchmarks.flames.works import FEATURES, WORKS, repeated
from tests.benchmarks.harness import FOLDER, Bench, apart, run_process
from tests.benchmarks.inputs import write_records

from fieldfare.shared.errors import RunError

RATE: Final = "250"  # samples a second
LARGEST: Final = 5  # functions that are named


def sampled(command: Sequence[str], out: Path, form: str) -> None:
    """Run a Python command and write what py-spy saw of it.

    Raises:
        RunError: py-spy is not here, or may not look into processes.
    """
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.is_file():
        raise RunError("expected py-spy in this environment, found none: pip install -e '.[dev]'")
    options = ["record", "--function", "--rate", RATE, "--format", form, "--output", str(out)]
    done = subprocess.run(
        [str(spy), *options, "--", *command], capture_output=True, text=True, check=False
    )
    if done.returncode or not out.is_file():
        raise RunError(f"expected samples by py-spy, found: {done.stderr[-2000:]}")


def own_shares(raw: Iterable[str]) -> list[tuple[str, float]]:
    """Return functions and the share of a work's time that each spends in itself, largest first.

    Args:
        raw: lines of py-spy's raw form, frames parted by semicolons and a number of samples; only
            those within `repeated` count.
    """
    own: Counter[str] = Counter()
    for line in raw:
        frames, _, samples = line.rpartition(" ")
        stack = frames.split(";")
        if any(frame.startswith(f"{repeated.__name__} (") for frame in stack):
            own[stack[-1]] += int(samples)
    return [(name, count / own.total()) for name, count in own.most_common(LARGEST)]


def measure(
    units: Annotated[int, typer.Option(min=1000, help="Of the institution.")] = 200_000,
    seconds: Annotated[float, typer.Option(help="Of each work.")] = 5.0,
    out: Annotated[Path, typer.Option(help="Where the drawings go.")] = Path("out/flames"),
) -> dict[str, Any]:
    """Measure each work by itself, then sample it."""
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    with TemporaryDirectory(prefix=FOLDER) as name:
        file, raw = Path(name) / "records.parquet", Path(name) / "raw"
        apart(_records, file, units)
        for work in WORKS:
            module = repeated.__module__
            command = [sys.executable, "-m", module, work, str(file), str(units), str(seconds)]
            figures = json.loads(run_process(command)[1].splitlines()[-1])
            sampled(command, out / f"{work}.svg", "flamegraph")
            sampled(command, raw, "raw")
            found[work] = {**figures, "own": own_shares(raw.read_text("utf-8").splitlines())}
            raw.unlink()
    return {"units": units, "features": FEATURES, "works": found}


def _records(file: str, units: int) -> None:
    write_records(Path(file), units=units, features=FEATURES, banks=1)


def words(found: dict[str, Any]) -> list[str]:
    """Return each work beside its limit, and the functions that take most of it."""
    lines = [f"One institution of {found['units']:,} units of {found['features']} features"]
    for name, one in found["works"].items():
        lines.append(
            f"{name}: {one['milliseconds']:.2f} ms, {one['ratio']:.3g} x"
            f" {one['limit']} ({one['limit_milliseconds']:.3g} ms)"
        )
        lines += [f"    {share:4.0%}  {where}" for where, share in one["own"]]
    return lines


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()

"""What five banks of the invented world gain at home from a model that they learned together.

    python -m tests.benchmarks.gain [--people 37500] [--seeds 100,101,...,109] [--json]

For each seed a world of version 1 is made, which is frozen (frozen_worlds.toml in
tests/support/records has the hashes), and its banks compute their indicators.
Their study is trained at its epsilon by all together (as much noise as Fieldfare adds, from the
fast seeded source), and each bank uses the model at home, beside its own best model; then again
from fewer of the labelled customers. All is measured on each bank's own held-out customers: what
is compared is average precision. Settings were chosen on seeds below 100.
Ends with 1 where using it at home does not gain what is promised.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import typer
from scipy.stats import t
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, numbers
from tests.support.records.frozen_worlds import check_frozen, frozen_plan

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.features.features import columns_behind
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import (
    PEOPLE,
    banks_study,
    fewer_cases,
    learned_at_home,
)
from fieldfare.simulations.federation.homes import AT_HOME
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.world.studies import INSTITUTION, pack_for, write_units
from fieldfare.simulations.world.writing import write_world

GAIN: Final = 0.04  # relative, on average precision
LEAST: Final = -0.01  # what the lower bound of the paired difference stays above
PROMISED: Final = (1.0, 0.25)  # shares at which it is promised
SHARES: Final = (1.0, 0.25)
SEEDS: Final = "100,101,102,103,104,105,106,107,108,109"


@dataclass(frozen=True)
class GainRow:
    """One bank of one world, from a share of its cases: average precision and recall by model."""

    seed: int
    share: float
    bank: str
    positives: int
    alone: float
    together: float
    at_home: float
    recall_alone: float
    recall_together: float
    recall_at_home: float


def measure_seed(
    study: Study, people: int, seed: int, folder: Path, shares: Sequence[float] = SHARES
) -> list[GainRow]:
    """Make one world and measure its banks at every share."""
    world, units = folder / f"world-{seed}", folder / f"units-{seed}.parquet"
    plan = frozen_plan(people, seed)
    write_world(plan, world)
    check_frozen(world, plan)
    pack = pack_for(columns_behind(study.features), own_pack())
    write_units(world, pack, units)
    return [row for share in shares for row in measure_units(study, units, seed, share)]


def measure_units(study: Study, units: Path, seed: int, share: float) -> Iterator[GainRow]:
    """Measure the banks of a written world."""
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION)
    training, held = fewer_cases(study, choice, share=share, seed=seed)
    found = learned_at_home(study, training, held, seed)
    for bank, data in training.items():
        rows = [found[key][bank] for key in ("alone", "federated", AT_HOME)]
        yield GainRow(
            seed, share, bank, int(data.labels.sum()),
            *(row["average_precision"] or 0.0 for row in rows),
            *(row["recall_at_budget"] or 0.0 for row in rows),
        )  # fmt: skip


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval (Student's t); of one value no interval."""
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("-inf"), float("inf")
    half = float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - half, mean + half


def lines(rows: Sequence[GainRow]) -> list[str]:
    """Return, for each share, a line for all banks and one for each."""
    said = []
    for share in sorted({row.share for row in rows}, reverse=True):
        some = [row for row in rows if row.share == share]
        said.append(f"{share:.0%} of the cases, {len(some)} banks of worlds: {_line(some)}")
        said += [
            f"  {bank}: {_line([row for row in some if row.bank == bank])}"
            for bank in sorted({row.bank for row in some})
        ]
    return said


def _line(rows: Sequence[GainRow]) -> str:
    alone, together, home = (
        np.mean([getattr(row, name) for row in rows]) for name in ("alone", "together", "at_home")
    )
    recalls = [
        np.mean([getattr(row, f"recall_{name}") for row in rows])
        for name in ("alone", "together", "at_home")
    ]
    mean, low, high = interval([row.at_home - row.alone for row in rows])
    cases = np.mean([row.positives for row in rows])
    return (
        f"AP {alone:.3f} own best, {together:.3f} shared, {home:.3f} at home "
        f"({mean:+.3f}, {low:+.3f} to {high:+.3f}); recall {recalls[0]:.3f}, {recalls[1]:.3f}, "
        f"{recalls[2]:.3f}; {cases:.0f} own cases"
    )


def measure(people: int = PEOPLE, seeds: str = SEEDS) -> list[dict[str, Any]]:
    """Return what each bank of each world gains at home."""
    study, measured = banks_study(), []
    for seed in numbers(seeds):
        with TemporaryDirectory(prefix=FOLDER) as folder:
            found = measure_seed(study, people, seed, Path(folder))
        typer.echo("\n".join([f"seed {seed}", *(f"  {line}" for line in lines(found))]), err=True)
        measured += found
    return [asdict(row) for row in measured]


def words(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return all worlds in words."""
    return ["all worlds", *(f"  {line}" for line in lines([GainRow(**row) for row in found]))]


def promises(found: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of own customers."""
    return [
        row
        for share in PROMISED
        for row in _promised(share, [GainRow(**one) for one in found if one["share"] == share])
    ]


def _promised(share: float, rows: Sequence[GainRow]) -> list[BenchRow]:
    if not rows:
        return []
    alone, home = (float(np.mean([getattr(r, n) for r in rows])) for n in ("alone", "at_home"))
    gain = home / alone - 1 if alone else 0.0
    low = interval([row.at_home - row.alone for row in rows])[1]
    what = f"gain at home, {share:.0%} of the cases"
    return [
        BenchRow(what, f"{gain:+.1%}", f"{GAIN:+.0%} or more", gain >= GAIN),
        BenchRow(f"{what}: lower bound", f"{low:+.3f}", f"above {LEAST}", low > LEAST),
    ]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

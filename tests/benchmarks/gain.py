"""The joint gain of five banks of the invented world, down to the prevalence where it ends.

    python -m tests.benchmarks.gain [--people 37500] [--seeds 0,1,2] [--json]

For each seed the world of `fieldfare world learn` is made and its banks compute their
indicators. Their study is trained at its epsilon by all together (as much noise as Fieldfare
adds, from the fast seeded source) and by each bank alone without privacy; then again from fewer
and fewer of the labelled customers. What is compared is recall at the alert budget over all
banks' held-out customers.
Ends with 1 where together does not beat the mean bank alone by what is promised, at the
world's own prevalence.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, numbers

from fieldfare.client.typologies.pack import own_pack
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import MONTHS, PEOPLE, PREVALENCE, banks_study, rarer
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.studies import INSTITUTION, pack_for, write_units
from fieldfare.simulations.world.writing import write_world

GAIN: Final = 0.15  # relative, on recall at the alert budget
SHARES: Final = (1.0, 0.5, 0.25, 0.1)


@dataclass(frozen=True)
class GainRow:
    """Means over seeds at one prevalence: labelled customers learned from, and recalls."""

    prevalence: float
    positives: float
    together: float
    alone: float

    @property
    def gain(self) -> float:
        """Return how much better together is, relative to alone."""
        return self.together / self.alone - 1 if self.alone else 0.0


def measure_seed(study: Study, people: int, seed: int, folder: Path) -> list[GainRow]:
    """Make one world and measure it at every share of `SHARES`."""
    world, units = folder / f"world-{seed}", folder / f"units-{seed}.parquet"
    plan = WorldPlan.of(people=people, months=MONTHS, seed=seed, prevalence=PREVALENCE)
    write_world(plan, world)
    pack = pack_for([feature.name for feature in study.features], own_pack())
    write_units(world, pack, units)
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION)
    found = [rarer(study, choice, share=share, seed=seed) for share in SHARES]
    return [
        GainRow(f["prevalence"], f["positives"], f["together"] or 0.0, f["alone"] or 0.0)
        for f in found
    ]


def means(rows: Sequence[Sequence[GainRow]]) -> list[GainRow]:
    """Return the means over seeds, share by share."""
    names = GainRow.__dataclass_fields__
    return [
        GainRow(**{name: sum(getattr(r, name) for r in same) / len(same) for name in names})
        for same in zip(*rows, strict=True)
    ]


def holds_down_to(rows: Sequence[GainRow]) -> float | None:
    """Return the lowest prevalence, from the highest down, at which the gain still holds."""
    lowest = None
    for row in rows:
        if row.gain < GAIN:
            break
        lowest = row.prevalence
    return lowest


def lines(rows: Sequence[GainRow]) -> list[str]:
    """Return a line for each prevalence, and the answer."""
    said = [
        f"prevalence {row.prevalence:.2%}, {row.positives:.0f} to learn from: recall "
        f"{row.together:.3f} together, {row.alone:.3f} alone ({row.gain:+.0%})"
        for row in rows
    ]
    lowest = holds_down_to(rows)
    where = "nowhere" if lowest is None else f"down to a prevalence of {lowest:.2%}"
    return [*said, f"together is better by {GAIN:.0%} or more: {where}"]


def measure(people: int = PEOPLE, seeds: str = "0,1,2") -> list[dict[str, float]]:
    """Return the joint gain at every prevalence, means over the seeds."""
    study, measured = banks_study(), []
    for seed in numbers(seeds):
        with TemporaryDirectory(prefix=FOLDER) as folder:
            measured.append(measure_seed(study, people, seed, Path(folder)))
        typer.echo("\n  ".join([f"seed {seed}", *lines(measured[-1])]), err=True)
    return [asdict(row) for row in means(measured)]


def words(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the means in words."""
    return ["mean", *(f"  {line}" for line in lines([GainRow(**row) for row in found]))]


def promises(found: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised at the world's own prevalence."""
    gain = GainRow(**found[0]).gain
    return [BenchRow("joint gain", f"{gain:+.0%}", f"{GAIN:.0%} or more", gain >= GAIN)]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

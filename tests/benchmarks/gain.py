"""What five banks of the invented world gain at home from a model that they learned together.

    python -m tests.benchmarks.gain [--people 37500] [--seeds 100,101,...,109] [--splits 4] [--json]

For each seed a world of version 1 is made, which is frozen (frozen_worlds.toml in
tests/support/records has the hashes), and its banks compute their indicators.
Their study is trained at its epsilon by all together (as much noise as Fieldfare adds, from the
fast seeded source), and each bank uses the model at home, beside its own best model; then again
from fewer of the labelled customers, and from a model that learned from labels dealt anew. All is
measured on each bank's own held-out customers, as `fieldfare study join` measures it. Settings were
chosen on seeds below 100.

Each world is split several times, with other hold-outs, noise and labels left out: which units are
held out decides more than most ideas are worth. Splits of one world share its people and are no
further worlds: figures are means over banks, splits and worlds, and intervals draw whole worlds
again, each with all of its splits.
Ends with 1 where using it at home does not gain what is promised.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import typer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, numbers
from tests.support.records.frozen_worlds import VERSION, check_frozen, frozen_plan, frozen_study

from fieldfare.shared.joining.figures import MINUTES, Figures
from fieldfare.shared.joining.words import interval
from fieldfare.simulations.demo.five_banks import PEOPLE, PREVALENCE
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.joining.join import figures_of
from fieldfare.simulations.joining.seeds import JoinTask, Records, SeedRows, seed_rows, unsaid
from fieldfare.simulations.joining.worlds import ROLE, WorldTerms
from fieldfare.simulations.world.studies import INSTITUTION

GAIN: Final = 0.04  # relative, on average precision
LEAST: Final = -0.01  # what the lower bound of the paired difference stays above
CLOSED: Final = 0.40  # of the gap to the same stack fed without privacy, with a quarter
TIMES: Final = 1.5  # recall of roles with fewer than 6 own cases
SHARES: Final = (1.0, 0.25)
SPLIT: Final = 1000  # between the seeds of two splits of a world
SEEDS: Final = "100,101,102,103,104,105,106,107,108,109"


class FrozenTerms(WorldTerms):
    """Worlds of version 1, checked against their hashes where these are known."""

    def write_world(self, seed: int, out: Path) -> int:
        """Make and write the world of a seed, and check it; returns the window's days."""
        days = super().write_world(seed, out)
        check_frozen(out, frozen_plan(self.people, seed))
        return days


def world_rows(units: Path, world: int, splits: int) -> SeedRows:
    """Measure a world's banks once for each split: all labels and a quarter, and rare roles.

    Args:
        units: file of the world's units, with the role of each case.
        world: its seed, under which rows of all splits stand.
        splits: how many.
    """
    choice = RecordsChoice((str(units),), institution_column=INSTITUTION)
    seeds = [world + SPLIT * split for split in range(splits)]
    source = Records(choice, {"rare": ROLE})
    task = JoinTask(frozen_study(), source, seeds, units.parent, SHARES, whole=False)
    found = [seed_rows(task, seed, unsaid) for seed in seeds]
    of_world = {"seed": world}
    return found[0].model_copy(
        update={
            "rows": tuple(row.model_copy(update=of_world) for one in found for row in one.rows),
            "kinds": tuple(row.model_copy(update=of_world) for one in found for row in one.kinds),
        }
    )


def world_figures(people: int, seeds: Sequence[int], rows: Sequence[SeedRows]) -> Figures:
    """Return what the rows of worlds say together."""
    source = FrozenTerms(people, PREVALENCE, version=VERSION)
    return figures_of(JoinTask(frozen_study(), source, seeds, Path()), rows, minutes=MINUTES)


def lines(found: Figures) -> Iterator[str]:
    """Yield, for each share, a line for all banks, and of all labels one for each."""
    for row in found["labels"]:
        yield f"{row['labels']:.0%} of the cases, {row['places']} banks of worlds: {_line(row)}"
        if row["closed"] is not None:
            yield f"  of the gap to the same stack fed without privacy: {row['closed']:.0%}"
        if row["placebo"]:
            fed = f"{row['placebo']['precision']:.3f}, at home - that {interval(row['taught'])}"
            yield f"  the same stack fed by a model that knows nothing: AP {fed}"
    for one in found["institutions"]:
        yield f"  {one['name']}: {interval(one['gain'])}: {one['word']}, {one['why']}"
    rare = found["rare"]
    if rare:
        yield (
            f"roles with fewer than 6 own cases, {rare['cases']} held out: recall within the "
            f"budget {rare['alone']:.3f} own best, {rare['at_home']:.3f} at home "
            f"({interval(rare['gain'])}); at as many false positives {rare['alone_at']:.3f}, "
            f"{rare['at_home_at']:.3f} ({interval(rare['gain_at'])})"
        )


def _line(row: Figures) -> str:
    models = [row[name] for name in ("alone", "shared", "at_home", "pooled")]
    if None in models:
        return "not compared"
    precision, found = (", ".join(f"{m[k]:.3f}" for m in models) for k in ("precision", "found"))
    return (
        f"AP {precision} (own best, shared, at home, at home without privacy), "
        f"at home - own best {interval(row['gain'])}; recall {found}; "
        f"{row['learned']:.0f} own cases"
    )


def measure(people: int = PEOPLE, seeds: str = SEEDS, splits: int = 4) -> Figures:
    """Return what each bank of each world gains at home."""
    source, measured = FrozenTerms(people, PREVALENCE, version=VERSION), list[SeedRows]()
    for seed in numbers(seeds):
        with TemporaryDirectory(prefix=FOLDER) as folder:
            units = Path(folder) / "units.parquet"
            source.write_units(frozen_study(), seed, units)
            measured.append(world_rows(units, seed, splits))
        one = world_figures(people, (seed,), measured[-1:])
        typer.echo("\n".join([f"seed {seed}", *(f"  {x}" for x in lines(one))]), err=True)
    return world_figures(people, numbers(seeds), measured)


def words(found: Figures) -> list[str]:
    """Return all worlds in words."""
    return ["all worlds", *(f"  {line}" for line in lines(found))]


def promises(found: Figures) -> list[BenchRow]:
    """Return what is promised of own customers."""
    promised = [line for row in found["labels"] for line in _promised(row)]
    if rare := found["rare"]:
        times = rare["times_at"]
        what = "recall of roles with fewer than 6 own cases: times own best"
        said = "-" if times is None else f"{times:.2f}"
        held = times is not None and times >= TIMES
        promised.append(BenchRow(what, said, f"{TIMES} or more", held))
    return promised


def _promised(row: dict[str, Any]) -> Iterator[BenchRow]:
    alone, home, gain, closed = (row[name] for name in ("alone", "at_home", "gain", "closed"))
    what = f"gain at home, {row['labels']:.0%} of the cases"
    if not (alone and home and gain):
        yield BenchRow(what, "not compared", f"{GAIN:+.0%} or more", holds=False)
        return
    relative = home["precision"] / alone["precision"] - 1 if alone["precision"] else 0.0
    yield BenchRow(what, f"{relative:+.1%}", f"{GAIN:+.0%} or more", relative >= GAIN)
    low = gain["low"]
    yield BenchRow(f"{what}: lower bound", f"{low:+.3f}", f"above {LEAST}", low > LEAST)
    if closed is not None and row["labels"] < 1:
        said = f"{CLOSED:.0%} or more"
        yield BenchRow(f"{what}: of the gap", f"{closed:.0%}", said, closed >= CLOSED)


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

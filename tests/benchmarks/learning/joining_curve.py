"""What joining is worth to equal small banks: by members, known cases, size and epsilon.

    python -m tests.benchmarks.learning.joining_curve --seeds 300-309 --out rows.jsonl
    python -m tests.benchmarks.learning.joining_curve --table rows.jsonl     # docs/joining-curve.md
    python -m tests.benchmarks.learning.joining_curve --power rows.jsonl     # chose the demo's size

Each world has so many equal banks; of them the first few join. Every bank learns from labels as it
knows them a year later; the truth judges, over all customers whom their bank does not know as a
case (simulations/federation/found.py). Noise is as much as exact noise, from a seed. Rows are
added to what the file has: a point that is there is not measured again.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from scipy.stats import norm, t

from fieldfare.client.own_model.own_customers import HomeFits
from fieldfare.client.own_model.own_fits import SumModel
from fieldfare.shared.models import model_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import MONTHS, banks_study
from fieldfare.simulations.federation.found import found_figures, rank_hidden
from fieldfare.simulations.federation.homes import JointTrainer, OwnFits, homes_of
from fieldfare.simulations.federation.population import (
    Population,
    RecordsChoice,
    load_population,
)
from fieldfare.simulations.metrics import UNKNOWN
from fieldfare.simulations.world.institutions import WorldFederation, equal_banks
from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.studies import day_of_training, pack_of, write_units
from fieldfare.simulations.world.writing import write_world

BANKS: Final = 30
SIZE: Final = 3_500
PREVALENCE: Final = 0.02
HONEST: Final = 12  # beyond those who may collude: failed masks leave at most epsilon 4
HEADS: Final = (
    *("members", "epsilon", "known", "size", "worlds", "cases", "alone", "as it comes", "together"),
    *("more", "more, of 100 alone (95 % over worlds)", "gain, lose, of"),
)


@dataclass(frozen=True)
class Point:
    """Where a federation stands on the curve.

    Attributes:
        told: cases that a bank knows at most; 0: as it came to know them (about 18 of 70).
        split: whether the shared model learns from the other half of the members alone, so that it
            has seen nobody whom it ranks.
    """

    members: int
    epsilon: float = 1.0
    told: int = 0
    size: int = SIZE
    split: bool = False


POINTS: Final = (
    *(Point(members) for members in (5, 12, 20, 30)),
    *(Point(20, epsilon) for epsilon in (0.5, 2.0, 4.0)),
    Point(20, split=True),
    *(Point(20, told=cases) for cases in (5, 10, 35)),
)


def study_of(point: Point, members: int) -> Study:
    """Return the demo's study for so many members."""
    study = banks_study(WorldFederation.TWENTY)
    units, collude = members * point.size, max(1, members - HONEST)
    privacy = {"epsilon": point.epsilon, "delta": 0.07 / units, "collusion_tolerance": collude}
    least = {"minimum_institutions": max(3, collude + 2)}
    return study.model_copy(
        update={
            "records": study.records.model_copy(update={"units": units}),
            "privacy": study.privacy.model_copy(update=privacy),
            "aggregation": study.aggregation.model_copy(update=least),
        }
    )


def units_of(folder: Path, seed: int, banks: int, size: int) -> Path:
    """Make a world and write its banks' units, or find them."""
    path = folder / f"units-{seed}-{banks}-{size}.parquet"
    if not path.exists():
        with TemporaryDirectory(dir=folder) as made:
            world = Path(made) / "world"
            plan = WorldPlan.of(
                people=banks * size, months=MONTHS, seed=seed, prevalence=PREVALENCE,
                institutions=equal_banks(banks),
            )  # fmt: skip
            write_world(plan, world)
            pack = pack_of(banks_study(WorldFederation.TWENTY))
            write_units(world, pack, path, known_by=day_of_training(world))
    return path


def as_told(population: Population, known: int, seed: int) -> Population:
    """Return the same where each bank knows so many cases: fewer, or more by the truth."""
    if not known:
        return population
    records = {}
    for place, (name, found) in enumerate(population.records.items()):
        labels, audit = found.data.labels.copy(), np.array(found.audit)
        true = np.flatnonzero((labels == 1) | (audit == UNKNOWN))
        order = np.random.default_rng([seed, place]).permutation(true)
        order = order[np.argsort(labels[order] == 0, kind="stable")]  # those that are known first
        audit[true] = UNKNOWN
        labels[true] = 0
        labels[order[:known]], audit[order[:known]] = 1, "known"
        records[name] = replace(found, data=replace(found.data, labels=labels), audit=audit)
    return Population(records, population.holdout)


def first(population: Population, count: int, after: int = 0) -> Population:
    """Return some members."""
    names = list(population.records)[after : after + count]
    return Population(
        {name: population.records[name] for name in names},
        {name: population.holdout[name] for name in names},
    )


def measure(
    point: Point, everybody: Population, fits: dict[str, HomeFits], seed: int
) -> dict[str, Any]:
    """Measure one point in one world."""
    members = first(everybody, point.members)
    half = point.members // 2
    parts = [(members, members)]
    if point.split:
        ends = (first(everybody, half), first(everybody, point.members - half, half))
        parts = [(ends[0], ends[1]), (ends[1], ends[0])]
    totals: dict[str, int] = {}
    rows = []
    for ranked, taught in parts:
        study = study_of(point, len(taught.records))
        shared = JointTrainer.of(study, seed).shared(taught.training)
        mine = [fits[name] for name in ranked.records]
        own = OwnFits(ranked.training, lambda *_, mine=mine: mine)
        model = SumModel(model_for(study), shared)
        found = found_figures("truth", rank_hidden(ranked, homes_of(own, shared), model), 0.02)[
            "found"
        ]
        rows += found["institutions"]
        for key, value in found.items():
            if isinstance(value, int):
                totals[key] = totals.get(key, 0) + value
    totals["gain"] = sum(row["difference"]["low"] > 0 for row in rows)
    totals["lose"] = sum(row["difference"]["high"] < 0 for row in rows)
    return totals


def measure_world(
    folder: Path, seed: int, points: Sequence[Point], banks: int
) -> Iterator[dict[str, Any]]:
    """Measure points of one size in one world."""
    study = study_of(points[0], banks)
    path = units_of(folder, seed, banks, points[0].size)
    choice = RecordsChoice((str(path),), institution_column="institution", audit_column="persona")
    whole = load_population(study, choice, seed=seed)
    start = model_for(study).initial(0.0)
    for cases in dict.fromkeys(point.told for point in points):
        population = as_told(whole, cases, seed)
        some = [point for point in points if point.told == cases]
        most = max(point.members for point in some)
        fits = {
            name: HomeFits.of(study, start, data)
            for name, data in first(population, most).training.items()
        }
        for point in some:
            yield {"seed": seed, **asdict(point), **measure(point, population, fits, seed)}


def group(rows: Sequence[dict[str, Any]]) -> dict[Point, list[dict[str, Any]]]:
    """Return rows by their point."""
    keys = tuple(Point.__dataclass_fields__)
    found: dict[Point, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(Point(**{key: row[key] for key in keys}), []).append(row)
    return found


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a line of Markdown for each point: sums over worlds, and a paired interval by world."""
    yield f"| {' | '.join(HEADS)} |"
    yield "|---" * len(HEADS) + "|"
    for point, some in group(rows).items():
        total = {key: sum(row[key] for row in some) for key in some[0] if key not in asdict(point)}
        share = [100 * (row["together"] - row["alone"]) / row["alone"] for row in some]
        mean, many = float(np.mean(share)), len(share)
        half = t.ppf(0.975, many - 1) * np.std(share, ddof=1) / math.sqrt(many) if many > 1 else 0
        known = round(total["known"] / many / point.members)
        said = f" (+-{half:.0f})" if many > 1 else ""
        of = many * point.members
        who = f"{point.members}{', shared of the other half' if point.split else ''}"
        yield (
            f"| {who} | {point.epsilon:g} | {known} | {point.size:,} | {many} "
            f"| {total['cases']:,} | {total['alone']:,} | {total['shared']:,} "
            f"| {total['together']:,} | {total['together'] - total['alone']:+,} "
            f"| {mean:+.0f}{said} | {total['gain']}, {total['lose']}, {of} |"
        )


def power(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield for each size the chance that one run's difference is above 0, and that 18 of 20 are.

    The spread is the larger one of that between worlds and of that of the cases which one side
    alone finds (the root of their number).
    """
    for point, some in group(rows).items():
        apart = [row["together"] - row["alone"] for row in some]
        one_side = np.mean([row["only_alone"] + row["only_together"] for row in some])
        spread = max(float(np.std(apart, ddof=1)) if len(apart) > 1 else 0.0, math.sqrt(one_side))
        once = float(norm.cdf(np.mean(apart) / spread))
        often = sum(math.comb(20, n) * once**n * (1 - once) ** (20 - n) for n in (18, 19, 20))
        yield (
            f"{point}: {np.mean(apart):+.0f}, spread {spread:.0f}: above 0 in {once:.4f} of runs, "
            f"in at least 18 of 20 with {often:.3f}"
        )


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="300-304", metavar="FIRST-LAST")
    parser.add_argument("--banks", type=int, default=BANKS)
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--members", type=int, nargs="*", help="only these, as banks know cases")
    parser.add_argument("--out", type=Path, default=Path("out/joining-curve.jsonl"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--power", type=Path)
    asked = parser.parse_args()
    if asked.table or asked.power:
        shown = table(read_rows(asked.table)) if asked.table else power(read_rows(asked.power))
        sys.stdout.write("\n".join([*shown, ""]))
        return
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    points = [replace(one, size=asked.size) for one in POINTS]
    if asked.members:
        points = [Point(many, size=asked.size) for many in asked.members]
    low, _, high = asked.seeds.partition("-")
    for seed in range(int(low), int(high or low) + 1):
        rows = read_rows(asked.out) if asked.out.exists() else []
        there = group([row for row in rows if row["seed"] == seed])
        missing = [one for one in points if one not in there and one.members <= asked.banks]
        if missing:
            for row in measure_world(asked.out.parent, seed, missing, asked.banks):
                with asked.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                sys.stdout.write(f"{row}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Time to make the invented world, and a check that a model can learn in it.

    python -m fieldfare.simulations.bench.world [--people 60000] [--prevalence 0.005] [--seed 0]

First a million transactions are made and written, in a process of its own that reports its peak
memory as the kernel counted it (`make bench` measures this too). Then a larger world is made at
a prevalence nearer to real ones, its banks compute the pack's indicators, and gradient boosting
learns from each bank alone and from all together, without privacy, each customer scored by a
model that has not seen it. Ends with 1 where a promise does not hold: no single feature tells
who serves a ring, the best model is far from perfect, and together is better than alone.
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
import numpy.typing as npt
import pyarrow.parquet as pq
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.client.typologies.pack import own_pack
from fieldfare.simulations.bench.records import peak_bytes
from fieldfare.simulations.world.making import Plan
from fieldfare.simulations.world.studies import AUDIT, CUSTOMER, INSTITUTION, LABEL, write_units
from fieldfare.simulations.world.writing import write_world

MILLION_PEOPLE: Final = 12_500
"""People whose three months are a little more than a million transactions."""

SECONDS: Final = 6.0  # for a million transactions
PEAK_BYTES: Final = 10**9
BEST_FEATURE: Final = 0.80  # AUROC that no single feature may reach
PRECISION: Final = (0.35, 0.75)  # average precision of the best model, at half a percent
MONTHS: Final = 3
FOLDS: Final = 3

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Speed:
    """The cost of making a world: one process, writing included, start-up not."""

    transactions: int
    seconds: float
    peak_bytes: int

    @property
    def seconds_a_million(self) -> float:
        """Return wall clock for a million transactions."""
        return self.seconds / self.transactions * 1e6

    @property
    def holds(self) -> bool:
        """True where it is as fast and as small as promised."""
        return self.seconds_a_million <= SECONDS and self.peak_bytes <= PEAK_BYTES


@dataclass(frozen=True)
class Worth:
    """The quality of models that learn in a world.

    Attributes:
        positives: customers whose account serves a ring.
        best_feature: name of the feature that separates best, and its AUROC.
        together, alone: average precision over all banks' customers, and the banks' mean
            over their own customers.
        together_at_banks: the shared model's mean over each bank's own customers.
    """

    positives: int
    best_feature: tuple[str, float]
    together: float
    alone: float
    together_at_banks: float

    @property
    def holds(self) -> bool:
        """True where the task is neither solved nor hopeless, and joint learning is better."""
        low, high = PRECISION
        return (
            self.best_feature[1] < BEST_FEATURE
            and low <= self.together <= high
            and self.alone < self.together_at_banks
        )


def measure_speed(people: int) -> Speed:
    """Make a world in this process."""
    plan = Plan.of(people=people, months=MONTHS, seed=0)
    with TemporaryDirectory(prefix="fieldfare-bench-") as folder:
        began = time.perf_counter()
        found = write_world(plan, Path(folder) / "world")
        seconds = time.perf_counter() - began
    return Speed(found["totals"]["transactions"], seconds, peak_bytes())


def speed_apart(people: int = MILLION_PEOPLE) -> Speed:
    """Make a world in a process of its own, so that no memory of another counts."""
    module = [sys.executable, "-m", "fieldfare.simulations.bench.world"]
    arguments = ["--task", "speed", "--people", str(people)]
    done = subprocess.run([*module, *arguments], stdout=subprocess.PIPE, check=True)  # noqa: S603
    return Speed(**json.loads(done.stdout))


def best_feature(values: FloatArray, labels: npt.NDArray[Any], names: Sequence[str]) -> Any:
    """Return (name, AUROC) of the feature that ranks best, in either direction.

    Where it is missing a value counts as the median of the others.
    """
    found = []
    for name, column in zip(names, values.T, strict=True):
        known = column[~np.isnan(column)]
        middle = float(np.median(known)) if known.size else 0.0
        auroc = float(roc_auc_score(labels, np.nan_to_num(column, nan=middle)))
        found.append((max(auroc, 1 - auroc), name))
    auroc, name = max(found)
    return name, auroc


def unseen_scores(
    values: FloatArray, labels: npt.NDArray[Any], groups: npt.NDArray[Any]
) -> FloatArray:
    """Return each customer's score by a model that other customers taught; folds keep `groups`."""
    scores = np.zeros(labels.size)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with threadpool_limits(1):  # a second core that others use costs more than it gives
        for seen, unseen in folds.split(values, groups * 2 + labels):
            useful = [np.unique(c[~np.isnan(c)]).size > 1 for c in values[seen].T]
            model = HistGradientBoostingClassifier(
                learning_rate=0.06, max_iter=150, max_leaf_nodes=15, l2_regularization=1.0,
                random_state=0,
            )  # fmt: skip
            model.fit(values[seen][:, useful], labels[seen])
            scores[unseen] = model.predict_proba(values[unseen][:, useful])[:, 1]
    return scores


def worth_of(table: Any) -> Worth:
    """Measure what can be learned from a table of `world.units`."""
    names = [name for name in table.column_names if name not in {*AUDIT, CUSTOMER}]
    values = np.column_stack([table[name].to_numpy().astype(np.float64) for name in names])
    labels = table[LABEL].to_numpy().astype(np.int64)
    owners = np.unique(np.array(table[INSTITUTION].to_pylist()), return_inverse=True)[1]
    together = unseen_scores(values, labels, owners)
    alone, own = [], []
    for bank in range(owners.max() + 1):
        mine = owners == bank
        nobody = np.zeros(int(mine.sum()), np.int64)
        single = unseen_scores(values[mine], labels[mine], nobody)
        alone.append(average_precision_score(labels[mine], single))
        own.append(average_precision_score(labels[mine], together[mine]))
    return Worth(
        positives=int(labels.sum()),
        best_feature=best_feature(values, labels, names),
        together=float(average_precision_score(labels, together)),
        alone=float(np.mean(alone)),
        together_at_banks=float(np.mean(own)),
    )


def measure_worth(plan: Plan) -> Worth:
    """Make a world, compute its banks' indicators, and learn from them."""
    with TemporaryDirectory(prefix="fieldfare-bench-") as folder:
        world, units = Path(folder) / "world", Path(folder) / "units.parquet"
        write_world(plan, world)
        write_units(world, own_pack(), units)
        return worth_of(pq.read_table(units))


def promises(speed: Speed) -> list[tuple[str, str, str, bool]]:
    """Return rows as `make bench` shows them: what, measured, promised, whether it holds."""
    seconds, peak = speed.seconds_a_million, speed.peak_bytes
    return [
        ("a million transactions of the invented world", f"{seconds:.1f} s",
         f"{SECONDS:.0f} s", seconds <= SECONDS),
        ("memory, making it", f"{peak / 1e6:,.0f} MB", f"{PEAK_BYTES / 1e6:,.0f} MB",
         peak <= PEAK_BYTES),
    ]  # fmt: skip


def lines(worth: Worth) -> list[str]:
    """Return the results in words."""
    name, auroc = worth.best_feature
    low, high = PRECISION
    return [
        f"best single feature: {name}, AUROC {auroc:.3f} (below {BEST_FEATURE})",
        (
            f"gradient boosting, all banks together: average precision {worth.together:.3f} "
            f"({low} to {high}), {worth.positives} positives"
        ),
        (
            f"at the banks' own customers: {worth.alone:.3f} alone, "
            f"{worth.together_at_banks:.3f} together"
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="bench_world", description=__doc__)
    parser.add_argument("--people", type=int, default=60_000)
    parser.add_argument("--prevalence", type=float, default=0.005)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--task", choices=("speed",), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task is not None:
        print(json.dumps(asdict(measure_speed(options.people))))  # noqa: T201
        return 0
    speed = speed_apart(min(options.people, MILLION_PEOPLE))
    for what, measured, promised, _ in promises(speed):
        print(f"{what}: {measured} (at most {promised})")  # noqa: T201
    worth = measure_worth(
        Plan.of(
            people=options.people,
            months=MONTHS,
            seed=options.seed,
            prevalence=options.prevalence,
        )
    )
    print("\n".join(lines(worth)))  # noqa: T201
    return int(not (speed.holds and worth.holds))


if __name__ == "__main__":
    sys.exit(main())

"""Time to make the invented world, and a check that a model can learn in it.

    python -m tests.benchmarks.world [--people N] [--prevalence P] [--seed N] [--json]

First a million transactions are made and written, in a process of its own that reports its peak
memory as the kernel counted it (`make bench` measures this too). Then a larger world is made at
a prevalence nearer to real ones, its banks compute the pack's indicators, and gradient boosting
learns from each bank alone and from all together, without privacy, each customer scored by a
model that has not seen it. Ends with 1 where a promise does not hold: no single feature tells
who serves a ring, the best model is far from perfect, and together is better than alone.
"""

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
from tests.benchmarks.harness import FOLDER, Bench, BenchRow, apart, at_most, peak_bytes
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fieldfare.client.typologies.pack import own_pack
from fieldfare.simulations.world.making import WorldPlan
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


def make(people: int) -> dict[str, float]:
    """Make a world in this process, writing included, start-up not.

    Returns:
        Transactions, seconds, peak bytes of the process.
    """
    plan = WorldPlan.of(people=people, months=MONTHS, seed=0)
    with TemporaryDirectory(prefix=FOLDER) as folder:
        began = time.perf_counter()
        found = write_world(plan, Path(folder) / "world")
        seconds = time.perf_counter() - began
    made: int = found["totals"]["transactions"]
    return {"transactions": made, "seconds": seconds, "peak_bytes": peak_bytes()}


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


def worth_of_world(plan: WorldPlan) -> Worth:
    """Make a world, compute its banks' indicators, and learn from them."""
    with TemporaryDirectory(prefix=FOLDER) as folder:
        world, units = Path(folder) / "world", Path(folder) / "units.parquet"
        write_world(plan, world)
        write_units(world, own_pack(), units)
        return worth_of(pq.read_table(units))


def speed_promises(speed: dict[str, float]) -> list[BenchRow]:
    """Return what is promised of making a world."""
    seconds = speed["seconds"] / speed["transactions"] * 1e6
    peak = speed["peak_bytes"] / 1e6
    return [
        at_most("a million transactions of the invented world", seconds, SECONDS, "s"),
        at_most("memory, making it", peak, PEAK_BYTES / 1e6, "MB", digits=0),
    ]


def measure(people: int = 60_000, prevalence: float = 0.005, seed: int = 0) -> dict[str, Any]:
    """Measure the making of a world, and what can be learned in one."""
    speed = apart(make, min(people, MILLION_PEOPLE))
    plan = WorldPlan.of(people=people, months=MONTHS, seed=seed, prevalence=prevalence, version=1)
    return {"speed": speed, "worth": asdict(worth_of_world(plan))}


def promises(found: dict[str, Any]) -> list[BenchRow]:
    """Return what is promised of making a world, and of learning in it."""
    worth = Worth(**found["worth"])
    name, auroc = worth.best_feature
    low, high = PRECISION
    together, alone = worth.together, worth.alone
    at_banks = worth.together_at_banks
    return [
        *speed_promises(found["speed"]),
        BenchRow(
            f"best single feature, {name}: AUROC",
            f"{auroc:.3f}",
            f"below {BEST_FEATURE}",
            auroc < BEST_FEATURE,
        ),
        BenchRow(
            f"gradient boosting, all banks together, {worth.positives} positives: "
            "average precision",
            f"{together:.3f}",
            f"{low} to {high}",
            low <= together <= high,
        ),
        BenchRow(
            "at the banks' own customers, together",
            f"{at_banks:.3f}",
            f"more than alone, {alone:.3f}",
            alone < at_banks,
        ),
    ]


BENCH: Final = Bench(measure, promises)

if __name__ == "__main__":
    BENCH.app()()

"""Five banks, a benchmark for others: frozen worlds, a protocol, and figures of any model.

    python -m tests.benchmarks.five_banks [--seeds 100,101,102] [--models ours,boosting,...]
    python -m tests.benchmarks.five_banks --model package.module:function
    python -m tests.benchmarks.five_banks --write DIR      # the data, as files
    python -m tests.benchmarks.five_banks --scores FILE    # figures of scores that others made

docs/five-banks.md has the protocol and what a model gets, docs/measurements/five-banks.md the
table. Worlds are of version 1 and checked against their hashes
(tests/support/records/frozen_worlds.toml); of each world the split of its own seed is used.
Nothing was tuned on them.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pc
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tests.benchmarks.gain import FrozenTerms
from tests.benchmarks.harness import FOLDER, Bench, numbers
from tests.support.records.frozen_worlds import VERSION, frozen_study

from fieldfare.client.own_model.own_customers import RARE, HomeFits, OwnCustomers
from fieldfare.client.own_model.paired import budget_of, reviewed
from fieldfare.shared.errors import UsageError
from fieldfare.shared.models import model_for
from fieldfare.simulations.demo.five_banks import PEOPLE, PREVALENCE
from fieldfare.simulations.federation.homes import JointTrainer, customers_of, training_of
from fieldfare.simulations.federation.others import TrainingInputs
from fieldfare.simulations.federation.population import RecordsChoice, load_population
from fieldfare.simulations.joining.new_scenario import MONTH
from fieldfare.simulations.joining.worlds import BEGUN, COLUMNS
from fieldfare.simulations.strategies.chosen import other_named
from fieldfare.simulations.world.studies import CUSTOMER as UNIT
from fieldfare.simulations.world.studies import INSTITUTION

BUDGETS: Final = (0.002, 0.005, 0.01, 0.02)
SEEDS: Final = "100,101,102"
MODELS: Final = (
    "federated,at home,own best,fedavg,krum,fedavg+server-fixed,logistic,boosting,dp-ebm"
)
WHOLE, WITHOUT = "whole", "without"  # a bank learns from all, or without its scenario

Vector = NDArray[np.float64]
Scores = Mapping[str, Vector]  # float64 (held-out customers,) by bank
Fit = Callable[[Sequence[OwnCustomers], int], Scores]


@dataclass(frozen=True, eq=False)
class BankWorld:
    """One world's banks, twice: with all their cases, and each without those of one scenario.

    Attributes:
        seed: of world, split and noise.
        whole: every bank.
        without: the same; the held-out units are the same too.
        lacking: the scenario that a bank of `without` has never seen.
        ids: customers that are held out, by bank, in the order of their units.
    """

    seed: int
    whole: Sequence[OwnCustomers]
    without: Sequence[OwnCustomers]
    lacking: Mapping[str, str]
    ids: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, units: Path, seed: int) -> "BankWorld":
        """Read a world's units and split them."""
        choice = RecordsChoice((str(units),), institution_column=INSTITUTION)
        whole = customers_of(frozen_study(), choice, seed=seed, columns=COLUMNS)
        known = sorted({one for own in whole for one in own.scenarios()})
        lacking = {own.name: known[(seed + own.place) % len(known)] for own in whole}
        without = [own.unseen(lacking[own.name]) for own in whole]
        population = load_population(frozen_study(), choice, seed=seed)
        ids = {
            name: list(records.select(population.holdout[name]).units)
            for name, records in population.records.items()
        }
        return cls(seed, whole, without, lacking, ids)


# -- figures ---------------------------------------------------------------------------------------


def figures(world: BankWorld, whole: Scores, without: Scores | None) -> dict[str, Any]:
    """Return what scores come to: average precision, and shares of cases found at each budget.

    Args:
        world: whose held-out customers were scored.
        whole: by a model that learned from everything.
        without: by one that learned from `world.without`; None where nobody made it.
    """
    banks = [(own, np.asarray(whole[own.name], dtype=np.float64)) for own in world.whole]
    labels = np.concatenate([own.held.labels for own, _ in banks])
    scores = np.concatenate([found for _, found in banks])
    found = [
        ("pooled", [(labels, scores, labels == 1)]),
        ("own customers", [(own.held.labels, s, own.held.labels == 1) for own, s in banks]),
        ("rare here", [(own.held.labels, s, rare(own)) for own, s in banks]),
    ]
    if without is not None:
        rows = [
            (own.held.labels, np.asarray(without[own.name]), left_out(own, world.lacking[own.name]))
            for own, _ in banks
        ]
        found.append(("left-out scenario", rows))
    found += [
        (f"began in month {month + 1}", [(o.held.labels, s, began(o, month)) for o, s in banks])
        for month in range(3)
    ]
    recalls = {name: recall(rows) for name, rows in found}
    own = [average_precision_score(o.held.labels, s) for o, s in banks if o.held.labels.any()]
    pooled = float(average_precision_score(labels, scores))
    return {"precision": {"pooled": pooled, "own customers": float(np.mean(own))}, "found": recalls}


Asked = tuple[NDArray[np.uint8], Vector, NDArray[np.bool_]]  # labels, scores, of which cases


def recall(rows: Sequence[Asked]) -> dict[str, Any]:
    """Return cases asked for, and how many of them are found at each budget, all rows together."""
    cases = sum(int(asked.sum()) for _, _, asked in rows)
    at = {
        f"{budget:.1%}": sum(
            int(asked[reviewed(scores, budget_of(len(labels), budget))].sum())
            for labels, scores, asked in rows
        )
        for budget in BUDGETS
    }
    return {"cases": cases, "at": at}


def left_out(own: OwnCustomers, scenario: str) -> NDArray[np.bool_]:
    """Bool (held-out units,): cases of a scenario."""
    return np.asarray((own.kinds["left out"][1] == scenario) & (own.held.labels == 1))


def rare(own: OwnCustomers) -> NDArray[np.bool_]:
    """Bool (held-out units,): cases of roles of which the bank learns from fewer than 6."""
    learned, _ = own.kinds["rare"]
    roles, counts = np.unique(learned[own.training.labels == 1], return_counts=True)
    common = {role for role, count in zip(roles, counts, strict=True) if count >= RARE}
    return np.asarray((own.held.labels == 1) & ~np.isin(own.kinds["rare"][1], sorted(common)))


def began(own: OwnCustomers, month: int) -> NDArray[np.bool_]:
    """Bool (held-out units,): cases whose account began in a month of the window."""
    days = [int(text) // MONTH if text else -1 for text in own.kinds[BEGUN][1]]
    last = month == 2  # the window's last days are of its third month
    asked = np.array([d == month or (last and d > month) for d in days], dtype=np.bool_)
    return np.asarray(asked & (own.held.labels == 1), dtype=np.bool_)


# -- models ----------------------------------------------------------------------------------------


def fitted(name: str) -> Fit:
    """Return what learns a model by its name: ours, or one of others."""

    def scores(customers: Sequence[OwnCustomers], seed: int) -> Scores:
        together, training = JointTrainer.of(frozen_study(), seed), training_of(customers)
        if name not in {"federated", "at home", "own best"}:
            found = other_named(name).fit(TrainingInputs(together.trainer(training), training))
            return {own.name: found(own.held) for own in customers}
        shared = together.shared(training)
        if name == "federated":
            model = model_for(together.study)
            return {own.name: model.scores(shared, own.held) for own in customers}
        fits = {own.name: HomeFits.of(together.study, shared, own.training) for own in customers}
        return {
            own.name: (
                fits[own.name].alone if name == "own best" else fits[own.name].at_home(shared)
            ).scores(own.held)
            for own in customers
        }

    return scores


def named(text: str) -> Fit:
    """Import `module:function`.

    Raises:
        UsageError: there is no such function.
    """
    module, _, function = text.partition(":")
    try:
        found: Fit = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError):
        raise UsageError(f"--model: expected module:function, found {text!r}") from None
    return found


# -- files -----------------------------------------------------------------------------------------


def write(units: Path, world: BankWorld, folder: Path) -> None:
    """Write a world for others: `world-SEED.parquet`, every customer with its part and its label.

    `part` is training or held out; `lacked` says whose cases a bank of the left-out task leaves
    out of training.
    """
    table = pq.read_table(units)
    ids = zip(table[INSTITUTION].to_pylist(), table[UNIT].to_pylist(), strict=True)
    held = {(name, unit) for name, units in world.ids.items() for unit in units}
    part = ["held out" if pair in held else "training" for pair in ids]
    scenarios = zip(table[INSTITUTION].to_pylist(), table["scenario"].to_pylist(), strict=True)
    lacked = [world.lacking[bank] == kind for bank, kind in scenarios]
    table = table.append_column("part", pa.array(part)).append_column("lacked", pa.array(lacked))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"world-{world.seed}.parquet", compression="zstd")


def read(path: Path, world: BankWorld) -> tuple[Scores, Scores | None]:
    """Read scores of a world's held-out customers: Parquet or CSV, any order, higher is riskier.

    Columns: `world`, `institution`, `customer`, `score`, and `score_without` where a model was
    also learned without the cases marked `lacked`.

    Raises:
        UsageError: a held-out customer has no score, or one that is no number.
    """
    table = pc.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    table = table.filter(pa.compute.equal(table["world"], world.seed))
    keys = list(zip(table[INSTITUTION].to_pylist(), map(str, table[UNIT].to_pylist()), strict=True))

    def of(column: str) -> Scores:
        by_id = dict(zip(keys, table[column].to_pylist(), strict=True))
        found = {
            name: np.array([by_id.get((name, one), np.nan) for one in ids], dtype=np.float64)
            for name, ids in world.ids.items()
        }
        missing = sum(int(np.isnan(one).sum()) for one in found.values())
        if missing:
            raise UsageError(
                f"{path}: expected a number in {column} for every held-out customer of world "
                f"{world.seed}, found {missing} without"
            )
        return found

    return of("score"), of("score_without") if "score_without" in table.column_names else None


# -- the bench -------------------------------------------------------------------------------------


def measure(
    seeds: str = SEEDS,
    models: str = MODELS,
    model: str = "",
    scores: str = "",
    write_to: Annotated[str, typer.Option("--write")] = "",
    people: int = PEOPLE,
) -> dict[str, Any]:
    """Return what models find in five banks of frozen worlds."""
    source, found = FrozenTerms(people, PREVALENCE, version=VERSION), dict[str, list[Any]]()
    learn = {name: fitted(name) for name in models.split(",")}
    learn = {model: named(model)} if model else learn
    for seed in numbers(seeds):
        with TemporaryDirectory(prefix=FOLDER) as folder:
            units = Path(folder) / "units.parquet"
            source.write_units(frozen_study(), seed, units)
            world = BankWorld.of(units, seed)
            if write_to:
                write(units, world, Path(write_to))
                continue
        for name, rows in _rows(world, learn, scores):
            found.setdefault(name, []).append(rows)
            typer.echo(f"world {seed}, {name}: {line(rows)}", err=True)
    return {name: together(rows) for name, rows in found.items()}


def _rows(
    world: BankWorld, learn: Mapping[str, Fit], scores: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    if scores:
        yield scores, figures(world, *read(Path(scores), world))
        return
    for name, fit in learn.items():
        made = (fit(customers, world.seed) for customers in (world.whole, world.without))
        yield name, figures(world, *made)


def together(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return mean precision over worlds, and shares of all their cases found."""
    precision = {
        key: float(np.mean([row["precision"][key] for row in rows])) for key in rows[0]["precision"]
    }
    found = {}
    for name in rows[0]["found"]:
        parts = [row["found"][name] for row in rows]
        cases = sum(part["cases"] for part in parts)
        at = {key: sum(part["at"][key] for part in parts) for key in parts[0]["at"]}
        found[name] = {
            "cases": cases,
            "at": {key: count / cases if cases else None for key, count in at.items()},
        }
    return {"precision": precision, "found": found}


def line(row: dict[str, Any]) -> str:
    """Return precision, pooled and own, in one line."""
    return ", ".join(f"{key} {value:.3f}" for key, value in row["precision"].items())


def words(found: dict[str, Any]) -> Iterator[str]:
    """Yield the tables of docs/measurements/five-banks.md."""
    if not found:
        return
    tasks = next(iter(found.values()))["found"]
    yield (
        "| model | AP pooled | AP own | "
        + " | ".join(f"{name} ({part['cases']})" for name, part in tasks.items())
        + " |"
    )
    yield "|---" * (3 + len(tasks)) + "|"
    for name, row in found.items():
        cells = [f"{value:.3f}" for value in row["precision"].values()]
        cells += [
            ", ".join("-" if v is None else f"{v:.2f}".lstrip("0") for v in part["at"].values())
            for part in row["found"].values()
        ]
        yield f"| {name} | {' | '.join(cells)} |"


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()

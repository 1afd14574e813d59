"""What trials came to, by their public numbers: the table behind `fieldfare study plan`.

    python -m tests.benchmarks.learning.expectations [--data FOLDER] [--json]

For each set of `trials.py`, at several shares of its cases and of its units, and at four epsilons:
average precision of the model learned together under the settings that fit, of all records pooled
without privacy, and of an institution alone in the mean. Without privacy it is each time the best,
on the hold-out, of regularised additive models and trees, which favours them. Hold-outs keep all
their cases and are weighed to the prevalence of training. All is measured on all hold-outs
together.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from tests.benchmarks.harness import FOLDER, Bench
from tests.benchmarks.learning.trials import SETS, TrialSet, parameters_of

from fieldfare.client.own_model.own_fits import SumFits, SumModel, TreeFits
from fieldfare.client.own_model.own_grid import own_grid
from fieldfare.shared.features.basis import EncodedUnits, concatenate
from fieldfare.shared.joining.outlook import Trial, left_out
from fieldfare.shared.joining.settings import fitting_settings
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.plan import plan_for

EPSILONS: Final = (0.5, 1.0, 2.0, 4.0)
VARIANTS: Final[dict[str, tuple[tuple[float, float], ...]]] = {  # shares of cases, of units
    "adult": ((1.0, 1.0), (0.1, 1.0), (0.02, 1.0), (0.005, 1.0)),
    "heart": ((1.0, 1.0),),
    "world": ((1.0, 1.0), (0.25, 1.0), (0.1, 1.0), (1.0, 0.3), (0.04, 1.0)),
    "amlsim": ((1.0, 1.0), (0.25, 1.0), (0.1, 1.0), (0.02, 1.0)),
}
LEAST_OF_A_CLASS: Final = 2
TABLE: Final = Path(__file__).parents[3] / "shared" / "expectation" / "trials.toml"


def weighed(trial: TrialSet, labels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return float64 (units,): weights of held-out units at the prevalence of training."""
    here, there = trial.positives / trial.units, float(labels.mean())
    odds = (here / (1 - here)) / (there / (1 - there))
    return np.where(labels == 1, odds, 1.0)


def precision(trial: TrialSet, found: SumModel, held: EncodedUnits) -> float:
    """Return average precision at the prevalence of training."""
    weights = weighed(trial, held.labels)
    return float(average_precision_score(held.labels, found.scores(held), sample_weight=weights))


def without_privacy(trial: TrialSet, data: EncodedUnits, held: EncodedUnits) -> float:
    """Return the better of an additive model and of trees, on the hold-out."""
    study, grid = trial.under(), own_grid()
    least = int(min(data.labels.sum(), len(data) - data.labels.sum()))
    if least < LEAST_OF_A_CLASS:
        return trial.positives / trial.units
    start = model_for(study).initial(0.0)
    fits = [*SumFits(study, grid, start).own(data), *TreeFits(study, grid, start).own(data)]
    return max(precision(trial, one, held) for one in fits)


def rows_of(name: str, trial: TrialSet, cases: float) -> Iterator[dict[str, Any]]:
    """Learn one variant of a set at every epsilon."""
    held = concatenate(list(trial.held.values()))
    pooled = without_privacy(trial, concatenate(list(trial.training.values())), held)
    alone = [without_privacy(trial, data, held) for data in trial.training.values()]
    for epsilon in EPSILONS:
        study = trial.under(privacy__epsilon=epsilon)
        numbers = PublicNumbers.of(plan_for(study), len(trial.training))
        fitting = fitting_settings(numbers.kind, numbers.strength)
        fitted = trial.under(privacy__epsilon=epsilon, **(fitting.changes if fitting else {}))
        found = SumModel(model_for(fitted), parameters_of(trial, fitted))
        yield {
            "set": name,
            "cases": cases,
            "units": round(numbers.units),
            "prevalence": round(numbers.prevalence, 6),
            "entries": numbers.entries,
            "institutions": numbers.institutions,
            "epsilon": epsilon,
            "strength": round(numbers.strength, 4),
            "together": round(precision(trial, found, held), 4),
            "pooled": round(pooled, 4),
            "alone": round(float(np.mean(alone)), 4),
        }


def measure(data: str = "../shared/data", *, write: bool = False) -> list[dict[str, Any]]:
    """Measure every variant of every set; `--write` puts them in place of the shipped table."""
    rows = []
    with TemporaryDirectory(prefix=FOLDER) as folder:
        for name, make in SETS.items():
            whole = make(Path(data), Path(folder)).split()
            for cases, units in VARIANTS[name]:
                trial = whole if cases == units == 1 else whole.fewer(cases, units=units)
                found = list(rows_of(name, trial, cases))
                typer.echo("\n".join(map(_line, found)), err=True)
                rows += found
    if write:
        TABLE.write_text(table_text(rows), encoding="utf-8")
    return rows


def _line(row: Mapping[str, Any]) -> str:
    return (
        f"{row['set']} {row['cases']:g}: {row['units']} units, {row['prevalence']:.4f}, epsilon "
        f"{row['epsilon']:g}, strength {row['strength']:.2f}: together {row['together']:.3f}, "
        f"pooled {row['pooled']:.3f}, alone {row['alone']:.3f}"
    )


def table_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as `shared/joining/trials.toml` has it."""
    lines = [json.dumps({key: row[key] for key in Trial.model_fields}) for row in rows]
    digest = sha256("\n".join(lines).encode()).hexdigest()
    body = "".join(
        "    { " + ", ".join(f"{k} = {json.dumps(row[k])}" for k in Trial.model_fields) + " },\n"
        for row in rows
    )
    return (
        "# What trials came to, by their public numbers: made, not edited, by\n"
        "#     python -m tests.benchmarks.learning.expectations --write\n"
        f'version = "{version("fieldfare")}"\nsha256 = "{digest}"\ntrials = [\n{body}]\n'
    )


def words(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table for people, and how far off a curve is for sets that it had not seen."""
    errors = left_out([Trial.model_validate(_known(row)) for row in rows])
    return [*map(_line, rows), str(errors)]


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in Trial.model_fields}


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()

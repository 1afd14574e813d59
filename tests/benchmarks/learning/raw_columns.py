"""How much of the gap to a pooled network derived columns and curves by level close, at epsilon 1.

    python -m tests.benchmarks.learning.raw_columns [--data FOLDER] [--json]

On both sets of `raw_sets.py`, which were named first. The raw model: additive, over raw columns as
they are. With what a study can say: on payments the derived columns in their place, with a curve
for each type of account; on accounts the derived columns beside them. The ceiling: a network
(scikit-learn, 64 and 32 wide, early stopping, the best of three seeds by its own validation) over
hand-made columns, all records pooled, without privacy. Bounds and knots are drafted from each set
as `study new` does, settings are those that it writes; noise is as much as the plan says. Measured
on all hold-outs together.
"""

from collections.abc import Mapping, Sequence
from itertools import starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray
from pydantic import TypeAdapter
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow
from tests.benchmarks.learning import raw_sets
from tests.benchmarks.learning.trials import Source, figures, parameters_of

from fieldfare.client.drafting.choice import draft_numeric
from fieldfare.client.records import holdout_mask
from fieldfare.shared.features.basis import concatenate
from fieldfare.shared.features.derived import DerivedColumn, Formula
from fieldfare.shared.joining.settings import fitting_settings
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.models import model_for
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import holdout_key
from fieldfare.simulations.federation.population import RecordsChoice

CLOSED: Final = 0.9
EPSILON: Final = 1.0
SEEDS: Final = (0, 1, 2)  # of noise; figures are means
NETWORKS: Final = (0, 1, 2)
WIDTHS: Final = (64, 32)
_FORMULA: Final[TypeAdapter[Formula]] = TypeAdapter(DerivedColumn)
_KEYS: Final = ("ap", "f1")


def values_of(table: pa.Table, name: str) -> NDArray[np.float64]:
    """Return float64 (rows,): a column as numbers, times in microseconds, NaN where missing."""
    column = table[name]
    if pa.types.is_timestamp(column.type):
        found = column.cast(pa.int64()).cast(pa.float64(), safe=False)
    else:
        found = column.cast(pa.float64())
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.float64)


def drafted(table: pa.Table, name: str, formula: Mapping[str, str] | None) -> dict[str, Any]:
    """Draft a numeric feature of a raw or derived column."""
    if formula is None:
        values = values_of(table, name)
    else:
        read = _FORMULA.validate_python(dict(formula))
        values = read.values(*(values_of(table, one) for one in read.sources))
    present = values[np.isfinite(values)]
    made = draft_numeric(name, present, len(values)).model_dump(mode="json")
    return made if formula is None else {**made, "derived": dict(formula)}


def study_of(table: pa.Table, features: Sequence[dict[str, Any]]) -> Study:
    """Return the study of some features, under the settings that fit."""
    rows = table.num_rows
    data: dict[str, Any] = {
        "name": "raw",
        "purpose": "measure",
        "records": {
            "unit": "unit",
            "label": "label",
            "units": rows,
            "prevalence": round(float(table["label"].to_numpy().mean()), 3),
        },
        "features": list(features),
        "privacy": {"epsilon": EPSILON, "delta": 1e-5},
    }
    numbers = PublicNumbers.of(plan_for(Study.model_validate(data)))
    fitting = fitting_settings(numbers.kind, numbers.strength, numbers.entries)
    if fitting is not None:
        data["privacy"]["clipping_norm"] = fitting.clipping_norm
        data["training"] = {"steps": fitting.steps, "learning_rate": fitting.learning_rate}
        data["geometry"] = fitting.coordinates and {"kind": fitting.coordinates}
    return Study.model_validate(data)


def learned(table: pa.Table, features: Sequence[dict[str, Any]], work: Path) -> dict[str, float]:
    """Learn together at epsilon 1; the mean over seeds of noise."""
    path, study = work / "raw.parquet", study_of(table, features)
    pq.write_table(table, path)
    choice = RecordsChoice((str(path),), institution_column="institution")
    trial = Source("raw", study, choice).split()
    held = concatenate(list(trial.held.values()))
    found = [
        figures(model_for(study).scores(parameters_of(trial, study, seed), held), held.labels)
        for seed in SEEDS
    ]
    return {key: float(np.mean([one[key] for one in found])) for key in _KEYS}


def network(table: pa.Table, kinds: Sequence[str]) -> dict[str, float]:
    """Train a network on hand-made columns, pooled, without privacy, and measure it."""
    held = holdout_mask(table["unit"].to_pylist(), key=holdout_key(0), share=0.2)
    made = np.stack([values_of(table, name) for name in raw_sets.hand_made(table)], axis=1)
    absent = np.isnan(made)
    filled = np.where(absent, np.nanmedian(made[~held], axis=0), made)
    spread = QuantileTransformer(output_distribution="normal", random_state=0).fit(filled[~held])
    parts = [spread.transform(filled), absent.astype(np.float64)]
    for name in kinds:
        levels = np.array(table[name].to_pylist())[:, None]
        parts.append(OneHotEncoder(sparse_output=False).fit_transform(levels))
    inputs, labels = np.concatenate(parts, axis=1), table["label"].to_numpy().astype(np.uint8)
    trained = [
        MLPClassifier(WIDTHS, early_stopping=True, max_iter=60, random_state=seed).fit(
            inputs[~held], labels[~held]
        )
        for seed in NETWORKS
    ]
    best = max(trained, key=lambda one: one.best_validation_score_)
    chances = np.clip(best.predict_proba(inputs[held])[:, 1], 1e-9, 1 - 1e-9)
    return figures(np.log(chances / (1 - chances)), labels[held])


def sets(data: Path, work: Path) -> dict[str, tuple[pa.Table, Any, Any, bool]]:
    """Return both sets: records, raw columns, formulas, whether there is a type of account."""
    return {
        "payments": (
            raw_sets.payments(),
            raw_sets.PAYMENT_COLUMNS,
            raw_sets.PAYMENT_FORMULAS,
            True,
        ),
        "accounts": (
            raw_sets.accounts(data / "amlsim", work),
            raw_sets.ACCOUNT_COLUMNS,
            raw_sets.ACCOUNT_FORMULAS,
            False,
        ),
    }


def measure(data: str = "../shared/data") -> list[dict[str, Any]]:
    """Measure both sets."""
    rows = []
    with TemporaryDirectory(prefix=FOLDER) as folder:
        work = Path(folder)
        for name, (table, columns, formulas, typed) in sets(Path(data), work).items():
            raw = [drafted(table, column, None) for column in columns]
            computed = list(starmap(lambda n, f, t=table: drafted(t, n, f), formulas.items()))
            kind = {"name": "account_type", "kind": "categorical", "levels": list(raw_sets.TYPES)}
            beside = [kind] if typed else []
            by = raw_sets.by_type(computed) if typed else computed
            row = {
                "set": name,
                "raw": learned(table, [*raw, *beside], work),
                "derived": learned(table, [*raw, *computed, *beside], work),
                "alone": learned(table, [*computed, *beside], work),
                "said": learned(table, [*(by if typed else [*raw, *computed]), *beside], work),
                "ceiling": network(table, ["account_type"] if typed else []),
            }
            typer.echo("\n".join(words([row])), err=True)
            rows.append(row)
    return rows


def closed(row: Mapping[str, Any], key: str, what: str = "said") -> float:
    """Return the share of the gap from the raw model to the ceiling that is closed."""
    return float((row[what][key] - row["raw"][key]) / (row["ceiling"][key] - row["raw"][key]))


def words(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return both sets in words."""
    return [
        f"{row['set']}, {name}: raw {row['raw'][key]:.3f}, derived beside raw "
        f"{row['derived'][key]:.3f}, derived {row['alone'][key]:.3f}, by type of account "
        f"{row['said'][key]:.3f}, pooled network {row['ceiling'][key]:.3f}: "
        f"{closed(row, key):.0%} of the gap, derived in their place "
        f"{closed(row, key, 'alone'):.0%}"
        for row in rows
        for key, name in (("ap", "average precision"), ("f1", "best F1"))
    ]


def promises(rows: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of each set."""
    return [
        BenchRow(f"gap closed on {row['set']}", f"{share:.0%}", f"{CLOSED:.0%}", share >= CLOSED)
        for row in rows
        for share in [closed(row, "ap")]
    ]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

"""In which coordinates training pays, by public numbers: trials, and a rule that others chose.

    python -m tests.benchmarks.learning.coordinates --data FOLDER [--json]

For each trial (`trials.py`) a model is learned in its features' own coordinates (C 1, 120 steps),
in centred and in whitened ones, each under the noise of its own plan. A rule says coordinates by
two public numbers: centred below a strength, else whitened from a share of the rarer class on. Its
cuts are those that gain most average precision on the sets that choose, a gain below `LEAST`
counting as none and the more cautious of equal cuts winning. It is judged on the set that did not
choose it.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import typer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow
from tests.benchmarks.learning.trials import SETS, TrialSet, learned

from fieldfare.shared.joining.settings import bands
from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.protocol.plan import plan_for

TRIALS: Final = (  # set, share of cases, epsilon
    ("heart", 1.0, 1.0),
    ("heart", 1.0, 4.0),
    ("adult", 1.0, 1.0),
    ("adult", 1.0, 0.25),
    ("adult", 0.1, 1.0),
    ("adult", 0.02, 1.0),
    ("amlsim", 1.0, 1.0),
    ("amlsim", 1.0, 4.0),
    ("amlsim", 0.106, 1.0),
    ("world", 1.0, 1.0),
    ("world", 1.0, 4.0),
    ("world", 0.25, 1.0),
    ("world", 0.1, 1.0),
)
SEEDS: Final = (0, 1)
LEAST: Final = 0.005  # of average precision: less is the noise of so few seeds
OWN: Final = {
    "privacy__clipping_norm": 1.0, "training__steps": 120, "training__learning_rate": 0.2
}  # fmt: skip
RARER: Final = (0.5, 0.3, 0.1, 0.03, 0.0)  # the most cautious first
STRENGTHS: Final = (0.0, 2.0, 8.0, 18.0, 30.0, 60.0, float("inf"))

Row = Mapping[str, Any]
Rule = tuple[float, float]


def row_of(name: str, trial: TrialSet, epsilon: float) -> dict[str, Any]:
    """Learn one trial in each of the three."""
    study = trial.under(privacy__epsilon=epsilon)
    numbers = PublicNumbers.of(plan_for(study), len(trial.training))
    found: dict[str, Any] = {
        "trial": f"{name} at {epsilon:g}",
        "set": name.split(maxsplit=1)[0],
        "strength": numbers.strength,
        "rarer": min(numbers.prevalence, 1 - numbers.prevalence),
    }
    for kind in (None, "centred", "whitened"):
        fits = [b for b in bands()["additive"] if b.coordinates == kind]
        held = [b for b in fits if numbers.strength >= b.strength]
        held = held or fits[:1]
        changes = OWN if kind is None else held[-1].changes
        fitted = trial.under(privacy__epsilon=epsilon, **changes)
        figures = [learned(trial, fitted, seed)["ap"] for seed in SEEDS]
        found[kind or "own"] = float(np.mean(figures))
    return found


def measure(data: str = "../shared/data") -> list[dict[str, Any]]:
    """Learn every trial in each of the three coordinates."""
    rows, made = [], dict[str, TrialSet]()
    with TemporaryDirectory(prefix=FOLDER) as folder:
        for name, share, epsilon in TRIALS:
            if name not in made:
                made[name] = SETS[name](Path(data), Path(folder)).split()
            trial = made[name] if share == 1 else made[name].fewer(share)
            rows.append(row_of(f"{name} {share:g}", trial, epsilon))
            typer.echo(_line(rows[-1]), err=True)
    return rows


def coordinates_by(rule: Rule, row: Row) -> str:
    """Return what a rule says of a trial."""
    rarer, weak = rule
    if row["strength"] < weak:
        return "centred"
    return "whitened" if row["rarer"] >= rarer else "own"


def gain(rule: Rule, row: Row) -> float:
    """Return the average precision that a rule is worth on a trial."""
    return float(row[coordinates_by(rule, row)] - row["own"])


def chosen(rows: Sequence[Row]) -> Rule:
    """Return the cuts that gain most, each set counting alike."""
    names = [row["set"] for row in rows]

    def worth(rule: Rule) -> float:
        worths = [
            (gain(rule, row) - LEAST * (coordinates_by(rule, row) != "own"))
            / names.count(row["set"])
            for row in rows
        ]
        return round(sum(worths), 6)

    return max(product(RARER, STRENGTHS), key=worth)


def judged(rows: Sequence[Row]) -> list[tuple[Row, Rule, float]]:
    """Return each trial, the rule that the other sets chose, and what it is worth there."""
    said = []
    for row in rows:
        rule = chosen([one for one in rows if one["set"] != row["set"]])
        said.append((row, rule, gain(rule, row)))
    return said


def _line(row: Row) -> str:
    return (
        f"{row['trial']} (strength {row['strength']:.1f}, rarer class {row['rarer']:.3f}): AP "
        f"{row['own']:.3f}, centred {row['centred']:.3f}, whitened {row['whitened']:.3f}"
    )


def words(rows: Sequence[Row]) -> list[str]:
    """Return the rule of all sets, and how the rules of the others did on each."""
    rarer, weak = chosen(rows)
    said = [
        f"whitened from a rarer class of {rarer:g} on, else centred below a strength of {weak:g}"
    ]
    for row, rule, worth in judged(rows):
        said.append(f"{_line(row)}; left out: {coordinates_by(rule, row)}, {worth:+.3f}")
    return said


def promises(rows: Sequence[Row]) -> list[BenchRow]:
    """Return what is promised of the rule on sets that did not choose it."""
    mean = float(np.mean([worth for _, _, worth in judged(rows)]))
    what = "average precision of coordinates by rule, left-out sets, against features' own"
    return [BenchRow(what, f"{mean:+.3f}", "+0.000 or more", mean >= 0)]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

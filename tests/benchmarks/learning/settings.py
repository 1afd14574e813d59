"""Which clipping bound, steps and rate fit which study: a grid over trials, and a rule from it.

    python -m tests.benchmarks.learning.settings --data FOLDER [--kind additive|mlp] [--json]

For each trial (`trials.py`) every setting of the grid is learned once under the noise of the
trial's own plan. A rule says settings by the strength of a study's signal alone, a public number.
Settings are those that keep most of the best average precision of each trial's grid, in the mean
over a set's trials and then over sets.
The rule is judged on the sets that did not choose it, one left out at a time.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import typer
from tests.benchmarks.harness import FOLDER, Bench, BenchRow
from tests.benchmarks.learning.trials import SETS, TrialSet, learned

from fieldfare.shared.joining.strength import PublicNumbers
from fieldfare.shared.protocol.plan import plan_for

TRIALS: Final[dict[str, tuple[tuple[str, float, float], ...]]] = {  # set, share of cases, epsilon
    "additive": (
        ("heart", 1.0, 1.0),
        ("heart", 1.0, 4.0),
        ("adult", 1.0, 1.0),
        ("adult", 0.1, 1.0),
        ("adult", 0.02, 1.0),
        ("world", 1.0, 1.0),
        ("world", 1.0, 4.0),
        ("world", 0.25, 1.0),
        ("world", 0.1, 1.0),
    ),
    "mlp": (
        ("adult", 1.0, 1.0),
        ("adult", 0.1, 1.0),
        ("world", 1.0, 1.0),
        ("world", 1.0, 4.0),
    ),
}
GRID: Final[dict[str, tuple[Sequence[float], Sequence[int], Sequence[float]]]] = {
    "additive": ((0.25, 1.0, 2.0), (60, 120), (0.05, 0.1, 0.2)),
    "mlp": ((0.25, 1.0, 2.0), (60, 150), (0.03, 0.1)),
}
TODAY: Final = (0.25, 60, 0.15)
BANDS: Final = (8.0,)  # strengths at which a further band begins

Setting = tuple[float, int, float]


def trials_of(kind: str, data: Path, work: Path) -> Iterator[tuple[str, float, TrialSet]]:
    """Yield each trial of a kind with its name and epsilon."""
    made: dict[str, TrialSet] = {}
    for name, share, epsilon in TRIALS[kind]:
        if name not in made:
            made[name] = SETS[name](data, work).split()
        trial = made[name] if share == 1 else made[name].fewer(share)
        yield f"{name} {share:g}", epsilon, trial if kind == "additive" else trial.ordered


def row_of(
    kind: str, name: str, epsilon: float, trial: TrialSet, setting: Setting
) -> dict[str, Any]:
    """Learn one trial under one setting."""
    clipping, steps, rate = setting
    study = trial.under(
        model__kind={"kind": kind},
        privacy__epsilon=epsilon,
        privacy__clipping_norm=clipping,
        training__steps=steps,
        training__learning_rate=rate,
    )
    return {
        "trial": f"{name} at {epsilon:g}",
        "set": name.split(maxsplit=1)[0],
        "strength": PublicNumbers.of(plan_for(study), len(trial.training)).strength,
        "setting": list(setting),
        **learned(trial, study),
    }


def measure(data: str = "../shared/data", kind: str = "additive") -> list[dict[str, Any]]:
    """Learn every trial of a kind under every setting of its grid, and under today's defaults."""
    rows = []
    with TemporaryDirectory(prefix=FOLDER) as folder:
        for name, epsilon, trial in trials_of(kind, Path(data), Path(folder)):
            found = [
                row_of(kind, name, epsilon, trial, setting)
                for setting in (TODAY, *product(*GRID[kind]))
            ]
            best = max(found, key=lambda row: row["ap"])
            typer.echo(
                f"{found[0]['trial']}: strength {found[0]['strength']:.1f}; today AP "
                f"{found[0]['ap']:.3f}, F1 at .5 {found[0]['half']:.3f}; best {best['ap']:.3f} at "
                f"{best['setting']}, F1 at .5 {best['half']:.3f}",
                err=True,
            )
            rows += found
    return rows


# -- rule -----------------------------------------------------------------------------------------


def band_of(strength_: float) -> int:
    """Return the band of a strength, 0 for the weakest."""
    return sum(strength_ >= start for start in BANDS)


def chosen(rows: Sequence[dict[str, Any]]) -> dict[int, Setting]:
    """Return the setting of each band; one without a trial takes its neighbour's."""
    found: dict[int, Setting] = {}
    for band in range(len(BANDS) + 1):
        some = [row for row in rows if band_of(row["strength"]) == band]
        if some:
            found[band] = _best(some)
    known = sorted(found)
    return {
        band: found[min(known, key=lambda one: (abs(one - band), one))]
        for band in range(len(BANDS) + 1)
    }


def _best(rows: Sequence[dict[str, Any]]) -> Setting:
    """Return the setting that keeps most of the best average precision, each set counting alike."""
    best = {name: max(r["ap"] for r in rows if r["trial"] == name) for name in _of(rows, "trial")}

    def kept(setting: tuple[float, ...]) -> float:
        own = [row for row in rows if tuple(row["setting"]) == setting]
        return float(
            np.mean(
                [
                    np.mean([row["ap"] / best[row["trial"]] for row in own if row["set"] == one])
                    for one in _of(own, "set")
                ]
            )
        )

    clipping, steps, rate = max(sorted({tuple(row["setting"]) for row in rows}), key=kept)
    return clipping, int(steps), rate


def _of(rows: Sequence[dict[str, Any]], key: str) -> list[str]:
    return sorted({row[key] for row in rows})


def judged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each trial under the rule that the other sets chose, beside today's and the best."""
    said = []
    for left in sorted({row["set"] for row in rows}):
        rule = chosen([row for row in rows if row["set"] != left])
        for name in sorted({row["trial"] for row in rows if row["set"] == left}):
            own = [row for row in rows if row["trial"] == name]
            setting = rule[band_of(own[0]["strength"])]
            by_setting = {tuple(row["setting"]): row for row in own}
            said.append(
                {
                    "trial": name,
                    "strength": own[0]["strength"],
                    "setting": list(setting),
                    "rule": by_setting[setting],
                    "today": by_setting[TODAY],
                    "best": max(row["ap"] for row in own),
                }
            )
    return said


def words(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the rule of all sets, and how the rules of the others did on each."""
    said = [f"band {band}: {setting}" for band, setting in chosen(rows).items()]
    return [*said, *map(_line, judged(rows))]


def _line(one: dict[str, Any]) -> str:
    return (
        f"{one['trial']} (strength {one['strength']:.1f}), left out: {one['setting']}, AP "
        f"{one['rule']['ap']:.3f} (today {one['today']['ap']:.3f}, best {one['best']:.3f}), F1 "
        f"at .5 {one['rule']['half']:.3f} (today {one['today']['half']:.3f})"
    )


def promises(rows: Sequence[dict[str, Any]]) -> list[BenchRow]:
    """Return what is promised of the rule on sets that did not choose it."""
    found = judged(rows)
    gain = float(np.mean([one["rule"]["ap"] - one["today"]["ap"] for one in found]))
    what = "average precision of the rule, left-out sets, against the defaults of a study"
    return [BenchRow(what, f"{gain:+.3f}", "+0.000 or more", gain >= 0)]


BENCH: Final = Bench(measure, promises, words)

if __name__ == "__main__":
    BENCH.app()()

"""What directions of curves are worth: the shipped five banks with them and without, paired.

    python -m tests.benchmarks.learning.directions [--work FOLDER] [--splits N]

Ten worlds of seeds 100 to 109, on which nothing was chosen (directions were on 30 and 31, by their
sources and by curves without noise). Splits of a world share its people: intervals are over worlds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.benchmarks.harness import Bench
from tests.benchmarks.learning.rounds import DEFAULT, FOLDED, SPLIT, run, world
from tests.benchmarks.learning.trials import TrialSet

from fieldfare.shared.study.study import Study

WORLDS: Final = range(100, 110)
BEYOND: Final = 2.262  # t of 9 degrees of freedom, 95 %
KEYS: Final = ("ap", "auroc", "own", "found")


def without(trial: TrialSet) -> TrialSet:
    """Return the trial of the same study without directions."""
    content = trial.study.model_dump(mode="json")
    for feature in content["features"]:
        feature.pop("direction", None)
    return replace(trial, study=Study.model_validate(content))


def gains(work: Path, splits: int) -> Iterator[dict[str, Any]]:
    """Yield of each world what directions gain, relative, as a mean over splits and their noise."""
    for name in FOLDED:
        for seed in WORLDS:
            pairs = []
            for split in range(splits):
                at = seed + SPLIT * split
                trial = world(name, work, at).split(at)
                pairs.append([run(one, at, 1.0, DEFAULT) for one in (without(trial), trial)])
            found = {key: np.mean([[a[key], b[key]] for a, b in pairs], axis=0) for key in KEYS}
            yield {"set": name, "world": seed} | {k: two.tolist() for k, two in found.items()}


def measure(work: str = ".", splits: int = 4) -> list[dict[str, Any]]:
    """Measure all worlds, at epsilon 1."""
    return list(gains(Path(work), splits))


def words(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return means without and with, and the mean relative gain with its 95 % interval."""
    said = []
    for name in FOLDED:
        for key in KEYS:
            pairs = np.array([row[key] for row in rows if row["set"] == name])
            gain = pairs[:, 1] / pairs[:, 0] - 1
            half = BEYOND * gain.std(ddof=1) / np.sqrt(len(gain))
            before, after = pairs.mean(axis=0)
            interval = (
                f"{gain.mean():+.1%} ({gain.mean() - half:+.1%} to {gain.mean() + half:+.1%})"
            )
            said.append(f"| {name} | {key} | {before:.3f} | {after:.3f} | {interval} |")
    return said


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()

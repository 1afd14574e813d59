"""How few steps reach what a study's own schedule reaches: a grid of schedules, paired with it.

    python -m tests.benchmarks.learning.rounds --rows FILE [--data FOLDER] [--work FOLDER]
        [--minutes N] [--table]

A schedule says what a study's file can say: steps, rate, momentum, the share of iterates averaged,
C, coordinates. Each run learns one set of records under one schedule, its noise as large as all
shares of the plan's, and is measured on all hold-outs: AUROC, average precision (AP) pooled and as
a mean over institutions, and how many of 100 cases are found where each institution reviews its
budget. A seed decides split and noise, and a study's own schedule has the same seed, so that
differences are paired; a schedule of another number of steps has other draws of noise.

*late* are five banks of the invented world whose labels are those that banks came to know,
measured by the truth; *true* are the same banks with every case known. Worlds are of seeds 30 and
later, on which nothing was chosen before; 100 to 109 stay for what is promised. A world takes
processor minutes to make and a run a second, so each is split several times: 1030 is the second
split of 30. Splits of one world share its people and are no further worlds.

Runs are written to the file of rows as they end, and those that stand there are not run again.
"""

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from tests.benchmarks.harness import Bench
from tests.benchmarks.learning.trials import (
    STUDIES,
    Source,
    TrialSet,
    adult,
    amlsim,
    heart,
    parameters_of,
)
from tests.support.records.published_texts import write_comments, write_messages

from fieldfare.shared.features.basis import concatenate
from fieldfare.shared.models import model_for
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.simulations.demo.five_banks import PEOPLE, PREVALENCE, banks_study
from fieldfare.simulations.federation.population import RecordsChoice
from fieldfare.simulations.joining.worlds import ROLE, WorldTerms
from fieldfare.simulations.world.studies import INSTITUTION

AUROC_LOSS: Final = 0.003
AP_LOSS: Final = 0.01
STEPS: Final = (12, 18, 25, 30, 40)
POWERS: Final = (0.25, 0.5, 0.8)  # of how many times fewer steps there are, by which the rate grows
LAST: Final = 0.001  # share of iterates: the last one alone
AVERAGED: Final = (LAST, 0.5)
WORLD: Final = 30  # seed of the first one
SPLIT: Final = 1000  # between the seeds of two splits of a world
SPLITS: Final = 4
TEXT_PARTS: Final = 5
KEYS: Final = ("auroc", "ap", "own", "found")
FOLDED: Final = ("late", "true")

Scores = NDArray[np.float64]
Job = tuple[str, int, float, "Schedule"]  # set, seed, epsilon


@dataclass(frozen=True)
class Schedule:
    """What a study says of its steps; None: as its file says."""

    steps: int | None = None
    learning_rate: float | None = None
    beta1: float | None = None
    beta2: float | None = None  # 1: steps are measured in their noise
    average_last: float | None = None
    clipping_norm: float | None = None
    coordinates: str | None = None  # "own": its features'

    @property
    def name(self) -> str:
        """A name that says all of it, and "default" of nothing."""
        said = [f"{one.name}={getattr(self, one.name)}" for one in fields(self)]
        return " ".join(one for one in said if not one.endswith("=None")) or "default"

    def of(self, study: Study, epsilon: float) -> Study:
        """Return the study under this schedule, at an epsilon."""
        content = study.model_dump(mode="json")
        content["privacy"]["epsilon"] = epsilon
        content["privacy"].pop("spare_releases", None)  # as many as follow from the steps
        for one in fields(self)[:5]:
            if (value := getattr(self, one.name)) is not None:
                content["training"][one.name] = value
        if self.clipping_norm is not None:
            content["privacy"]["clipping_norm"] = self.clipping_norm
        if self.coordinates is not None:
            content["geometry"] = {"kind": self.coordinates}
        if self.coordinates == "own":
            content.pop("geometry")
        return Study.model_validate(content)


DEFAULT: Final = Schedule()


# -- sets -----------------------------------------------------------------------------------------


def sms(data: Path, work: Path) -> Source:
    """Return short messages, dealt evenly."""
    path = work / "sms.parquet"
    write_messages(data, path)
    choice = RecordsChoice((str(path),), institutions=TEXT_PARTS, partition="iid")
    return Source("sms", load_study(STUDIES / "sms.toml"), choice)


def youtube(data: Path, work: Path) -> Source:
    """Return comments of five videos."""
    path = work / "youtube.parquet"
    write_comments(data, path)
    choice = RecordsChoice((str(path),), institution_column="video")
    return Source("youtube", load_study(STUDIES / "youtube.toml"), choice)


def world(name: str, work: Path, seed: int) -> Source:
    """Return five banks of the invented world of a seed, as `fieldfare demo` makes it."""
    study, path = banks_study(), work / f"world-{seed % SPLIT}.parquet"
    if not path.exists():
        WorldTerms(PEOPLE, PREVALENCE).write_units(study, seed % SPLIT, path)
    choice = RecordsChoice((str(path),), institution_column=INSTITUTION, audit_column=ROLE)
    return Source(name, study, choice, late=name == "late")


SETS: Final[Mapping[str, Callable[[Path, Path], Source]]] = {
    "heart": heart,
    "adult": adult,
    "amlsim": amlsim,
    "sms": sms,
    "youtube": youtube,
}


# -- runs -----------------------------------------------------------------------------------------


def grid(study: Study) -> Iterator[Schedule]:
    """Yield the study's own schedule, then few steps: three rates, iterates averaged or not."""
    yield DEFAULT
    own = study.training
    for steps, power, share in product(STEPS, POWERS, AVERAGED):
        rate = own.learning_rate * (own.steps / steps) ** power
        yield Schedule(steps, float(f"{rate:.2g}"), 0.0, None, share)


def broader(study: Study) -> Iterator[Schedule]:
    """Yield what the first grid leaves out: faster, longer means, momentum, C, coordinates."""
    yield DEFAULT
    own, first = study.training, study.privacy.clipping_norm
    whitened = study.geometry is not None and study.geometry.whitened
    for steps in (18, 25, 30):
        rate, fast = (
            float(f"{own.learning_rate * (own.steps / steps) ** power:.2g}") for power in (0.5, 1.1)
        )
        yield from (Schedule(steps, fast, 0.0, None, share) for share in (0.5, 0.75))
        yield Schedule(steps, rate, 0.5, None, 0.5)
        yield from (Schedule(steps, rate, 0.0, None, 0.5, factor * first) for factor in (0.5, 2.0))
        if study.rows is None and not whitened:
            for turned in (0.15, 0.3):
                yield Schedule(steps, turned, 0.0, None, 0.5, 1.0, "whitened")


def in_the_noise(study: Study) -> Iterator[Schedule]:
    """Yield steps that are measured in their noise (decision 0082), beside as few of Adam."""
    yield DEFAULT
    for steps, rate in product((12, 18, 25), (0.1, 0.15, 0.2)):
        yield Schedule(steps, rate, 0.0, 1.0, 0.5)
    own = study.training
    yield Schedule(18, float(f"{own.learning_rate * (own.steps / 18) ** 0.5:.2g}"), 0.0, None, 0.5)


def jobs(study_of: Callable[[str], Study], sets: Collection[str]) -> Iterator[Job]:
    """Yield all runs of some sets, a small whole table first."""
    hearts = [("heart", seed) for seed in range(20)]
    splits = [SPLIT * split for split in range(SPLITS)]
    late, true = ([(name, WORLD + split) for split in splits] for name in FOLDED)
    first = [*hearts[:5], ("adult", 0), ("amlsim", 0), *late]
    second = [*hearts[5:], *product(("youtube", "sms"), range(3)), *true]
    second += product(("adult", "amlsim"), (1, 2))
    third = [
        (name, WORLD + place + split)
        for place in range(1, 10)
        for name in FOLDED
        for split in splits
    ]
    grids = {"first": grid, "broader": broader, "noise": in_the_noise}
    order = [
        *(("noise", epsilon, [*first, *second, *third]) for epsilon in (1.0, 0.5, 4.0)),
        ("first", 1.0, [*first, *second]),
        *(("first", epsilon, [*first, *second]) for epsilon in (0.5, 4.0)),
        ("broader", 1.0, [*first, *second]),
        *(product(grids, (1.0, 0.5, 4.0), ([*first, *second, *third],))),
    ]
    for which, epsilon, places in order:
        for name, seed in places:
            if name not in sets:
                continue  # its records may be elsewhere
            yield from ((name, seed, epsilon, one) for one in grids[which](study_of(name)))


def figures(trial: TrialSet, study: Study, scores: Mapping[str, Scores]) -> dict[str, float]:
    """Return AUROC, AP pooled and as a mean over institutions, and how many of 100 are found."""
    labels = {name: held.labels for name, held in trial.held.items()}
    pooled, truth = np.concatenate(list(scores.values())), np.concatenate(list(labels.values()))
    found = 0
    for name, own in scores.items():
        budget = round(study.evaluation.alert_budget * len(own))
        found += int(labels[name][np.argsort(-own, kind="stable")[:budget]].sum())
    both = [name for name, own in labels.items() if 0 < own.sum() < len(own)]
    return {
        "auroc": float(roc_auc_score(truth, pooled)),
        "ap": float(average_precision_score(truth, pooled)),
        "own": float(np.mean([average_precision_score(labels[n], scores[n]) for n in both])),
        "found": 100 * found / int(truth.sum()),
    }


def run(trial: TrialSet, seed: int, epsilon: float, schedule: Schedule) -> dict[str, Any]:
    """Learn once and measure; seconds are the processor's."""
    begun = time.process_time()
    study = schedule.of(trial.study, epsilon)
    model, learned = model_for(study), parameters_of(trial, study, seed)
    every = model.scores(learned, concatenate(list(trial.held.values())))
    cuts = np.cumsum([len(held) for held in trial.held.values()])[:-1]
    scores = dict(zip(trial.held, np.split(every, cuts), strict=True))
    return {
        "set": trial.name,
        "seed": seed,
        "epsilon": epsilon,
        "schedule": schedule.name,
        "steps": study.training.steps,
        "rate": study.training.learning_rate,
        **figures(trial, study, scores),
        "seconds": time.process_time() - begun,
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; one that a stopped run broke off is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def key_of(row: Mapping[str, Any]) -> tuple[str, int, float, str]:
    """Return what no two rows have alike."""
    return row["set"], row["seed"], row["epsilon"], row["schedule"]


def run_all(path: Path, data: Path, work: Path, until: float, sets: Collection[str]) -> None:
    """Run what the file does not hold yet, until a time of the monotonic clock."""
    done = {key_of(row) for row in rows_of(path)}
    broken = path.exists() and not path.read_bytes().endswith(b"\n")

    @cache
    def source_of(name: str) -> Source:
        return SETS[name](data, work)

    def study_of(name: str) -> Study:
        return banks_study() if name in FOLDED else source_of(name).study

    trial, at = None, ("", 0)
    for name, seed, epsilon, schedule in jobs(study_of, sets):
        if (name, seed, epsilon, schedule.name) in done:
            continue
        if time.monotonic() > until:
            return
        if trial is None or at != (name, seed):
            source = world(name, work, seed) if name in FOLDED else source_of(name)
            trial, at = source.split(seed), (name, seed)
        row = run(trial, seed, epsilon, schedule)
        done.add(key_of(row))
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" * broken + json.dumps(row) + "\n")
        broken = False


# -- table ----------------------------------------------------------------------------------------


def paired(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each set, epsilon and schedule, mean differences to its default's runs.

    Standard errors are over seeds, NaN of one.
    """
    by_key = {key_of(row): row for row in rows}
    groups: dict[tuple[str, float, str], list[dict[str, float]]] = {}
    for (name, seed, epsilon, schedule), row in by_key.items():
        own = by_key.get((name, seed, epsilon, DEFAULT.name))
        if own is not None:
            one = {key: row[key] - own[key] for key in KEYS}
            one |= {f"{key} itself": row[key] for key in KEYS} | {"steps": row["steps"]}
            groups.setdefault((name, epsilon, schedule), []).append(one)
    return [_mean(where, found) for where, found in sorted(groups.items(), key=_place)]


def _place(group: tuple[tuple[str, float, str], list[dict[str, float]]]) -> tuple[Any, ...]:
    (name, epsilon, schedule), found = group
    return name, epsilon, schedule != DEFAULT.name, found[0]["steps"], schedule


def _mean(where: tuple[str, float, str], found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    count = len(found)
    row: dict[str, Any] = dict(zip(("set", "epsilon", "schedule"), where, strict=True))
    row |= {"steps": int(found[0]["steps"]), "runs": count}
    for key in KEYS:
        values = np.array([one[key] for one in found])
        row[key] = float(values.mean())
        error = values.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
        row[f"{key} error"] = float(error)
        row[f"{key} itself"] = float(np.mean([one[f"{key} itself"] for one in found]))
    return row


def within(row: Mapping[str, Any]) -> bool:
    """Tell whether a schedule loses no more than is allowed, in the mean."""
    return bool(row["auroc"] >= -AUROC_LOSS and row["ap"] >= -AP_LOSS)


def fewest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of each set and epsilon its default and the schedule of fewest steps within bounds.

    Of several of as many steps the one with the best AP; none where no schedule is within them.
    """
    chosen = []
    for where in dict.fromkeys((row["set"], row["epsilon"]) for row in rows):
        own = [row for row in rows if (row["set"], row["epsilon"]) == where]
        chosen += [row for row in own if row["schedule"] == DEFAULT.name]
        held = [row for row in own if row["schedule"] != DEFAULT.name and within(row)]
        chosen += sorted(held, key=lambda row: (row["steps"], -row["ap"]))[:1]
    return chosen


def line(row: Mapping[str, Any]) -> str:
    """Return a row of the table, in Markdown."""
    where = f"| {row['set']} | {row['epsilon']:g} | {row['schedule']} | {row['runs']} |"
    digits_of = {key: 1 if key == "found" else 3 for key in KEYS}
    if row["schedule"] == DEFAULT.name:
        itself = [f"{row[f'{key} itself']:.{digits}f}" for key, digits in digits_of.items()]
        return f"{where} {' | '.join(itself)} | |"
    said = []
    for key, digits in digits_of.items():
        error = row[f"{key} error"]
        beside = "" if np.isnan(error) else f" ({error:.{digits}f})"
        said.append(f"{row[key]:+.{digits}f}{beside}")
    return f"{where} {' | '.join(said)} | {'yes' if within(row) else 'no'} |"


def words(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the whole table, then the fewest steps of each set and epsilon."""
    names = "| set | epsilon | schedule | runs | AUROC | AP | AP own | found | within |"
    head = [names, "|" + "---|" * 9]
    return [*head, *map(line, rows), "", "fewest", *head, *map(line, fewest(rows))]


def measure(
    rows: str = "rounds.jsonl",
    data: str = "../shared/data",
    work: str = ".",
    minutes: float = 1e6,
    sets: str = "",
    table: bool = False,
) -> list[dict[str, Any]]:
    """Run what is not run yet, for some minutes, and return paired differences."""
    if not table:
        Path(work).mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + 60 * minutes
        run_all(
            Path(rows), Path(data), Path(work), until, sets.split(",") if sets else (*SETS, *FOLDED)
        )
    return paired(rows_of(Path(rows)))


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()

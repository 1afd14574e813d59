"""Should we join: rows of all seeds, what they say, and the files."""

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final

from fieldfare.shared.joining.figures import MINUTES, Facts, Figures, figures
from fieldfare.shared.joining.page import join_page
from fieldfare.simulations.federation.simulate import folder_for, write_json
from fieldfare.simulations.joining.seeds import JoinTask, Said, SeedRows, seed_rows, unsaid
from fieldfare.simulations.joining.worlds import WorldTerms

PAGE: Final = "join.html"
FIGURES: Final = "join.json"


def join(task: JoinTask, said: Said, *, minutes: float = MINUTES) -> Figures:
    """Measure every seed, and write page and figures; returns the figures.

    Args:
        task: what is compared.
        said: told what is done.
        minutes: of work for an alert.

    Raises:
        FieldfareError: by whose fault it is.
    """
    with folder_for(task.out):
        measured = [_overlapping(task, one) for one in _measured(task, said)]
        found = figures_of(task, measured, minutes=minutes)
        (task.out / PAGE).write_text(join_page(found), encoding="utf-8")
        write_json(task.out / FIGURES, found)
    written: Figures = json.loads((task.out / FIGURES).read_text("utf-8"))
    return written


def _measured(task: JoinTask, said: Said) -> list[SeedRows]:
    """Return the rows of every seed, as many at a time as there are cores; the order is theirs."""
    cores = min(len(task.seeds), len(os.sched_getaffinity(0)))
    if cores < 2:  # noqa: PLR2004 (one at a time, in this process, with each step said)
        return [seed_rows(task, seed, said) for seed in task.seeds]
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        begun = {pool.submit(seed_rows, task, seed, unsaid): seed for seed in task.seeds}
        said(f"{len(begun)} seeds, {cores} at a time", 0, len(begun))
        for done, future in enumerate(as_completed(begun), start=1):
            future.result()
            said(f"seed {begun[future]} is done", done, len(begun))
        return [future.result() for future in begun]


def _overlapping(task: JoinTask, found: SeedRows) -> SeedRows:
    """Say in rows of given records how far hold-outs of two seeds overlap; worlds share none."""
    if isinstance(task.source, WorldTerms):
        return found
    share = {"overlap": task.study.evaluation.holdout}
    return found.model_copy(
        update={
            "rows": tuple(row.model_copy(update=share) for row in found.rows),
            "kinds": tuple(row.model_copy(update=share) for row in found.kinds),
        }
    )


def figures_of(task: JoinTask, measured: Sequence[SeedRows], *, minutes: float) -> Figures:
    """Return what the rows of all seeds say."""
    facts = Facts.of(
        task.study, minutes=minutes, learned=_learned(task), unknown=tuple(_unknown(task))
    )
    return figures(
        facts,
        [row for seed in measured for row in seed.rows],
        [row for seed in measured for row in seed.kinds],
        [row for seed in measured for row in seed.months],
    )


def _learned(task: JoinTask) -> str:
    what = (
        f"Each seed is an invented world of its own ({task.source.people:,} people, prevalence "
        f"{100 * task.source.prevalence:g} % of main customers); nobody exists. "
        f"{_labels(task.source)}"
        if isinstance(task.source, WorldTerms)
        else "Records are the same for all seeds; each splits them anew and draws other noise."
    )
    return f"Here the noise was of the size of a protected run, from a fast seeded source. {what}"


def _labels(source: WorldTerms) -> str:
    if source.version == 1:
        return "Banks know every case of theirs, which no real bank does."
    return (
        "Labels are what each bank had come to know a year after the window: about a quarter of "
        "its cases, and some mistakes. A case that it does not know counts as none, in training "
        "and in these figures."
    )


def _unknown(task: JoinTask) -> list[str]:
    if isinstance(task.source, WorldTerms):
        return []
    missing = [
        what
        for question, what in (
            ("rare", "roles that are rare here (--role-column)"),
            ("left out", "a scenario never seen here (--scenario-column)"),
        )
        if question not in task.source.columns
    ]
    missing.append(
        "months until a new scenario is found (records do not say when it began and when each "
        "label came; an invented world does)"
    )
    return [f"Not answered from these records: {'; '.join(missing)}."]

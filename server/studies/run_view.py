"""The view of runs for people: one screen for each, one line for each change, one table of all.

Everything shown is either the coordinator's own or was released; names and reasons are other
people's texts, and nothing in them moves the cursor or sets colours.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.text import Text

from fieldfare.server.store.rows import LostAttempts, Progress, said_of_losses
from fieldfare.server.studies.run_life import InspectedRun, Life
from fieldfare.server.studies.study_answers import UNHEARD, StudyAnswer, given
from fieldfare.shared.evaluation.groups import group_lines
from fieldfare.shared.evaluation.metrics import guard_line
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    REJECTED,
    WITHDRAWN,
)
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.prospects import budget_obstacle, obstacles
from fieldfare.shared.terminal.screen import facts, table
from fieldfare.shared.terminal.texts import ago, bar, counted, duration, plain

BAR: Final = 24  # characters
MOST_INSTITUTIONS: Final = 20  # rows on the screen; --json has all
MOST_TEXT: Final = 200
_TIMED: Final = frozenset({"moments", "training", "evaluation", "fairness"})
METRICS: Final = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision": "precision",
    "recall": "recall",
}

_GOOD: Final = frozenset(["asked", "answered", "approved"])
_STYLES: Final = {
    "finished": "green",
    "running": "bold",
    "stopping": "yellow",
    "interrupted": "bold red",
    "failed": "bold red",
}


@dataclass(frozen=True)
class EpsilonUse:
    """A study's promise and the spent part of it.

    Attributes:
        epsilon, delta: what the study promises.
        spent: epsilon spent so far over all runs of the study, at that delta.
        of_run: epsilon that this run alone spent.
    """

    epsilon: float
    delta: float
    spent: float
    of_run: float


@dataclass(frozen=True)
class RunSummary:
    """One run at one moment, with everything that is shown of it.

    Attributes:
        inspected: its row, and whether a process works on it.
        name: of its study.
        promise: privacy; None where the study's file is gone.
        metrics: the released metrics, parsed; empty where noise hid everything, None before.
        institutions: what each last did and when; None for one that was not heard.
        losses: failed attempts that an institution caused, for those that did.
        seconds_left: of training, None where nothing is known.
        now: the moment.
    """

    inspected: InspectedRun
    name: str
    promise: EpsilonUse | None
    metrics: Mapping[str, Any] | None
    institutions: Mapping[str, tuple[str, datetime] | None]
    losses: Mapping[str, LostAttempts]
    seconds_left: float | None
    now: datetime


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """Return everything of a summary for programs."""
    row = summary.inspected.row
    return {
        "run": row.run,
        "study": row.study,
        "name": summary.name,
        "state": row.state.value,
        "life": summary.inspected.life.value,
        "reason": row.reason,
        "note": summary.inspected.note,
        "command": summary.inspected.command,
        "created": row.created.isoformat(),
        "ended": row.ended.isoformat() if row.ended else None,
        "progress": progress_json(row.progress),
        "seconds_left": summary.seconds_left,
        "privacy": _promise_json(summary.promise),
        "metrics": summary.metrics,
        "institutions": {
            name: None if said is None else {"status": said[0], "at": said[1].isoformat()}
            for name, said in summary.institutions.items()
        },
        "lost_attempts": {name: asdict(lost) for name, lost in summary.losses.items()},
    }


def progress_json(progress: Progress | None) -> dict[str, Any] | None:
    """Return a run's progress for programs."""
    if progress is None:
        return None
    return {
        "phase": progress.phase,
        "step": progress.step,
        "steps": progress.steps,
        "attempt_failures": progress.attempt_failures,
        "seconds": progress.seconds,
        "spent_picomu2": progress.spent.total,
        "at": progress.at.isoformat(),
    }


def screen(summary: RunSummary) -> RenderableType:
    """Render a run for a terminal of 80 columns or more."""
    parts: list[RenderableType] = [_title(summary), facts(_rows(summary), head="dim")]
    if summary.institutions:
        parts += [Text(), _institutions(summary)]
    parts += [Text(plain(text, 4 * MOST_TEXT), style="yellow") for text in _lost(summary)]
    return Group(*parts)


def line(summary: RunSummary) -> str:
    """Say a run's state in one line, for logs and pipes."""
    row, progress = summary.inspected.row, summary.inspected.row.progress
    parts = [f"{row.run}: {summary.inspected.word}"]
    if progress is not None:
        parts.append(phase_words(progress))
        if progress.step:
            parts.append(f"{progress.seconds:.2f} s")
        if progress.attempt_failures:
            parts.append(f"{counted(progress.attempt_failures, 'attempt')} failed")
    if summary.promise is not None:
        parts.append(
            f"epsilon {short_number(summary.promise.spent)} of {summary.promise.epsilon:g}"
        )
    problems = [
        f"{name} {said[0]}"
        for name, said in summary.institutions.items()
        if said is not None and said[0] not in _GOOD
    ]
    problems += [
        f"{name} caused {counted(lost.of_run, 'failed attempt')}"
        for name, lost in summary.losses.items()
    ]
    return plain(", ".join([*parts, *problems]), 4 * MOST_TEXT)


def last_lines(summary: RunSummary) -> list[str]:
    """Return how a run ended: the reason, the releases, the next command."""
    row = summary.inspected.row
    lines = [f"{row.run}: {summary.inspected.word}" + (f": {row.reason}" if row.reason else "")]
    lines += [f"released {text}" for text in metric_texts(summary.metrics)]
    lines += _lost(summary)
    if summary.inspected.note:
        lines.append(summary.inspected.note)
    if summary.inspected.command:
        lines.append(f"Next: {summary.inspected.command}")
    return [plain(text, 4 * MOST_TEXT) for text in lines]


def metric_texts(metrics: Mapping[str, Any] | None) -> list[str]:
    """Say each released metric with its interval, the guard's choice, and how groups fare."""
    if metrics is None:
        return []
    groups, guard = metrics.get("released_groups"), metrics.get("released_guard")
    chosen = [guard_line(guard)] if guard else []
    return _rates(metrics) + chosen + (group_lines(groups) if groups else [])


def _lost(summary: RunSummary) -> list[str]:
    return [said_of_losses(name, lost) for name, lost in summary.losses.items()]


def _rates(metrics: Mapping[str, Any]) -> list[str]:
    known = [(METRICS[key], metrics[key]) for key in METRICS if isinstance(metrics.get(key), dict)]
    if not known:
        return ["no metric: noise hid all of them"]
    return [
        f"{name} {found['value']:.3f} (95 %: {found['low']:.3f} to {found['high']:.3f})"
        for name, found in known
    ]


def runs_table(summaries: Sequence[RunSummary]) -> RenderableType:
    """Render all runs, one row each."""
    found = table(
        ("run", "study", "state", "step", "epsilon", "since"),
        map(_cells, summaries),
        numbers=("step", "epsilon"),
        whole=("state", "since"),
    )
    found.columns[1].max_width = 24
    unclear = [one for one in summaries if one.inspected.life in {Life.INTERRUPTED, Life.UNKNOWN}]
    notes = dict.fromkeys(
        text for one in unclear for text in (one.inspected.note, one.inspected.command)
    )
    lines = [
        Text(plain(text, 2 * MOST_TEXT), style="dim")
        for text in (*notes, *_noes(summaries))
        if text
    ]
    return Group(found, *lines)


def _cells(one: RunSummary) -> tuple[str | Text, ...]:
    row, progress = one.inspected.row, one.inspected.row.progress
    return (
        row.run,
        plain(one.name, MOST_TEXT),
        Text(one.inspected.word, style=_STYLES.get(one.inspected.word, "")),
        f"{progress.step}/{progress.steps}" if progress else "-",
        short_number(one.promise.of_run) if one.promise else "-",
        ago(one.now - (row.ended or row.created)),
    )


def _noes(summaries: Sequence[RunSummary]) -> dict[str, None]:
    """Say once which institution rejected which study, and why."""
    return dict.fromkeys(
        f"{one.name}: {name} {said[0]}"
        for one in summaries
        for name, said in one.institutions.items()
        if said is not None and said[0].startswith((REJECTED, WITHDRAWN))
    )


def parse_metrics(content: str | None) -> Mapping[str, Any] | None:
    """Parse a run store's metrics; empty where noise hid everything."""
    if content is None:
        return None
    found = json.loads(content) if content else {}
    return found if isinstance(found, dict) else {}


@dataclass
class Pace:
    """The speed of a run, from its observed steps.

    Attributes:
        most: steps that are looked back on.
    """

    most: int = 20
    _marks: tuple[tuple[int, datetime], ...] = ()

    def seconds_left(self, progress: Progress | None) -> float | None:
        """Return how long the rest of training and the evaluation will take, if that is known."""
        if progress is None or progress.phase not in _TIMED:
            self._marks = ()
            return None
        mark = (progress.step, progress.at)
        if not self._marks or mark[0] > self._marks[-1][0]:
            self._marks = (*self._marks, mark)[-self.most :]
        first, last = self._marks[0], self._marks[-1]
        steps = last[0] - first[0]
        each = (last[1] - first[1]).total_seconds() / steps if steps else progress.seconds
        if progress.phase != "training":
            return each or None
        return each * (progress.steps - progress.step + 1) or None


def _title(summary: RunSummary) -> Rule:
    title = Text(plain(summary.name, 40), style="bold")
    word = summary.inspected.word
    title.append(f"  {summary.inspected.row.run}", style="not bold")
    title.append(f"  {word}", style=_STYLES.get(word, ""))
    return Rule(title, align="left", style="dim", characters="-")


def _rows(summary: RunSummary) -> Iterator[tuple[str, Text]]:
    row, progress = summary.inspected.row, summary.inspected.row.progress
    if row.reason and row.state.ended:
        yield "because", Text(plain(row.reason, 2 * MOST_TEXT))
    if summary.inspected.note:
        yield "now", Text(plain(summary.inspected.note, 2 * MOST_TEXT))
    if summary.inspected.command:
        yield "next", Text(plain(summary.inspected.command, 2 * MOST_TEXT))
    if progress is None:
        yield "phase", Text("waiting for its process")
    else:
        yield "phase", Text(f"{phase_words(progress)}  {_bar(progress)}")
        yield "time", Text(_time(summary, progress))
    if summary.promise is not None:
        promise = summary.promise
        yield (
            "privacy",
            Text(
                f"epsilon {short_number(promise.spent)} of {promise.epsilon:g} spent "
                f"(delta {promise.delta:g}), over all runs of this study"
            ),
        )
    for number, text in enumerate(metric_texts(summary.metrics)):
        yield ("released" if number == 0 else ""), Text(plain(text, 4 * MOST_TEXT))


def phase_words(progress: Progress) -> str:
    """Say what a run does, and at which step it is."""
    steps = f"step {progress.step} of {progress.steps}"
    return steps if progress.phase == "training" else f"{plain(progress.phase, 20)}, {steps}"


def _bar(progress: Progress) -> str:
    share = min(1.0, progress.step / progress.steps) if progress.steps else 0.0
    return f"{bar(int(share * BAR), BAR, '.')} {int(100 * share)} %"


def _time(summary: RunSummary, progress: Progress) -> str:
    began = f"started {ago(summary.now - summary.inspected.row.created)}"
    return ", ".join(filter(None, [pace_words(summary, progress), began]))


def pace_words(summary: RunSummary, progress: Progress) -> str:
    """Say how long steps take, how long the rest, and how many attempts failed; maybe nothing."""
    parts = []
    if progress.step:
        parts.append(f"last step {progress.seconds:.2f} s")
    if summary.seconds_left is not None and summary.inspected.life is Life.ALIVE:
        parts.append(f"about {duration(summary.seconds_left)} left")
    if progress.attempt_failures:
        parts.append(f"{counted(progress.attempt_failures, 'attempt')} failed")
    return ", ".join(parts)


def _institutions(summary: RunSummary) -> RenderableType:
    # Readers look for institutions that did not answer: those are not cut off.
    all_of_them = sorted(summary.institutions.items(), key=lambda entry: _is_good(entry[1]))
    shown = sorted(all_of_them[:MOST_INSTITUTIONS])
    rows = (
        (
            plain(name, MOST_TEXT),
            Text(
                plain(said[0] if said else UNHEARD, MOST_TEXT),
                style="" if _is_good(said) else "yellow",
            ),
            ago(summary.now - said[1]) if said else "",
        )
        for name, said in shown
    )
    found = table(("institution", "last", "when"), rows, whole=("when",))
    found.columns[0].max_width = 32
    rest = len(all_of_them) - len(shown)
    return Group(found, Text(f"and {rest} more", style="dim")) if rest else found


def _is_good(said: tuple[str, datetime] | None) -> bool:
    return said is not None and said[0] in _GOOD


def _promise_json(promise: EpsilonUse | None) -> dict[str, float] | None:
    if promise is None:
        return None
    return {
        "epsilon": promise.epsilon,
        "delta": promise.delta,
        "epsilon_spent": promise.spent,
        "epsilon_of_run": promise.of_run,
    }


def short_number(value: float) -> str:
    """Return a number to three digits."""
    return f"{value:.3g}"


# -- approvals ------------------------------------------------------------------------------------


def start_obstacles(
    plan: Plan, heard: Mapping[str, StudyAnswer], spent: SideCosts
) -> tuple[str, ...]:
    """Return why a run that is started now could not finish, or not give anything; one line each.

    Args:
        plan: of the study.
        heard: what the institutions say to it.
        spent: by earlier runs of the study, in 1e-12 mu^2.
    """
    least, approved = plan.study.aggregation.minimum_institutions, given(heard)
    found = list(obstacles(plan, max(approved, least)))
    if left := budget_obstacle(plan, spent):
        found.append(left)
    if approved < least:
        others = "; ".join(f"{name}: {one.text}" for name, one in heard.items() if not one.approval)
        found.append(
            f"approvals: expected {least} or more that count, found {approved} ({others or '-'})"
        )
    return tuple(found)

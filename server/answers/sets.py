"""Earlier answers, read again from runs' transcripts or from a simulation's file.

Reading a released sum is post-processing: it costs nothing, however often it is done.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.server.answers.analytics import read_answers
from fieldfare.server.answers.answer import Answer, Cell
from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import RunStore
from fieldfare.server.studies.proposals import proposal
from fieldfare.shared.errors import ProtocolError, RunError, UsageError
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.ring import decode
from fieldfare.shared.run.replay import decoded_sum
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.transcript.leaves import AnswersRecord, Leaf, LeafKind, SumRecord

MAX_RESULTS: Final = 256 * 1024 * 1024
Number = float | None


@dataclass(frozen=True)
class AnswerSet:
    """Questions that one release answered.

    Attributes:
        study, name: the study's id and name.
        run: whose release; empty for a simulation.
        later: asked within the allowance, not declared in the study.
        questions: the questions; None for a simulation's file, which does not hold them.
        answers: in the questions' order.
        truths: for each answer's cells what a simulation knows; empty otherwise.
    """

    study: str
    name: str
    run: str
    later: bool
    questions: QuestionGroup | None
    answers: tuple[Answer, ...]
    truths: tuple[tuple[Number, ...], ...] = ()


def kept_answers(store: RunStore, home: CoordinatorHome, row: RunRow) -> tuple[AnswerSet, ...]:
    """Return a run's answers so far, in order; none where it asked nothing yet.

    Raises:
        UsageError: the run's study is gone from the folder.
        RunError: the kept run cannot be read.
    """
    found = proposal(home, row.study)
    if not found.study.asks:
        return ()
    try:
        sums = list(_sums(plan_for(found.study), store.leaves(row.run)))
    except ProtocolError as error:
        raise RunError(f"run {row.run}: the kept run cannot be read: {error}") from None
    return tuple(
        AnswerSet(row.study, found.study.name, row.run, later, group, answers)
        for later, group, answers in sums
    )


def _sums(
    plan: Plan, leaves: Iterable[Leaf]
) -> Iterable[tuple[bool, QuestionGroup, tuple[Answer, ...]]]:
    later, before, institutions = False, 0, 0
    for leaf in leaves:
        if leaf.kind is LeafKind.QUESTIONS:
            later = True
        elif leaf.kind is LeafKind.SUM:
            institutions = len(SumRecord.from_bytes(leaf.content).participants)
        elif leaf.kind is LeafKind.ANSWERS:
            record = AnswersRecord.from_bytes(leaf.content)
            step = plan.allowance.first_step + before if later else plan.query.first_step
            terms = plan.question_terms(step, record.group)
            words = decode(record.content, terms.word_bits, terms.vectors.entries)
            values = decoded_sum(words, terms, institutions)
            answers = read_answers(plan, record.group, values, institutions=institutions, step=step)
            yield later, record.group, answers
            before += 1


class _Part(BaseModel):
    # Other keys are welcome: results.json may grow.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, strict=True)


Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Answer(_Part):
    name: str
    kind: str
    value: float | list[Number] | None
    interval: list[Interval | None] | Interval | None = None
    sigma: float
    suppressed: int
    institutions: int
    mu2: float = 0.0
    keys: list[str] = []
    cells: list[list[str]] | None = None
    measures: list[str] | None = None
    alarms: list[str] = []
    true: float | list[Number] | None = None


class _Study(_Part):
    id: str
    name: str


class _Results(_Part):
    format: int
    study: _Study
    answers: list[_Answer] | None = None


def simulated_answers(path: Path) -> AnswerSet:
    """Return the answers in a simulation's `results.json`, the truth beside them.

    Raises:
        UsageError: unreadable, no such file, or one without answers.
    """
    try:
        content = path.read_bytes()[:MAX_RESULTS]
        results = _Results.model_validate(json.loads(content))
    except OSError as error:
        raise UsageError(f"{path}: expected a readable file, found: {error.strerror}") from None
    except (ValidationError, ValueError, RecursionError):
        raise UsageError(
            f"{path}: expected a results.json of `fieldfare simulate`, found something else"
        ) from None
    if not results.answers:
        raise UsageError(
            f"{path}: expected answers, found none: simulate a study that declares [[queries]]"
        )
    read = [_as_answer(path, one) for one in results.answers]
    return AnswerSet(
        study=results.study.id,
        name=results.study.name,
        run="",
        later=False,
        questions=None,
        answers=tuple(answer for answer, _ in read),
        truths=tuple(truth for _, truth in read),
    )


def _as_answer(path: Path, one: _Answer) -> tuple[Answer, tuple[Number, ...]]:
    single = one.cells is None
    keys: list[list[str]] = [[]] if one.cells is None else one.cells
    measures = one.measures if one.measures is not None else [one.kind]
    found = (one.value, one.interval, one.true)
    values, intervals, true = ([part] if single else part for part in found)
    lists: tuple[Any, ...] = (values, intervals, measures, true or [None] * len(keys))
    if not all(isinstance(part, list) and len(part) == len(keys) for part in lists):
        raise UsageError(f"{path}: {one.name!r}: expected one value for each cell, found others")
    rows: list[tuple[Any, ...]] = list(zip(keys, *lists, strict=True))
    cells = tuple(
        Cell(tuple(key), measure, value, *(interval or (None, None)))
        for key, value, interval, measure, _ in rows
    )
    answer = Answer(
        name=one.name,
        kind=one.kind,
        keys=tuple(one.keys),
        cells=cells,
        sigma=one.sigma,
        suppressed=one.suppressed,
        institutions=one.institutions,
        mu2=one.mu2,
        alarms=tuple(one.alarms),
    )
    return answer, tuple(row[-1] for row in rows)

"""The results of a run's releases so far."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.run.coordinates import plain_parameters
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.study.questions import QuestionGroup

Values = NDArray[np.float64]

UNKNOWN: Final = ""  # a hash that only a deleted sum would tell


@dataclass(frozen=True, eq=False)
class AnswerSum:
    """The institutions' answer to a group of questions, before it is read.

    Attributes:
        questions: the group.
        values: float64 (entries,), in the vector's own unit.
        participants: how many institutions are in the sum.
        step: where in the run they were asked; the plan's terms follow from it.
    """

    questions: QuestionGroup
    values: Values
    participants: int
    step: int


@dataclass(frozen=True, eq=False)
class GuardSum:
    """How much better than its public start the trained model is on training units.

    Attributes:
        value: log loss of the start less that of the trained model, each unit's within +-C.
        trained: whether that is beyond the noise, so that the trained model goes on.
        participants: how many institutions are in it.
    """

    value: float
    trained: bool
    participants: int


@dataclass(frozen=True, eq=False)
class GroupsSum:
    """The institutions' counts by group, before they are read.

    Attributes:
        threshold: log-odds from which a unit was an alert.
        values: float64 (entries,), in the vector's own unit.
        participants: how many institutions are in the sum.
    """

    threshold: float
    values: Values
    participants: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Results:
    """Everything that later releases of a run follow from.

    Attributes:
        rehearsed: the masks were summed and cancelled.
        remains: they did not cancel: the run is over, and nobody has released anything.
        geometry: the coordinates of training; None before their moments are known, and where the
            study has none.
        training: where training stands, in these coordinates; None before the start is bound, and
            where only a deleted sum would tell.
        steps: of training that were summed.
        parameters: hash of the parameters after the last step (or at the start), or UNKNOWN.
        bound: hash of what the last request bound.
        guarded: training stands at the model that the guard chose: a plain additive one.
        started: the start, as the guard's request bound it.
        guard: what it found, where that is known.
        table: float64, the evaluation's sum; None before it and where it was deleted.
        metrics: what the evaluation said, nothing if noise hid it; None before it.
        measured: the metrics were read off the sum again, and are no word of the coordinator.
        model: hash of the model that was evaluated, or UNKNOWN.
        threshold: of the counts by group, as a request bound it.
        groups: counts by group.
        answered: groups of questions that were answered.
        answers: to them, in the order in which they were asked, where they are known.
        later: groups of questions that were announced within the study's allowance; with any,
            the run is for these and trains nothing.
    """

    rehearsed: bool = False
    remains: bool = False
    geometry: Geometry | None = None
    training: TrainingState | None = None
    steps: int = 0
    parameters: str = UNKNOWN
    bound: str = UNKNOWN
    guarded: bool = False
    started: TrainingState | None = None
    guard: GuardSum | None = None
    table: Values | None = None
    metrics: str | None = None
    measured: bool = False
    model: str = UNKNOWN
    threshold: float | None = None
    groups: GroupsSum | None = None
    answered: int = 0
    answers: tuple[AnswerSum, ...] = ()
    later: tuple[QuestionGroup, ...] = ()

    @property
    def plain_model(self) -> Values | None:
        """float64 (entries,): the averaged model as it is used, without its coordinates."""
        if self.training is None:
            return None
        return plain_parameters(self.geometry, self.training.model)

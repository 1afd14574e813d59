"""A run's record, which lets the coordinator resume the run after a crash.

Everything is kept before anybody depends on it: an opening and a request before they are
sent, a sum and the step it led to before the next request is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.queries.questions import QuestionGroup
from fieldfare.shared.run.last_sum import NO_LAST_SUM, LastSum
from fieldfare.shared.run.optimizer import TrainingState


@dataclass(frozen=True, eq=False)
class Sum:
    """A decoded sum and its attempts.

    Attributes:
        values: float64 (entries,), in the sum's own unit (exact: integers times gamma).
        participants: institutions in the sum, sorted.
        attempt: the attempt that succeeded.
        debits: releases answered for it, by institution, failed attempts included.
        request: the signed request of the attempt that succeeded.
        replies: signed replies by institution.
        vectors: masked vectors by institution.
        words: the sum's ring words, little-endian.
    """

    values: NDArray[np.float64]
    participants: tuple[str, ...]
    attempt: int
    debits: Mapping[str, int]
    request: bytes
    replies: Mapping[str, bytes]
    vectors: Mapping[str, bytes]
    words: bytes

    @property
    def as_last(self) -> LastSum:
        """The sum as it travels with the next request."""
        return LastSum(
            self.request,
            tuple(self.replies[name] for name in self.participants),
            tuple(self.vectors[name] for name in self.participants),
        )


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
    values: NDArray[np.float64]
    participants: int
    step: int


@dataclass(frozen=True, eq=False)
class GroupsSum:
    """The institutions' counts by group, before they are read.

    Attributes:
        threshold: log-odds from which a unit was an alert.
        values: float64 (entries,), in the vector's own unit.
        participants: how many institutions are in the sum.
    """

    threshold: float
    values: NDArray[np.float64]
    participants: int


@dataclass(frozen=True)
class Opening:
    """A run's opening, as it was sent: it is sent again unchanged.

    Attributes:
        opening: signed RunOpening.
        approvals: signed approvals of the participants, in the opening's order.
        offers: signed key offers in the same order; empty before all have agreed.
    """

    opening: bytes
    approvals: tuple[bytes, ...]
    offers: tuple[bytes, ...] = ()


@dataclass(frozen=True, eq=False)
class Standing:
    """The state of a run.

    Attributes:
        opening: as it was sent, or None before.
        state: after the last step that was summed; None before the rehearsal.
        last: the training sum that led to it; after an evaluation that counts by group follow,
            the evaluation's.
        request: the last signed request, or nothing.
        answered: whether that request is done with: summed, or its attempt failed.
        stayed: who answered it, where its attempt failed; the others have left.
        debits: 1e-12 mu^2 by institution so far.
        failed: attempts that failed so far.
        metrics: what the evaluation said, nothing if noise hid it; None before it.
        groups: counts by group, where the study asks for them and they were collected.
        answers: to the questions of the run, as far as they were asked.
        asked: later questions that were written down, and not answered yet.
        done: the model is made; only its delivery is left.
    """

    opening: Opening | None = None
    state: TrainingState | None = None
    last: LastSum = NO_LAST_SUM
    request: bytes = b""
    answered: bool = True
    stayed: frozenset[str] = frozenset()
    debits: Mapping[str, int] = field(default_factory=dict)
    failed: int = 0
    metrics: str | None = None
    groups: GroupsSum | None = None
    answers: tuple[AnswerSum, ...] = ()
    asked: QuestionGroup | None = None
    done: bool = False


class Record(Protocol):
    """Keeps one run. Every method raises RunError where nothing could be kept."""

    def standing(self) -> Standing:
        """Return where the run stands."""
        ...

    def opening(self, opening: Opening) -> None:
        """Keep an opening before it is sent."""
        ...

    def agreed(self, opening: Opening) -> None:
        """Keep the key offers that all participants have agreed on."""
        ...

    def requested(self, request: bytes) -> None:
        """Keep a signed request before it is sent."""
        ...

    def failed(self, replies: Mapping[str, bytes], *, costs: bool) -> None:
        """Keep the replies of an attempt that not every institution answered."""
        ...

    def summed(self, total: Sum, state: TrainingState) -> None:
        """Keep a rehearsal's or a training step's sum, and the state that it led to."""
        ...

    def evaluated(self, total: Sum, metrics: str) -> None:
        """Keep the evaluation's sum, and its metrics as canonical JSON (nothing if hidden)."""
        ...

    def grouped(self, total: Sum, threshold: float) -> None:
        """Keep the counts by group, and the log-odds from which a unit was an alert."""
        ...

    def asking(self, questions: QuestionGroup) -> None:
        """Keep later questions before any institution is asked."""
        ...

    def answered(self, total: Sum, questions: QuestionGroup) -> None:
        """Keep the sum that answers a group of questions."""
        ...

    def heard(self, institution: str, text: str) -> None:
        """Note what an institution did last, for those who watch."""
        ...

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note what an institution says to the study, and its signed approval if it gave one."""
        ...

    def waiting_for(self, institutions: Sequence[str]) -> None:
        """Note who is waited for, so that those who watch know at once."""
        ...

    def stopping(self) -> bool:
        """Tell whether the run was asked to end after this step."""
        ...


@dataclass(frozen=True)
class NoRecord:
    """Keeps nothing: a simulation is started again, not resumed."""

    def standing(self) -> Standing:
        """Return the beginning."""
        return Standing()

    def opening(self, opening: Opening) -> None:
        """Keep nothing."""

    def agreed(self, opening: Opening) -> None:
        """Keep nothing."""

    def requested(self, request: bytes) -> None:
        """Keep nothing."""

    def failed(self, replies: Mapping[str, bytes], *, costs: bool) -> None:
        """Keep nothing."""

    def summed(self, total: Sum, state: TrainingState) -> None:
        """Keep nothing."""

    def evaluated(self, total: Sum, metrics: str) -> None:
        """Keep nothing."""

    def grouped(self, total: Sum, threshold: float) -> None:
        """Keep nothing."""

    def asking(self, questions: QuestionGroup) -> None:
        """Keep nothing."""

    def answered(self, total: Sum, questions: QuestionGroup) -> None:
        """Keep nothing."""

    def heard(self, institution: str, text: str) -> None:
        """Note nothing."""

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note nothing."""

    def waiting_for(self, institutions: Sequence[str]) -> None:
        """Note nothing."""

    def stopping(self) -> bool:
        """A run without a store cannot be asked."""
        return False

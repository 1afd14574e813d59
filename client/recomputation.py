"""Whether a request's parameters follow from the last step's signed replies.

The coordinator does nothing to sums that a custodian cannot do again: it adds them up and
takes a step of Adam. So every custodian takes that step itself, from the replies that the
participants signed, and answers only for the parameters that come out, bit for bit. A
crafted parameter vector is refused, not just logged (docs/design.md, "Recomputation").
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.admission import ApprovedRun
from fieldfare.client.ledger import Ledger
from fieldfare.client.site import Site
from fieldfare.shared.adam import TrainingState
from fieldfare.shared.alert_cut import thresholds_near, with_threshold
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.last_sum import LastSum, carries_last_sum
from fieldfare.shared.messages import (
    Assurance,
    Reply,
    Request,
    parameters_hash,
    parameters_to_bytes,
)
from fieldfare.shared.plan import Plan, ReleaseKind, ReleaseTerms
from fieldfare.shared.replay import bound_initial_state, initial_state, stepped, summed_again
from fieldfare.shared.study import Study

PROGRESS_STATE: Final = "progress:"  # no run's id holds a colon

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Recomputation:
    """One institution's own account of where a run stands."""

    site: Site
    ledger: Ledger

    def check(self, run: ApprovedRun, request: Request, last: LastSum) -> dict[str, bytes]:
        """Recompute the parameters that `request` binds.

        Args:
            run: the run as it was opened.
            request: whose frame, participants and terms were checked before.
            last: the sum of the step before; looked at where this step's state is not known.

        Returns:
            States to keep, by name, in the transaction that debits the release: where the run
            stands now. Empty where nothing is recomputed (simulations; sums that are too large
            to be sent again).

        Raises:
            PolicyRefusal: NOT_RECOMPUTED.
            LedgerError: the stored state cannot be read.
        """
        if self.site.assurance is Assurance.SIMULATED:
            return {}
        if request.kind is ReleaseKind.QUERY:  # questions follow from the study, not from a sum
            return {}
        if not carries_last_sum(run.plan, len(run.opening.participants)):
            if run.plan.study.asks_for_knots:  # whoever makes up knots makes up parameters
                raise _refused("expected knots that can be recomputed: fewer participants or bins")
            return {}
        table: Values | None = None
        try:
            if request.kind is ReleaseKind.FAIRNESS:
                state, table = self._evaluated(run, request, last)
            else:
                state = self._state_at(run, request, last)
        except ProtocolError as error:
            raise PolicyRefusal(RefusalCode.NOT_RECOMPUTED, str(error)) from None
        if request.parameters not in _expected_hashes(run, request, state, table):
            raise _refused("expected the parameters that follow from the last sum, found others")
        return {PROGRESS_STATE + request.run: state.to_bytes()}

    def model(self, study: Study, run: str) -> Values | None:
        """Return float64 (entries,), a run's averaged model as it was recomputed here.

        None where this institution did not stay to the last step, or nothing is recomputed.

        Raises:
            LedgerError: the stored state cannot be read.
        """
        state = self._kept(study.id, run)
        return state.model if state and state.step == study.training.steps else None

    def _state_at(self, run: ApprovedRun, request: Request, last: LastSum) -> TrainingState:
        if request.kind is ReleaseKind.REHEARSAL:
            return _start(run, request, None)
        kept = self._kept(request.study, request.run) or self._begun(run, request, last)
        position = run.plan.training.first_step + kept.step
        if position == request.step:
            return kept
        if position + 1 != request.step:
            raise ProtocolError(f"expected step {position} or the one after it")
        total = self._total(request, last, _Expected.step(run.plan, kept))
        return stepped(run.plan.study, kept, total, len(last.vectors))

    def _evaluated(
        self, run: ApprovedRun, request: Request, last: LastSum
    ) -> tuple[TrainingState, Values]:
        """Return where training ended, and the table that the threshold of alerts follows from."""
        kept = self._kept(request.study, request.run)
        if kept is None or kept.step != run.plan.study.training.steps:
            raise ProtocolError("expected a model that was evaluated here")
        return kept, self._total(request, last, _Expected.evaluation(run.plan, kept))

    def _begun(self, run: ApprovedRun, request: Request, last: LastSum) -> TrainingState:
        """Return where training starts: on the knots that follow from the questions' sum, if any.

        Raises:
            ProtocolError: knots follow from a sum, and this is not it.
        """
        if not run.plan.study.asks_for_knots:
            return _start(run, request, None)
        if request.step != run.plan.training.first_step:
            raise ProtocolError(
                "expected the first step of training, with the sum of the questions"
            )
        answer = self._total(request, last, _Expected.questions(run.plan))
        return _start(run, request, answer)

    def _kept(self, study: str, run: str) -> TrainingState | None:
        content = self.ledger.run_state(study, PROGRESS_STATE + run)
        if content is None:
            return None
        try:
            return TrainingState.from_bytes(content)
        except ProtocolError as error:
            raise LedgerError(f"expected a run's kept progress: {error}") from None

    def _total(self, request: Request, last: LastSum, release: "_Expected") -> Values:
        """Add up the last sum from the vectors that its participants signed.

        Raises:
            ProtocolError: not the sum that was expected, or not everybody's own vector.
        """
        asked = self.site.from_coordinator(last.request, Request).body
        frame = (request.study, request.roster, request.run, release.at, release.terms.kind)
        if (asked.study, asked.roster, asked.run, asked.step, asked.kind) != frame:
            raise ProtocolError(f"expected the request of step {release.at} of this run")
        if asked.parameters != release.content:
            raise ProtocolError("expected a request for the parameters that were kept")
        # This institution's own reply is among them, so it has checked every term of R before.
        if self.site.institution not in {p.institution for p in asked.participants}:
            raise ProtocolError("expected a sum that this institution is part of")
        if not len(asked.participants) == len(last.replies) == len(last.vectors):
            raise ProtocolError("expected a reply and a vector of each participant")
        self._check_replies(asked, last)
        terms = release.terms
        return summed_again(terms, last.vectors)

    def _check_replies(self, asked: Request, last: LastSum) -> None:
        """Check that each participant signed its vector as the answer to this R."""
        signed_for = asked.hash
        for participant, envelope, vector in zip(
            asked.participants, last.replies, last.vectors, strict=True
        ):
            reply = self.site.from_member(envelope, Reply, participant.institution).body
            expected = (signed_for, participant.institution, participant.approval)
            found = (reply.request, reply.institution, reply.approval)
            if found != expected or reply.vector != bytes_hash(vector):
                raise ProtocolError("expected each participant's own signed vector")


@dataclass(frozen=True)
class _Expected:
    """The release whose sum the next parameters follow from.

    Attributes:
        terms: of its kind.
        at: its position in the run.
        content: hash of the parameters or questions that its request binds.
    """

    terms: ReleaseTerms
    at: int
    content: str

    @classmethod
    def step(cls, plan: Plan, kept: TrainingState) -> "_Expected":
        """Expect the step of training that was asked for with these parameters."""
        content = parameters_hash(parameters_to_bytes(kept.parameters))
        return cls(plan.training, plan.training.first_step + kept.step, content)

    @classmethod
    def evaluation(cls, plan: Plan, kept: TrainingState) -> "_Expected":
        """Expect the evaluation of this model."""
        content = parameters_hash(parameters_to_bytes(kept.model))
        return cls(plan.evaluation, plan.evaluation.first_step, content)

    @classmethod
    def questions(cls, plan: Plan) -> "_Expected":
        """Expect the declared questions."""
        group = plan.study.questions
        content = b"" if group is None else group.to_bytes()
        return cls(plan.query, plan.query.first_step, parameters_hash(content))


def _expected_hashes(
    run: ApprovedRun, request: Request, state: TrainingState, table: Values | None
) -> tuple[str, ...]:
    """Return the hashes of what a request may bind; several where a threshold may differ."""
    if table is not None:
        thresholds = thresholds_near(run.plan.study, table)
        bound = [with_threshold(state.model, one) for one in thresholds]
    else:
        bound = [state.model if request.kind is ReleaseKind.EVALUATION else state.parameters]
    return tuple(parameters_hash(parameters_to_bytes(one)) for one in bound)


def _start(run: ApprovedRun, request: Request, answer: Values | None) -> TrainingState:
    """Return the run's start, as its first request rounds it (docs/design.md, "Recomputation").

    It holds a logarithm, the one thing here that another machine may round otherwise.
    """
    bound = bound_initial_state(run.plan.study, request.parameters, answer)
    return bound or initial_state(run.plan.study, answer)


def _refused(text: str) -> PolicyRefusal:
    return PolicyRefusal(RefusalCode.NOT_RECOMPUTED, text)

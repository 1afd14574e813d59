"""Whether a request may be answered: request, study, roster and approvals only.

Nothing here sees a record, so a refusal says nothing about records (docs/design.md, "Refusals").
Checks run in a fixed order and answer with fixed codes; the order is part of the
protocol, because two institutions must refuse the same request with the same bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.custodian.ports import DebitLimits
from fieldfare.client.ledger.budget import Debit, Portion
from fieldfare.client.ledger.pending import NO_SPLIT, Split
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.messages import (
    ReleaseKind,
    Request,
    parameters_from_bytes,
    parameters_hash,
)
from fieldfare.shared.protocol.plan import PARAMETER_LIMIT, SIDES, ReleaseTerms
from fieldfare.shared.run.kinds.questions import questions_in as bound_questions
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.request_check import AgreedRun, check_request
from fieldfare.shared.study.questions import QuestionGroup


def debit_of(request: Request, cost: int, side: Side) -> Debit:
    """Return what an answer to a request costs, at its place in its run.

    Args:
        request: of the coordinator.
        cost: in picomu2.
        side: whose units the answer read; ALL where it is not known, which counts on both.
    """
    return Debit(
        study=request.study,
        run=request.run,
        step=request.step,
        attempt=request.attempt,
        kind=request.kind.value,
        request=request.hash,
        cost=cost,
        side=side,
    )


@dataclass(frozen=True, kw_only=True)
class ApprovedRun(AgreedRun):
    """A run of an approved study, as this institution agreed to it.

    Attributes:
        institution: this one.
        opened_by: participants of the first opening that was answered here.
    """

    institution: str
    opened_by: int

    def admit(self, request: Request, content: bytes = b"") -> ReleaseTerms:
        """Check a signed request against this institution's own plan.

        Args:
            request: signed by the coordinator.
            content: what R binds; looked at for questions alone, whose terms follow from them.

        Returns:
            The terms of the release, computed here and equal to the request's.

        Raises:
            PolicyRefusal: with a fixed code for the first check that fails.
        """
        try:
            return check_request(self, request, data=content, institution=self.institution)
        except MismatchError as error:
            raise PolicyRefusal(error.code, str(error)) from None

    def bound(
        self, request: Request, terms: ReleaseTerms, content: bytes
    ) -> NDArray[np.float64] | QuestionGroup:
        """Parse what a request binds: questions for answers, parameters for everything else.

        Raises:
            PolicyRefusal: BAD_PARAMETERS.
        """
        if terms.kind is ReleaseKind.QUERY:
            return questions_in(request, content)
        return check_parameters(request, terms, content)

    def shown_geometry(self, request: Request, terms: ReleaseTerms, content: bytes) -> bytes:
        """Return the coordinates that came behind a step's parameters; nothing where none came."""
        return content[8 * terms.parameter_entries :] if request.geometry else b""

    def debit(self, request: Request, cost: int) -> Debit:
        """Return what the answer to a request costs, as the ledger keeps it."""
        return debit_of(request, cost, SIDES[request.kind])

    def limits(self, request: Request, split: Split) -> DebitLimits:
        """Return what binds a debit: later questions may spend what they were allowed only."""
        plan, aggregation = self.plan, self.plan.study.aggregation
        names = tuple(named.institution for named in request.participants)
        found: DebitLimits = {
            "study_limit": plan.study_limit,
            "max_attempts": aggregation.attempts,
            "max_tries": aggregation.most_tries,
            "portion": None,
            "participants": names if aggregation.fixed else (),
            "split": NO_SPLIT if SIDES[request.kind] is Side.ALL else split,
        }
        later = plan.allowance
        if later.steps and request.step >= later.first_step:
            most = later.cost * (later.steps + later.spare)
            found["portion"] = Portion(first_step=later.first_step, picomu2=most)
        return found


def check_parameters(request: Request, terms: ReleaseTerms, content: bytes) -> NDArray[np.float64]:
    """Parse the parameters that a request binds: right hash, finite, bounded.

    The coordinates of a training step may follow them (`ApprovedRun.shown_geometry`).

    Raises:
        PolicyRefusal: BAD_PARAMETERS.
    """
    content = content[: 8 * terms.parameter_entries] if request.geometry else content
    if parameters_hash(content) != request.parameters:
        raise PolicyRefusal(
            RefusalCode.BAD_PARAMETERS, "expected the parameters that the request binds"
        )
    entries = terms.parameter_entries
    try:
        return parameters_from_bytes(content, entries, PARAMETER_LIMIT)
    except ProtocolError as error:
        raise PolicyRefusal(RefusalCode.BAD_PARAMETERS, str(error)) from None


def questions_in(request: Request, content: bytes) -> QuestionGroup:
    """Parse the questions that a request binds.

    Raises:
        PolicyRefusal: BAD_PARAMETERS.
    """
    try:
        return bound_questions(request, content)
    except MismatchError as error:
        raise PolicyRefusal(error.code, str(error)) from None

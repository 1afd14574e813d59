"""Whether a request may be answered: request, study, roster and approvals only.

Nothing here sees a record, so a refusal says nothing about records (docs/design.md, "Refusals").
Checks run in a fixed order and answer with fixed codes; the order is part of the
protocol, because two institutions must refuse the same request with the same bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.errors import (
    AccountingError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    StudyError,
)
from fieldfare.shared.messages import (
    PROTOCOL_VERSION,
    Request,
    RunOpening,
    parameters_from_bytes,
    parameters_hash,
)
from fieldfare.shared.plan import (
    PARAMETER_LIMIT,
    Plan,
    ReleaseKind,
    ReleaseTerms,
    check_groups,
)
from fieldfare.shared.questions import QuestionGroup


@dataclass(frozen=True)
class ApprovedRun:
    """A run of an approved study, as this institution agreed to it."""

    institution: str
    plan: Plan
    roster_hash: str
    opening: RunOpening


def check_request(run: ApprovedRun, request: Request, content: bytes = b"") -> ReleaseTerms:
    """Check a signed request against this institution's own plan.

    Args:
        run: the run as it was opened.
        request: signed by the coordinator.
        content: what R binds; looked at for questions alone, whose terms follow from them.

    Returns:
        The terms of the release, computed here and equal to the request's.

    Raises:
        PolicyRefusal: with a fixed code for the first check that fails.
    """
    _check_frame(run, request)
    _check_participants(run, request)
    if request.kind is ReleaseKind.QUERY:
        terms = _question_terms(run, request, questions_in(request, content))
        _check_terms(run, request, terms)
        return terms
    terms = run.plan.terms(request.kind)
    if not terms.first_step <= request.step < terms.first_step + terms.steps:
        raise PolicyRefusal(
            RefusalCode.NOT_IN_PLAN,
            f"expected a {request.kind.value} step of the approved plan, found step {request.step}",
        )
    _check_terms(run, request, terms)
    return terms


def check_parameters(request: Request, terms: ReleaseTerms, content: bytes) -> NDArray[np.float64]:
    """Parse the parameters that a request binds: right hash, finite, bounded.

    Raises:
        PolicyRefusal: BAD_PARAMETERS.
    """
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
    if parameters_hash(content) != request.parameters:
        raise PolicyRefusal(
            RefusalCode.BAD_PARAMETERS, "expected the questions that the request binds"
        )
    try:
        return QuestionGroup.from_bytes(content)
    except ProtocolError as error:
        raise PolicyRefusal(RefusalCode.BAD_PARAMETERS, str(error)) from None


def _question_terms(run: ApprovedRun, request: Request, questions: QuestionGroup) -> ReleaseTerms:
    """Return the terms of questions that are declared here or within the approved allowance."""
    try:
        terms = run.plan.question_terms(request.step, questions)
    except StudyError as error:
        raise PolicyRefusal(RefusalCode.NOT_IN_PLAN, str(error)) from None
    try:
        named = [participant.institution for participant in request.participants]
        check_groups(run.plan.study, questions, named)
    except StudyError as error:
        raise PolicyRefusal(RefusalCode.TOO_FEW_PARTICIPANTS, str(error)) from None
    return terms


def _check_frame(run: ApprovedRun, request: Request) -> None:
    if request.protocol != PROTOCOL_VERSION:
        raise PolicyRefusal(
            RefusalCode.UNKNOWN_VERSION,
            f"expected protocol {PROTOCOL_VERSION}, found {request.protocol}: upgrade together",
        )
    if request.study != run.plan.study_id:
        raise PolicyRefusal(RefusalCode.UNKNOWN_STUDY, "expected a study that was approved here")
    if request.roster != run.roster_hash:
        raise PolicyRefusal(RefusalCode.WRONG_ROSTER, "expected the pinned roster")
    if request.run != run.opening.run:
        raise PolicyRefusal(RefusalCode.UNKNOWN_RUN, "expected a run that was opened here")


def _check_participants(run: ApprovedRun, request: Request) -> None:
    study = run.plan.study
    named = set(request.participants)
    if run.institution not in {p.institution for p in named}:
        raise PolicyRefusal(RefusalCode.BAD_PARTICIPANTS, "expected this institution itself")
    if not named <= set(run.opening.participants):
        # An approval's hash is part of a participant, so a changed approval fails here too.
        raise PolicyRefusal(
            RefusalCode.BAD_PARTICIPANTS, "expected participants and approvals of the opened run"
        )
    # docs/design.md, "Noise": n - t >= 2, and dropouts are not counted in t
    least = max(study.aggregation.minimum_institutions, study.privacy.collusion_tolerance + 2)
    if len(named) < least:
        raise PolicyRefusal(
            RefusalCode.TOO_FEW_PARTICIPANTS,
            f"expected at least {least} participants, found {len(named)}",
        )


def _check_terms(run: ApprovedRun, request: Request, terms: ReleaseTerms) -> None:
    """Compare every number that noise and cost depend on, exactly."""
    privacy = run.plan.study.privacy
    expected = (
        privacy.collusion_tolerance,
        privacy.multiplicity,
        terms.vectors.clipping_norm,
        terms.sigma,
        terms.vectors.gamma_bits,
        terms.word_bits.value,
        terms.vectors.entries,
        terms.word_bits.dtype.str,
    )
    found = (
        request.t,
        request.multiplicity,
        request.clipping_norm,
        request.sigma,
        request.gamma_bits,
        request.word_bits,
        request.entries,
        request.dtype,
    )
    if expected != found:
        raise PolicyRefusal(
            RefusalCode.WRONG_TERMS, "expected t, M, C, sigma, gamma, k, d and dtype of the plan"
        )
    try:
        run.plan.check_noise(request.n)
    except AccountingError as error:
        raise PolicyRefusal(RefusalCode.WRONG_TERMS, str(error)) from None

"""The check that a request asks for the plan's release, and for nothing else.

The one check of a request: custodians run it before they answer, an audit runs it again over the
transcript. Checks run in a fixed order, which is part of the protocol: two institutions must
refuse the same request with the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from fieldfare.shared.errors import AccountingError, RefusalCode
from fieldfare.shared.protocol.messages import (
    PROTOCOL_VERSION,
    ReleaseKind,
    Request,
    RunOpening,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.run.kinds import KINDS, Release
from fieldfare.shared.run.mismatch import MismatchError, expect


@dataclass(frozen=True, kw_only=True)
class AgreedRun:
    """A run as its participants agreed on it.

    Attributes:
        plan: of the approved study.
        roster_hash: of the roster that the run is under.
        opening: the newest one: who takes part, under which answers to `hello`.
    """

    plan: Plan
    roster_hash: str
    opening: RunOpening

    @cached_property
    def opening_hash(self) -> str:
        """Hash of the opening that requests are under."""
        return self.opening.hash

    @property
    def least(self) -> int:
        """The fewest participants of a request: n - t >= 2, and dropouts are not counted in t."""
        study = self.plan.study
        return max(study.aggregation.minimum_institutions, study.privacy.collusion_tolerance + 2)


def check_request(
    run: AgreedRun,
    request: Request,
    *,
    due: Release | None = None,
    data: bytes = b"",
    institution: str | None = None,
) -> ReleaseTerms:
    """Compare a request's frame, participants and terms with the agreed run and its plan.

    Args:
        run: the run that everybody agreed on.
        request: signed by the coordinator.
        due: the release that comes next, for those who know it; without it any release of the
            plan will do (a custodian's ledger knows what it has answered).
        data: what the request binds; looked at where terms follow from it, without `due`.
        institution: who is asked, and has to be among the participants.

    Returns:
        The terms of the release, computed here and equal to the request's.

    Raises:
        MismatchError: the first term that differs, with the code that answers it.
    """
    _check_frame(run, request)
    if due is not None:
        code = RefusalCode.NOT_IN_PLAN
        kind, step = due.place
        expect("a request for the next release", kind.value, request.kind.value, code)
        expect("a request for the next step", step, request.step, code)
    _check_participants(run, request, institution)
    terms = KINDS[request.kind].asked_terms(run.plan, request, data) if due is None else due.terms
    _check_terms(run, terms, request)
    return terms


def check_answerable(plan: Plan, request: Request) -> ReleaseTerms:
    """Check that some custodian may have answered a request under this plan, in whatever run.

    Questions are not there to be read: the terms are those of their place, which cost the same.

    Raises:
        MismatchError: another study, a release that the plan does not have, or other terms.
    """
    expect("a request of the study", plan.study_id, request.study, RefusalCode.UNKNOWN_STUDY)
    for terms in plan.releases:
        last = terms.first_step + terms.steps
        if terms.kind is request.kind and terms.first_step <= request.step < last:
            _expect_terms(_priced(plan, terms), request)
            return terms
    raise MismatchError("a release of the plan", code=RefusalCode.NOT_IN_PLAN)


def _check_frame(run: AgreedRun, request: Request) -> None:
    expect(
        "the protocol's version", PROTOCOL_VERSION, request.protocol, RefusalCode.UNKNOWN_VERSION
    )
    study, roster = run.plan.study_id, run.roster_hash
    expect("a request of the study", study, request.study, RefusalCode.UNKNOWN_STUDY)
    expect("a request under the roster", roster, request.roster, RefusalCode.WRONG_ROSTER)
    code = RefusalCode.UNKNOWN_RUN
    expect("a request of the run", run.opening.run, request.run, code)
    expect("a request under the newest opening", run.opening_hash, request.opening, code)


def _check_participants(run: AgreedRun, request: Request, institution: str | None) -> None:
    """Check who is asked; another answer to `hello` is another participant."""
    code = RefusalCode.BAD_PARTICIPANTS
    if institution is not None and institution not in {
        named.institution for named in request.participants
    }:
        raise MismatchError("this institution itself", code=code)
    known = {named.institution: named.answer for named in run.opening.participants}
    # docs/protocol.md, "Commit, then open": two sums with and without one tell its own.
    if run.plan.study.aggregation.fixed and request.n != len(known):
        raise MismatchError("all participants of the run: the study fixes them", code=code)
    for named in request.participants:
        name = named.institution
        if name not in known:
            raise MismatchError("participants of the run", found=name, code=code)
        expect(f"{name}'s answer", known[name], named.answer, code)
    # docs/design.md, "Noise": n - t >= 2, and dropouts are not counted in t
    if len(request.participants) < run.least:
        raise MismatchError(
            f"at least {run.least} participants",
            found=len(request.participants),
            code=RefusalCode.TOO_FEW_PARTICIPANTS,
        )


def _check_terms(run: AgreedRun, terms: ReleaseTerms, request: Request) -> None:
    """Compare all that noise and cost depend on, exactly (docs/protocol.md, "R, the request")."""
    shape = {
        "word_bits": terms.word_bits.value,
        "entries": terms.vectors.entries,
        "dtype": terms.word_bits.dtype.str,
    }
    _expect_terms(_priced(run.plan, terms) | shape, request)
    turned = terms.kind is ReleaseKind.TRAINING and run.plan.study.geometry is not None
    what = "coordinates for the steps of a study that has any"
    expect(what, turned, bool(request.geometry), RefusalCode.WRONG_TERMS)
    try:
        run.plan.check_noise(request.n)
    except AccountingError as error:
        raise MismatchError.because(error, RefusalCode.WRONG_TERMS) from None


def _priced(plan: Plan, terms: ReleaseTerms) -> dict[str, object]:
    """Return what noise and cost depend on."""
    privacy = plan.study.privacy
    return {
        "t": privacy.collusion_tolerance,
        "multiplicity": privacy.multiplicity,
        "clipping_norm": terms.vectors.clipping_norm,
        "sigma": terms.sigma,
        "gamma_bits": terms.vectors.gamma_bits,
    }


def _expect_terms(expected: Mapping[str, object], request: Request) -> None:
    for name, value in expected.items():
        expect(f"the plan's {name}", value, getattr(request, name), RefusalCode.WRONG_TERMS)

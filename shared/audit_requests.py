"""A check that a request in a transcript asks for the plan's release, and for nothing else.

The same terms that every custodian compares before it answers (client/admission.py), compared again
from the transcript alone; each one that differs is named.
"""

from fieldfare.shared.audit_opening import OpenedRun
from fieldfare.shared.errors import AccountingError, ProtocolError
from fieldfare.shared.messages import PROTOCOL_VERSION, Request
from fieldfare.shared.misfit import expect
from fieldfare.shared.plan import ReleaseKind, ReleaseTerms


def check_request(run: OpenedRun, terms: ReleaseTerms, step: int, request: Request) -> None:
    """Compare a request's frame, participants and terms with the opened run and its plan.

    Raises:
        ProtocolError: the first term that differs.
    """
    _check_frame(run, terms.kind, step, request)
    _check_participants(run, request)
    _check_terms(run, terms, request)


def _check_frame(run: OpenedRun, kind: ReleaseKind, step: int, request: Request) -> None:
    expect("the protocol's version", PROTOCOL_VERSION, request.protocol)
    expect("a request of the study", run.study_id, request.study)
    expect("a request under the roster", run.roster_hash, request.roster)
    expect("a request of the run", run.opening.run, request.run)
    expect("a request for the next release", kind.value, request.kind.value)
    expect("a request for the next step", step, request.step)


def _check_participants(run: OpenedRun, request: Request) -> None:
    known = {p.institution: p.approval for p in run.opening.participants}
    for found in request.participants:
        if found.institution not in known:
            raise ProtocolError(f"expected participants of the run, found {found.institution}")
        expect(f"{found.institution}'s approval", known[found.institution], found.approval)
    if request.n < run.least:
        raise ProtocolError(f"expected at least {run.least} participants, found {request.n}")


def _check_terms(run: OpenedRun, terms: ReleaseTerms, request: Request) -> None:
    """Compare all that noise and cost depend on, exactly (docs/protocol.md, "R, the request")."""
    privacy = run.study.privacy
    expected = {
        "t": privacy.collusion_tolerance,
        "multiplicity": privacy.multiplicity,
        "clipping_norm": terms.vectors.clipping_norm,
        "sigma": terms.sigma,
        "gamma_bits": terms.vectors.gamma_bits,
        "word_bits": terms.word_bits.value,
        "entries": terms.vectors.entries,
        "dtype": terms.word_bits.dtype.str,
    }
    for name, value in expected.items():
        expect(f"the plan's {name}", value, getattr(request, name))
    try:
        run.plan.check_noise(request.n)
    except AccountingError as error:
        raise ProtocolError(str(error)) from None

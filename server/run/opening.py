"""How every run opens, and how it is joined again: hello, approvals, keys.

Who answers is who takes part. A run that goes on keeps the opening that it began with: the
custodians have agreed on keys under it.
"""

from collections.abc import Mapping

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import Heard, RunTerms, hello, reasons
from fieldfare.server.run.record import Opening, Record, RunCheckpoint
from fieldfare.server.run.rounds import Federation
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.privacy.assurance import Assurance
from fieldfare.shared.protocol.flower_record import Call, Content, bytes_of, refusal_in
from fieldfare.shared.protocol.messages import (
    KeyOffer,
    Participant,
    Request,
    RunOpening,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR


def open_federation(
    channel: GridChannel,
    terms: RunTerms,
    record: Record | None = None,
    standing: RunCheckpoint | None = None,
) -> Federation:
    """Open a run with every node that answers and has approved the study; or join it again.

    Args:
        channel: the nodes.
        terms: what the run is opened with.
        record: keeps the opening before it is sent.
        standing: of a run that goes on: it keeps the participants that it was opened with.

    Raises:
        RunError: fewer institutions than the study's minimum, or keys that do not fit.
    """
    kept = record or Record()
    before = standing or RunCheckpoint()
    if before.opening is None:
        return _opened(channel, terms, kept, hello(channel, terms, kept))
    return _joined(channel, terms, kept, before, before.opening)


def _opened(channel: GridChannel, terms: RunTerms, record: Record, heard: Heard) -> Federation:
    """Open a new run with all who approved."""
    _check_minimum(terms, len(heard.approvals), heard)
    participants = {
        name: Participant(institution=name, approval=approved.approval.hash)
        for name, approved in sorted(heard.approvals.items())
    }
    federation = _federation(terms, heard, participants)
    opening = RunOpening(
        study=terms.plan.study_id,
        roster=terms.roster.hash,
        run=terms.run,
        participants=tuple(participants.values()),
    )
    sent = Opening(
        sign_envelope(opening, COORDINATOR, terms.signer),
        tuple(heard.approvals[name].envelope for name in participants),
    )
    record.opening(sent)
    record.agreed(_agree_on_keys(channel, federation, sent))
    return federation


def _joined(
    channel: GridChannel, terms: RunTerms, record: Record, standing: RunCheckpoint, sent: Opening
) -> Federation:
    """Go on with a run: its opening stays, and an institution that left stays away."""
    opening = open_envelope(sent.opening, RunOpening, terms.roster, terms.assurance).body
    participants = {each.institution: each for each in opening.participants}
    wanted = _still_in(terms, standing, participants)
    heard = hello(channel, terms, record, wanted)  # no call waits for those who left
    same = {
        name: approved
        for name, approved in heard.approvals.items()
        if name in wanted and participants[name].approval == approved.approval.hash
    }
    present = Heard(same, heard.absent)
    whole = terms.plan.study.aggregation.fixed or not sent.offers  # or not all had agreed
    if whole and len(same) < len(participants):
        missing = ", ".join(sorted(set(participants) - set(same)))
        raise RunError(
            f"expected all participants of the opening, found {missing} missing "
            f"({reasons(terms, heard.absent)}): resume it when they are back, or start another "
            f"run{'' if sent.offers else ' (no budget was spent)'}"
        )
    if not sent.offers:
        federation = _federation(terms, present, participants)
        record.agreed(_agree_on_keys(channel, federation, sent))
        return federation
    _check_minimum(terms, len(same), heard)
    return _federation(terms, present, participants)


def _still_in(
    terms: RunTerms, standing: RunCheckpoint, participants: Mapping[str, Participant]
) -> set[str]:
    """Return who took part in the last request, and answered it if it failed: who left is gone.

    Unless too few are left for another attempt: then all of them are wanted back.
    """
    if not standing.request or terms.plan.study.aggregation.fixed:
        return set(participants)
    last = open_envelope(standing.request, Request, terms.roster, terms.assurance).body
    asked = {each.institution for each in last.participants}
    stayed = asked & standing.stayed
    return stayed if len(stayed) >= terms.plan.study.aggregation.minimum_institutions else asked


def _federation(
    terms: RunTerms, heard: Heard, participants: Mapping[str, Participant]
) -> Federation:
    return Federation(
        terms.plan,
        terms.roster,
        terms.signer,
        terms.assurance,
        terms.run,
        {name: approved.node for name, approved in sorted(heard.approvals.items())},
        participants,
    )


def _check_minimum(terms: RunTerms, found: int, heard: Heard) -> None:
    minimum = terms.plan.study.aggregation.minimum_institutions
    if found < minimum:
        raise RunError(
            f"expected approvals of at least {minimum} institutions, found {found} "
            f"({reasons(terms, heard.absent)})"
        )


def _agree_on_keys(channel: GridChannel, federation: Federation, sent: Opening) -> Opening:
    """Relay approvals, then offers; only the institutions can read a key.

    Raises:
        RunError: an institution refused; a run starts with all its participants or not at all.
    """
    names = sorted(federation.participants)
    opened: Content = {"opening": sent.opening, "approvals": list(sent.approvals)}
    found = _ask_all(channel, federation, Call.OPEN, opened, "offer")
    offers = tuple(found[name] for name in names)
    _check_offers(federation, sent, found)
    agreed: Content = {
        "study": federation.plan.study_id.encode(),
        "run": federation.run.encode(),
        "offers": list(offers),
    }
    _ask_all(channel, federation, Call.AGREE, agreed, "agreed")
    return Opening(sent.opening, sent.approvals, offers)


def _check_offers(federation: Federation, sent: Opening, offers: Mapping[str, bytes]) -> None:
    """Check who signed each offer, and for which opening.

    The other institutions would refuse a foreign one, and be named in place of its sender.
    """
    if federation.assurance is Assurance.SIMULATED:  # no keys, nothing offered
        return
    opening = open_envelope(
        sent.opening, RunOpening, federation.roster, federation.assurance
    ).body.hash
    for institution, envelope in offers.items():
        try:
            found = open_envelope(envelope, KeyOffer, federation.roster, federation.assurance)
        except ProtocolError as error:
            reason = str(error)
        else:
            named = (found.signer, found.body.institution, found.body.opening)
            if named == (institution, institution, opening):
                continue
            reason = "expected an offer for this opening by its own signer, found another"
        raise RunError(
            f"{Call.OPEN.value}: {institution} takes no part (bad reply: {reason}); open a new run"
        )


def _ask_all(
    channel: GridChannel, federation: Federation, call: Call, content: Content, name: str
) -> dict[str, bytes]:
    """Ask every participant the same thing and insist on an answer from each."""
    deadline = federation.plan.study.aggregation.deadline_seconds
    contents = dict.fromkeys(federation.nodes.values(), content)
    answers = channel.ask(call, contents, deadline)
    found = {}
    for institution, node in federation.nodes.items():
        answer = answers.get(node)
        if answer is None:
            raise RunError(
                f"{call.value}: expected an answer from {institution}, found none in time"
            )
        try:
            refusal = refusal_in(answer)
            if refusal is None:
                found[institution] = bytes_of(answer, name)
                continue
            reason = f"refused: {refusal.code.value}"
        except ProtocolError as error:
            reason = f"bad reply: {error}"
        raise RunError(f"{call.value}: {institution} takes no part ({reason}); open a new run")
    return found

"""How every run opens, and how it is opened anew: hello, answers, keys.

Who answers is who takes part. A custodian keeps the keys of an opening in memory: where one was
started again, and whenever the coordinator goes on with a run, the same three exchanges give fresh
keys to all pairs, under the next opening of the same run. Steps and attempts go on counting.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import HelloAnswers, RunTerms, hello, reasons
from fieldfare.server.run.record import Opening, Record, RunCheckpoint
from fieldfare.server.run.rounds import Federation
from fieldfare.shared.errors import ProtocolError, RefusalCode, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import Call, Content, bytes_of, refusal_in
from fieldfare.shared.protocol.messages import (
    KeyOffer,
    Participant,
    Request,
    RunOpening,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.remembered import RememberedMessages, room_for
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.remembered_check import OfferContents

log = logging.getLogger(__name__)

OPENINGS_AT_ONCE: Final = 5  # custodians may be started again in the middle of one


class _KeysGoneError(RunError):
    """A custodian was started again in the middle of an opening."""


@dataclass
class Opener:
    """Opens one run, as often as it has to be.

    Attributes:
        channel: the nodes.
        terms: what the run is opened with.
        record: keeps each opening before it is sent.
    """

    channel: GridChannel
    terms: RunTerms
    record: Record

    def begin(self, checkpoint: RunCheckpoint) -> Federation:
        """Open a run with every node that answers and has approved the study; or join it again.

        Args:
            checkpoint: of a run that goes on: its last request may still be answered under the
                opening that it was sent under; anything else needs a new one (`stale`).

        Raises:
            RunError: fewer institutions than the study's minimum, or keys that do not fit.
        """
        before = checkpoint.openings
        if before is None or not before.number:
            return self._open_all(hello(self.channel, self.terms, self.record), None)
        if before.agreed is None:  # nobody has been asked for anything
            return self._again(before, self._names(before))
        wanted = _still_in(self.terms, checkpoint, before)
        if before.sent is not None or not checkpoint.request:
            return self._again(before, wanted)
        heard = self._hear_wanted(before, wanted)
        self._check_whole(heard, before, wanted)
        self._check_minimum(heard)
        return replace(self._federation(heard, before), stale=True)

    def anew(self, federation: Federation, wanted: Collection[str]) -> Federation:
        """Open a run anew with those who are still in it.

        Raises:
            RunError: fewer institutions than the study's minimum, or keys that do not fit.
        """
        return self._again(federation.openings, wanted)

    def _again(self, before: RunOpenings, wanted: Collection[str]) -> Federation:
        heard = self._hear_wanted(before, wanted)
        self._check_whole(heard, before, wanted)
        return self._open_all(heard, before)

    def _check_whole(
        self, heard: HelloAnswers, before: RunOpenings, wanted: Collection[str]
    ) -> None:
        """Insist on everybody where the study fixes them, or before anybody has agreed."""
        missing = sorted(set(wanted) - set(heard.approvals))
        whole = self.terms.plan.study.aggregation.fixed or before.agreed is None
        if whole and missing:
            raise RunError(
                f"expected all participants of the opening, found {', '.join(missing)} missing "
                f"({reasons(self.terms, heard.absent)}): resume it when they are back, or start "
                f"another run{'' if before.agreed else ' (no budget was spent)'}"
            )

    def _hear_wanted(self, before: RunOpenings, wanted: Collection[str]) -> HelloAnswers:
        """Hear of those who are wanted, under the approvals that the run began with."""
        heard = hello(self.channel, self.terms, self.record, wanted)  # no call waits for who left
        same = {
            name: approved
            for name, approved in heard.approvals.items()
            if name in wanted and before.approvals.get(name) == approved.approval.hash
        }
        return replace(heard, approvals=same)

    def _open_all(self, heard: HelloAnswers, before: RunOpenings | None) -> Federation:
        """Open with all who were heard of, until all hold their keys at once."""
        for _ in range(OPENINGS_AT_ONCE - 1):
            try:
                return self._open(heard, before)
            except _KeysGoneError as error:
                log.warning("%s: the run is opened anew", error)
                before = self.record.openings
                if before is None:
                    raise
                heard = self._hear_wanted(before, self._names(before))
        return self._open(heard, before)

    def _open(self, heard: HelloAnswers, before: RunOpenings | None) -> Federation:
        terms, record = self.terms, self.record
        self._check_minimum(heard)
        heard_of = dict(sorted(heard.approvals.items()))
        openings = before or _none_yet(terms, heard)
        opening = RunOpening(
            study=terms.plan.study_id,
            roster=terms.roster.hash,
            run=terms.run,
            number=openings.number,
            participants=tuple(
                Participant(institution=name, answer=approved.answer.hash)
                for name, approved in heard_of.items()
                if approved.answer is not None
            ),
        )
        sent = Opening(
            sign_envelope(opening, COORDINATOR, terms.signer),
            tuple(approved.envelope for approved in heard_of.values()),
            tuple(approved.signed for approved in heard_of.values()),
        )
        openings = replace(openings, sent=opening, number=opening.number + 1)
        record.opening(sent, openings)
        nodes = {name: approved.node for name, approved in heard_of.items()}
        offers = _agree_on_keys(self.channel, terms, nodes, opening, sent)
        agreed = openings.agreed_on(opening)
        record.keep_offers(offers, agreed)
        return self._federation(heard, agreed)

    def _federation(self, heard: HelloAnswers, openings: RunOpenings) -> Federation:
        terms = self.terms
        return Federation(
            terms.plan,
            terms.roster,
            terms.signer,
            terms.protection,
            terms.run,
            {name: approved.node for name, approved in sorted(heard.approvals.items())},
            openings,
        )

    @staticmethod
    def _names(openings: RunOpenings) -> set[str]:
        newest = openings.sent or openings.agreed
        return {named.institution for named in newest.participants} if newest else set()

    def _check_minimum(self, heard: HelloAnswers) -> None:
        minimum, found = self.terms.plan.study.aggregation.minimum_institutions, heard.approvals
        if len(found) < minimum:
            raise RunError(
                f"expected approvals of at least {minimum} institutions, found {len(found)} "
                f"({reasons(self.terms, heard.absent)})"
            )


def _none_yet(terms: RunTerms, heard: HelloAnswers) -> RunOpenings:
    return RunOpenings(
        study=terms.plan.study_id,
        run=terms.run,
        roster=terms.roster,
        protection=Protection.SIMULATED,  # signatures were verified before anything is written down
        least=terms.plan.study.aggregation.minimum_institutions,
        approvals={name: each.approval.hash for name, each in sorted(heard.approvals.items())},
    )


def _still_in(terms: RunTerms, checkpoint: RunCheckpoint, openings: RunOpenings) -> set[str]:
    """Return who took part in the last request, and answered it if it failed: who left is gone.

    Unless too few are left for another attempt: then all of them are wanted back. An opening after
    that request says itself who is left.
    """
    newest = openings.sent or openings.agreed
    named = {each.institution for each in newest.participants} if newest else set()
    if not checkpoint.request or terms.plan.study.aggregation.fixed:
        return named
    last = open_envelope(checkpoint.request, Request, terms.roster, terms.protection).body
    if newest is None or last.opening != newest.hash:
        return named
    asked = {each.institution for each in last.participants}
    stayed = asked & checkpoint.stayed
    return stayed if len(stayed) >= terms.plan.study.aggregation.minimum_institutions else asked


def _agree_on_keys(
    channel: GridChannel,
    terms: RunTerms,
    nodes: Mapping[str, int],
    opening: RunOpening,
    sent: Opening,
) -> tuple[bytes, ...]:
    """Relay answers, then offers; only the institutions can read a key.

    Raises:
        _KeysGoneError: a custodian was started again in between.
        RunError: an institution refused; a run is opened with all its participants or not at all.
    """
    opened: Content = {
        "opening": sent.opening,
        "answers": list(sent.answers),
        "approvals": list(sent.approvals),
    }
    found = _ask_all(channel, terms, nodes, Call.OPEN, opened, "offer")
    offers = tuple(found[name] for name in nodes)
    _check_offers(terms, opening.hash, found)
    agreed: Content = {
        "study": terms.plan.study_id.encode(),
        "run": terms.run.encode(),
        "offers": list(offers),
    }
    _ask_all(channel, terms, nodes, Call.AGREE, agreed, "agreed")
    return offers


def _check_offers(terms: RunTerms, opening: str, offers: Mapping[str, bytes]) -> None:
    """Check who signed each offer, and for which opening, and what it lists.

    The other institutions would refuse a foreign one, and be named in place of its sender.
    """
    if terms.protection is Protection.SIMULATED:  # no keys, nothing offered
        return
    listed = OfferContents(terms.plan, terms.roster, terms.protection)
    room = room_for(len(offers))
    for institution, envelope in offers.items():
        try:
            found = open_envelope(envelope, KeyOffer, terms.roster, terms.protection)
            listed.add(institution, RememberedMessages.from_text(found.body.remembered, room))
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
    channel: GridChannel,
    terms: RunTerms,
    nodes: Mapping[str, int],
    call: Call,
    content: Content,
    name: str,
) -> dict[str, bytes]:
    """Ask every participant the same thing and insist on an answer from each."""
    deadline = terms.plan.study.aggregation.deadline_seconds
    answers = channel.ask(call, dict.fromkeys(nodes.values(), content), deadline)
    found = {}
    for institution, node in nodes.items():
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
            if refusal.code is RefusalCode.KEYS_GONE:
                raise _KeysGoneError(f"{call.value}: {institution}: {reason}")
        except ProtocolError as error:
            reason = f"bad reply: {error}"
        raise RunError(f"{call.value}: {institution} takes no part ({reason}); open a new run")
    return found

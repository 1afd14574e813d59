"""What this custodian tells its peers that it opened, and what it learns from theirs.

Each participant's offer at an opening lists what it remembers of the study. What peers opened in
this institution's name and its ledger knows nothing of is debited before any key is agreed on: a
copy of this home may have answered it. A signed reply of its own that its ledger lacks stops it
(docs/protocol.md, "What peers remember").

The last signed reply that anybody showed: which position of the ledger it proves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fieldfare.client.custodian.admission import debit_of
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import DecisionLog, RunEvent, SignedReply
from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.kept_states import position_in, position_of, shown_position
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import Fork, PeerClaim, PeerRows
from fieldfare.client.ledger.run_states import LEDGER_STATE, SHOWN_REPLY
from fieldfare.shared.errors import LedgerError, ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import Side, SideCosts
from fieldfare.shared.protocol.messages import KeyOffer, LastSum, Request
from fieldfare.shared.protocol.plan import SIDES, Plan
from fieldfare.shared.protocol.remembered import RememberedMessages, room_for
from fieldfare.shared.run.remembered_check import OfferContents, names, signed_reply

LEFT: Final = ":left"  # its last answer was signed


@dataclass(frozen=True)
class Peers:
    """One institution's memory of its peers, and what it makes of theirs."""

    party: Party
    ledger: Ledger
    decisions: DecisionLog

    def remembered(self, plan: Plan, participants: int) -> str:
        """Return what an offer lists: the study's requests debited here, and others' replies.

        Replies are the newest over all studies: a ledger is of a population, and who restores it
        forgets all of them.

        What was signed by a key that is no more is left out: nobody could check it. So is what
        does not fit beside the offers of so many participants, the oldest first.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if self.party.protection is not Protection.EXACT:
            return ""
        with self.ledger.peers() as rows:
            opened, seen = rows.requests(plan.study_id), rows.replies()
        requests, spent, listed = list[bytes](), SideCosts(), self._listed(plan)
        for content in opened:
            try:
                request, cost = listed.request(content)
            except ProtocolError:
                continue
            spent = spent.plus(SIDES[request.kind], cost)
            if spent.total <= plan.study_limit:  # more is nobody's: peers would refuse it
                requests.append(content)
        replies = [one for name, one in seen.items() if self._still_verifies(one, name)]
        found = RememberedMessages(tuple(requests), tuple(replies))
        return found.within(room_for(participants)).to_text()

    def heed(
        self, plan: Plan, run: str, offers: Mapping[str, KeyOffer], live: Collection[str]
    ) -> None:
        """Debit what peers opened and this ledger lacks; stop where it is behind.

        *Formal Guarantees.* When this returns, every request that a peer's offer lists and that
        names this institution has its debit here, once and on disk, up to the study's limit; and
        the ledger holds every own signed reply that an offer brought. A debit is made only for
        what the coordinator signed and the study's plan has.

        Edge cases:
            | an offer lists | answer |
            |---|---|
            | what this ledger has | nothing |
            | a request under keys that are in this memory alone | nothing: no copy answered it |
            | a request without its sender, of another study, on other terms, by nobody | refused |
            | more than the study's mu^2 | refused |
            | its own reply that the ledger lacks | nothing leaves any more; no debit |
            | two replies at one place of a ledger | both are kept as a proof, and logged |

        Args:
            plan: of the study.
            run: that is opened.
            offers: of the others, signatures verified.
            live: openings whose keys are in this custodian's memory.

        Raises:
            ProtocolError: an offer that lists what nobody honest lists; nothing is debited.
            LedgerError: this ledger is behind, or it or the log cannot be written.
        """
        heard = self._listed(plan)
        for sender, offer in offers.items():
            heard.add(sender, RememberedMessages.from_text(offer.remembered))
        study, own = plan.study_id, self.party.institution
        replies = [
            SignedReply(body.institution, position_of(body), content)
            for content, body in heard.replies.items()
        ]
        for reply in replies:
            if reply.institution == own:
                self.check_shown(study, run, reply.position, reply.content)
        told = [
            peer_claim(plan, content, *heard.requests[content], by=", ".join(senders))
            for content, senders in heard.by.items()
            if names(heard.requests[content][0], own)
            and heard.requests[content][0].opening not in live
        ]
        with self.ledger.peers() as rows:
            for one in rows.debit_told(told, study, plan.study_limit):
                rule = f"debited as {one.by} opened it and this ledger knew nothing of it"
                self._log(RunEvent.TOLD, study, run, one.debit.request, rule)
            self.keep(rows, study, run, replies)

    def saw(self, study: str, run: str, last: LastSum) -> tuple[SignedReply, ...]:
        """Return the signed replies that travel with a request; `keep` learns from them.

        Raises:
            ProtocolError: not signed replies to a request of this study.
            LedgerError: its own one that the ledger lacks, or it cannot be written.
        """
        if self.party.protection is not Protection.EXACT or not last.request:
            return ()
        asked = self.party.from_coordinator(last.request, Request).body
        if asked.study != study:
            raise ProtocolError("expected replies to a request of this study")
        found = tuple(self._reply(content) for content in last.replies)
        for reply in found:
            if reply.institution == self.party.institution:
                self.check_shown(study, run, reply.position, reply.content)
        return found

    def check_shown(self, study: str, run: str, position: Position, content: bytes) -> None:
        """Stop for good where its own signed reply is not in this ledger.

        Raises:
            LedgerError: it is not: a backup was restored, or a copy went on beside this ledger.
        """
        if not self.ledger.accounts_for(position):
            self._own_fork(study, run, position, content)
            # Kept, so that neither a restart nor another call gets round it.
            self.ledger.put_run_state(LEDGER_STATE, SHOWN_REPLY, content)
        self.check_not_behind()

    def check_not_behind(self) -> None:
        """Refuse all work once a signed reply was shown that the ledger does not hold.

        docs/design.md, "The ledger": a restored backup. Its totals are old: it would
        spend once more what was spent. Nor does who signed its last answer do anything after it.

        Raises:
            LedgerError: it does not hold it, or this institution has left.
        """
        if self.ledger.run_state(LEDGER_STATE, LEFT) is not None:
            raise LedgerError(
                "this institution has left: it signed its last answer, so it opens nothing more; "
                "a member that comes back joins with a new home"
            )
        shown = shown_position(self.ledger.run_state(LEDGER_STATE, SHOWN_REPLY))
        if shown is not None and not self.ledger.accounts_for(shown):
            raise LedgerError(
                "expected a ledger that holds this institution's last signed reply, found an older "
                "one: a backup was restored; accept it as a new epoch or bring the newer ledger "
                "back"
            )

    # -- what offers list ---------------------------------------------------------------

    def _listed(self, plan: Plan) -> OfferContents:
        return OfferContents(plan, self.party.roster, self.party.protection)

    def _reply(self, content: bytes) -> SignedReply:
        body = signed_reply(content, self.party.roster, self.party.protection)
        return SignedReply(body.institution, position_in(content), content)

    def _still_verifies(self, content: bytes, name: str) -> bool:
        try:
            return self._reply(content).institution == name
        except ProtocolError:
            return False

    # -- whose ledger went two ways -----------------------------------------------------

    def keep(self, rows: PeerRows, study: str, run: str, replies: Sequence[SignedReply]) -> None:
        """Keep the newest reply of each peer, and two that contradict each other as a proof.

        Over all studies: a reply's place is one of the whole ledger.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        if not replies:
            return
        newest, newer = dict[str, SignedReply](), dict[str, SignedReply]()
        places = dict[tuple[str, tuple[int, int]], SignedReply]()
        for name, content in rows.replies().items():
            position = shown_position(content)
            if position is not None:
                newest[name] = SignedReply(name, position, content)
                places[name, newest[name].place] = newest[name]
        for reply in replies:
            name, place = reply.institution, reply.place
            if name == self.party.institution:
                continue
            first = places.setdefault((name, place), reply)
            if first.position.head != reply.position.head:
                self._forked(rows, study, run, Fork(name, *place, first.content, reply.content))
            if name not in newest or place > newest[name].place:
                newest[name] = newer[name] = reply
        rows.put_replies({name: reply.content for name, reply in newer.items()})

    def _own_fork(self, study: str, run: str, position: Position, content: bytes) -> None:
        with self.ledger.peers() as rows:
            own = rows.own_reply(position.sequence)
            here = shown_position(own)
            if own is not None and here is not None and here.epoch == position.epoch:
                place = position.epoch, position.sequence
                self._forked(rows, study, run, Fork(self.party.institution, *place, own, content))

    def _forked(self, rows: PeerRows, study: str, run: str, fork: Fork) -> None:
        if rows.put_fork(fork):
            rule = (
                f"two signed replies of {fork.institution} stand at entry {fork.sequence} of its "
                f"ledger's epoch {fork.epoch}: two copies of it answered"
            )
            self._log(RunEvent.FORKED, study, run, fork.institution, rule)

    def _log(self, event: RunEvent, study: str, run: str, fingerprint: str, rule: str) -> None:
        self.decisions.noted(event, study, run, fingerprint, rule)


def peer_claim(plan: Plan, content: bytes, request: Request, cost: int, *, by: str) -> PeerClaim:
    """Return a request that others opened, as the ledger debits it.

    Args:
        plan: of its study.
        content: as the coordinator signed it.
        request: what it says.
        cost: in picomu2.
        by: who says so.
    """
    # Of no side: by which key another copy of this home split its units, nobody here sees.
    debit = debit_of(request, cost, Side.ALL)
    names = tuple(named.institution for named in request.participants)
    fixed = names if plan.study.aggregation.fixed else ()
    return PeerClaim(debit=debit, request=content, participants=fixed, by=by)

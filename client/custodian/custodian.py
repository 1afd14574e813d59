"""The custodian: the only part that reads records, and the calls that it answers.

Its data plane takes bytes and gives bytes: `describe`, `recall`, `open_run`, `agree`, `release`,
`reveal`, at a run's end `cosign` and `deliver`, and `publish` where a rehearsal failed.
Every failure becomes a fixed code here; its reason goes to the institution's own log. Approving is
administration and is not reachable from the data plane. Calls run one at a time, so no other call
changes a run's keys while one reads them.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from threading import RLock
from typing import Final, TypeVar

from fieldfare.client.custodian.admission import ApprovedRun
from fieldfare.client.custodian.blame import BlamePublisher
from fieldfare.client.custodian.key_agreement import ApprovedStudy, HeldKeys, keys_gone, open_run
from fieldfare.client.custodian.noise_stock import NoiseStock, coming_draws
from fieldfare.client.custodian.openings import Openings
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.peers import Peers
from fieldfare.client.custodian.ports import (
    CommitmentReply,
    DecisionLog,
    HelloAnswer,
    Inbox,
    ModelEvidence,
    NoInbox,
    NoLog,
    ReportedRejection,
    RunEvent,
)
from fieldfare.client.custodian.recall import LocalApprovals, Recall
from fieldfare.client.custodian.recomputation import Recomputation, model_evidence
from fieldfare.client.custodian.release import Door, RunAtDoor, Seeds, fresh_seed
from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.kept_states import position_of
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.pending import check_set
from fieldfare.client.ledger.run_states import (
    APPROVAL_STATE,
    LEDGER_STATE,
    OPENED_STATE,
    OPENING_STATE,
)
from fieldfare.client.records.encoding.id_sketch import IDS_CHANGED, IdSketch
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import (
    KeysError,
    LedgerError,
    PolicyRefusal,
    ProtocolError,
    RefusalCode,
    RunError,
    StudyError,
)
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    KeyOffer,
    LastSum,
    Refusal,
    Rejection,
    ReleaseKind,
    Reply,
    Request,
    RunAnswer,
    RunOpening,
)
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.protocol.signed_files import open_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.late import late
from fieldfare.shared.terminal.texts import SHORT
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.watch.log import correlated

log = logging.getLogger(__name__)

# Run ids and study ids hold no colon, so no request can name these states.
APPROVAL_COUNT: Final = "approvals:"
LAST_SECOND: Final = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())

# A run is over when its head is signed: what audits its log is loaded then.
cosigning: Final = late("fieldfare.client.custodian.cosigning", "Cosigner")

Answer = TypeVar("Answer")


def opened_runs(names: Iterable[str]) -> tuple[str, ...]:
    """Return the runs that were opened here, among the names of a study's states."""
    parts = (name.split(":") for name in names if name.startswith(OPENING_STATE))
    return tuple(sorted(part[1] for part in parts if len(part) == len(OPENING_STATE.split(":"))))


@dataclass(frozen=True)
class _PreparedStudy:
    plan: Plan
    sums: RunSums


class Custodian:
    """One institution's custodian for the studies that it approved."""

    def __init__(
        self,
        party: Party,
        ledger: Ledger,
        noise: NoiseSource,
        decisions: DecisionLog | None = None,
        inbox: Inbox | None = None,
        seeds: Seeds = fresh_seed,
    ) -> None:
        """Guard the records of `party`.

        Args:
            party: who this is and how it runs.
            ledger: the population's budget.
            noise: of the same kind.
            decisions: the institution's own log; None keeps none.
            inbox: where what arrives is kept; None keeps nothing.
            seeds: of vectors that are opened later; the operating system's.

        Raises:
            PolicyRefusal: noise of another kind than the party runs with. A deployed
                custodian cannot be given simulated noise.
        """
        if noise.protection is not party.protection:
            raise PolicyRefusal(
                RefusalCode.WRONG_TERMS,
                f"expected {party.protection.value} noise, found {noise.protection.value}",
            )
        self._party = party
        self._ledger = ledger
        self._decisions = decisions or NoLog()
        self._inbox = inbox or NoInbox()
        simulated = party.protection is Protection.SIMULATED
        self._held = HeldKeys("0" * 64) if simulated else HeldKeys()
        self._peers = Peers(party, ledger, self._decisions)
        self._noise = NoiseStock(noise)
        self._door = Door(
            party,
            ledger,
            self._noise,
            decisions=self._decisions,
            held=self._held,
            peers=self._peers,
            seeds=seeds,
        )
        self._openings = Openings(ledger, self._decisions)
        self._publishing = BlamePublisher(party, ledger, self._door)
        self._recall_of_members = Recall(party, ledger, self._peers)
        self._lock = RLock()
        self._prepared: dict[str, _PreparedStudy] = {}
        self._runs: dict[str, RunAtDoor] = {}
        self._unwritten = False  # a refusal, in the institution's own log
        self._stopped: dict[str, str] = {}  # by study, why nothing is answered

    # -- administration -----------------------------------------------------------------

    def accept(self, offer: bytes, sums: Callable[[Study], RunSums]) -> bytes:
        """Approve a study as the coordinator signed it; see `approve`.

        Raises:
            ProtocolError: not signed by the roster's coordinator, or no valid study.
        """
        study = open_study(offer, self._party.roster, self._party.protection)
        return self.approve(study, partial(sums, study))

    def approve(self, study: Study, sums: Callable[[], RunSums]) -> bytes:
        """Approve a study, or load its records again.

        An approval that was given under another roster or ledger epoch is given anew, with a higher
        number (docs/design.md, "The ledger"); runs under the old one are over.

        Returns:
            The signed approval.

        Raises:
            StudyError: the study's M is not the roster's (docs/design.md, "One person,
                several units": one constant),
                or the sums are another study's.
            RecordsError: the records do not fit; settled here, never at a release.
            AccountingError: no privacy claim can be made for the smallest admitted sum.
        """
        if study.privacy.multiplicity != self._party.roster.multiplicity:
            raise StudyError(
                f"privacy.multiplicity: expected the roster's {self._party.roster.multiplicity}, "
                f"found {study.privacy.multiplicity}"
            )
        plan = plan_for(study)
        plan.check_noise(study.aggregation.minimum_institutions)
        prepared = _PreparedStudy(plan, sums())
        if prepared.sums.study.id != study.id:  # its C would not be the C that noise hides
            raise StudyError("sums: expected sums of the study that is approved, found others")
        with self._lock:
            approved = self._approved(study.id)
            self._check_ids(study.id, prepared.sums)
            self._prepared[study.id] = prepared
            self._leave_runs(study.id)
        return approved.envelope

    def finish(self, study: str) -> None:
        """End a study: its approval and the keys of its runs are gone; the ledger stays."""
        with self._lock:
            self._held.erase(study)
            self._ledger.forget_runs(study)
            self.leave_out(study)

    def leave_out(self, study: str) -> None:
        """Answer for a study no more; keys and approval stay for when its records are whole."""
        with self._lock:
            self._prepared.pop(study, None)
            self._stopped.pop(study, None)
            self._leave_runs(study)

    @property
    def trouble(self) -> str:
        """Why no call is answered, for people here; empty where calls are."""
        return "; ".join(self._stopped[study] for study in sorted(self._stopped))

    def stop(self, study: str, why: str) -> None:
        """Answer no call any more, whatever it asks, until this study is loaded well or left out.

        Where something of the records is in the way that only a person can judge. Every study and
        every call gets the same code, so that none tells which records it was.
        """
        with self._lock:
            self._stopped[study] = why

    def hand_over(self) -> tuple[HeldKeys, Mapping[str, Plan]]:
        """Give the keys of all runs away, with the plans of their studies; nothing is kept."""
        with self._lock:
            held, plans = self._held, {name: one.plan for name, one in self._prepared.items()}
            if held.hearing.settled is not None:
                held.hearing.settled = self._ledger.position()
            self._hold(HeldKeys())
            for study in plans:
                self._leave_runs(study)
            return held, plans

    def take_over(self, held: HeldKeys, plans: Mapping[str, Plan]) -> None:
        """Go on with the runs of the custodian whose place this one takes.

        *Formal Guarantees.* Kept are keys under an approval that is in force here, on this roster
        and in this ledger's epoch, of openings in whose company a run may begin now. All others
        are erased. Members are asked anew where this ledger lacks what the one before had.

        Args:
            held: by one of the same home, which handed it over.
            plans: of its studies.

        Raises:
            LedgerError: it cannot be read.
        """
        with self._lock:
            held.keep_only(partial(self._goes_on, plans))
            heard_at = held.hearing.settled or held.hearing.at
            if heard_at is not None and not self._ledger.contains(heard_at):
                held.hear_anew()
            self._hold(held)

    def _hold(self, held: HeldKeys) -> None:
        self._held = self._door.held = held

    def _goes_on(self, plans: Mapping[str, Plan], answer: RunAnswer, opening: str) -> bool:
        """Tell whether keys behind its own answer may be used here."""
        state = self._ledger.run_state(answer.study, APPROVAL_STATE)
        if state is None or answer.study not in plans:
            return False
        try:
            approval = ApprovedStudy.from_bytes(state, self._party).approval
            if opening:
                body = self._opened(answer.study, f"{answer.run}:{opening}")
                self._check_company(body, plans[answer.study])
        except (PolicyRefusal, ProtocolError):
            return False
        in_force = (answer.approval, self._party.roster.hash, self._ledger.position().epoch)
        return (approval.hash, approval.roster, approval.epoch) == in_force

    def _approved(self, study: str) -> ApprovedStudy:
        """Load this institution's approval, or give one."""
        epoch = self._ledger.position().epoch
        state = self._ledger.run_state(study, APPROVAL_STATE)
        if state is not None:
            approved = ApprovedStudy.from_bytes(state, self._party)
            current = (self._party.roster.hash, epoch)
            if (approved.approval.roster, approved.approval.epoch) == current:
                return approved
            self._held.erase(study)
            self._ledger.forget_runs(study)
        key = APPROVAL_COUNT + study
        number = int(self._ledger.run_state(LEDGER_STATE, key) or b"0") + 1
        # Counted first: a crash in between skips a number and never gives one twice.
        self._ledger.put_run_state(LEDGER_STATE, key, str(number).encode())
        approved = ApprovedStudy.make(self._party, study, number=number, epoch=epoch)
        self._ledger.put_run_state(study, APPROVAL_STATE, approved.envelope)
        return approved

    def _check_ids(self, study: str, sums: RunSums) -> None:
        """Stop where units may have other ids, and so other sides, than at their first answer."""
        with self._ledger.splits() as rows:
            kept = rows.ids(study, sums.split)
        if sums.ids.since(IdSketch.from_bytes(kept)).renamed:
            self.stop(study, IDS_CHANGED.format(study=study[:SHORT]))
        else:
            self._stopped.pop(study, None)

    def _leave_runs(self, study: str) -> None:
        self._noise.expect(study, {})  # not where another run begins: both need the same noise
        self._forget_runs(study)

    def _forget_runs(self, study: str) -> None:
        self._runs = {k: run for k, run in self._runs.items() if k.partition(":")[0] != study}

    # -- data plane: bytes in, bytes out ------------------------------------------------

    def describe(
        self,
        study: str,
        last_reply: bytes = b"",
        offer: bytes = b"",
        run: str = "",
        nonce: str = "",
    ) -> HelloAnswer | Refusal:
        """Answer `hello` with the signed approval, and for a run with fresh keys.

        Args:
            study: the study's id.
            last_reply: the last signed reply that the coordinator holds, if any. A ledger
                that does not contain it was restored from an older copy: nothing runs.
            offer: the signed study, if any. Where it is not approved it is kept for a person
                to decide on, and the answer is UNKNOWN_STUDY; where a person rejected it, a
                signed Rejection goes beside that. It depends on nothing but their decision.
            run: the run that is about to open; empty where none is: then no keys are made.
            nonce: 32 bytes, hex, that the coordinator drew for this node.
        """
        return self._answer(partial(self._describe, study, last_reply, offer, run, nonce))

    def recall(
        self, questions: Sequence[bytes], memories: Sequence[bytes]
    ) -> tuple[bytes, ...] | Refusal:
        """Answer members that ask what is remembered of them, and take answers to the own question.

        Args:
            questions: signed, of custodians that were started; this one's own beside `memories`.
            memories: signed answers to that.
        """
        return self._answer(partial(self._recall, questions, memories))

    def open_run(
        self, opening: bytes, answers: Sequence[bytes], approvals: Sequence[bytes]
    ) -> bytes | Refusal:
        """Check an opening of a run and answer with this institution's key offer."""
        return self._answer(partial(self._open_run, opening, answers, approvals))

    def agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes | Refusal:
        """Derive the run's pair keys from all offers; answers with no content."""
        return self._answer(partial(self._agree, study, run, offers))

    def release(
        self, request: bytes, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> CommitmentReply | Refusal:
        """Answer one signed request through the door, with a commitment to open later.

        Args:
            request: signed R.
            parameters: float64, little-endian; R holds their hash.
            last: the sum that they follow from.
        """
        read: list[Request] = []
        return self._answer(partial(self._release, request, parameters, last, read), read)

    def reveal(self, request: bytes, statements: Sequence[bytes]) -> bytes | Refusal:
        """Open a commitment through the door.

        Args:
            request: signed R.
            statements: the signed commitments of all its participants, in R's order.
        """
        read: list[Request] = []
        return self._answer(partial(self._reveal, request, statements, read), read)

    def publish(self, rehearsal: LastSum) -> bytes | Refusal:
        """Publish the private keys of a rehearsal that failed; its run is over for good.

        Args:
            rehearsal: the request, and what everybody signed as the answer to it.
        """
        return self._answer(partial(self._publish, rehearsal))

    def cosign(self, study: str, run: str, shown: ShownLog) -> bytes | Refusal:
        """Co-sign the head of a run's log, and say how much of it is known here.

        Args:
            study: the study's id.
            run: the run's.
            shown: the head, its leaves, and what was not shown before.
        """
        return self._answer(partial(self._cosign, study, run, shown))

    def deliver(self, delivery: bytes, model: bytes, card: bytes) -> bytes | Refusal:
        """Take the model of a run that was opened and finished here; answers with no content."""
        return self._answer(partial(self._deliver, delivery, model, card))

    def refuse_frame(self, call: str, reason: str) -> Refusal:
        """Refuse a call whose frame cannot be read; `reason` holds nothing of the frame."""
        return self._refused(RefusalCode.MALFORMED, ProtocolError(f"{call}: {reason}"), ())

    def _answer(
        self, action: Callable[[], Answer], read: Sequence[Request] = ()
    ) -> Answer | Refusal:
        """Act, or refuse with a fixed code; `read` holds the request once it was read."""
        try:
            with self._lock:
                self._peers.check_not_behind()
                self._check_served()
                return action()
        except (PolicyRefusal, ProtocolError) as refusal:
            return self._refused(refusal.code, refusal, read)
        # A token that is gone signs nothing, and workers that died add nothing up.
        except (KeysError, LedgerError, RunError) as error:
            return self._refused(RefusalCode.LEDGER_UNAVAILABLE, error, read)

    def _check_served(self) -> None:
        if self._stopped:
            raise LedgerError(self.trouble)

    def _rejected(self, study: str, said: ReportedRejection) -> Refusal:
        """Refuse a study that a person rejected, with what they let the coordinator know."""
        body = Rejection(
            study=study,
            roster=self._party.roster.hash,
            institution=self._party.institution,
            decision=said.decision,
            reason=said.reason,
        )
        told = "with the reason" if said.reason else "without a reason"
        why = PolicyRefusal(
            RefusalCode.UNKNOWN_STUDY,
            f"expected a study that was approved here, found {said.decision}: told, {told}",
        )
        return replace(self._refused(why.code, why, ()), rejection=self._party.sign(body))

    def _refused(self, code: RefusalCode, reason: Exception, read: Sequence[Request]) -> Refusal:
        name, written = self._party.institution, False
        try:
            written = self._decisions.refused(code, str(reason), read[0] if read else None)
            self._unwritten = False
        except LedgerError as error:
            # A refusal lets nothing out, so it is given even when it cannot be written down.
            written, self._unwritten = not self._unwritten, True
            if written:  # the first in a row: a peer can cause as many as it likes
                log.error("%s: the refusal is not in the log: %s", name, error)  # noqa: TRY400
        if written:
            with correlated(**_about(read)):
                log.warning("%s refused: %s (%s)", name, code.value, reason)
        return Refusal(code)

    def _describe(
        self, study: str, last_reply: bytes, offer: bytes, run: str, nonce: str
    ) -> HelloAnswer | Refusal:
        if offer and study not in self._prepared:
            self._keep_offer(study, offer)
            said = self._inbox.said_no(study)
            if said is not None:
                return self._rejected(study, said)
        own = self._own(study, run)
        if last_reply and self._party.protection is Protection.EXACT:
            self._peers.check_shown(study, run, self._position_in(last_reply), last_reply)
        if not run:
            return HelloAnswer(own.envelope)
        answer = self._held.answer(self._party, own, run, nonce)
        question = self._recall_of_members.question(self._held.hearing)
        return HelloAnswer(own.envelope, answer, question)

    def _recall(self, questions: Sequence[bytes], memories: Sequence[bytes]) -> tuple[bytes, ...]:
        answers = self._recall_of_members.answer(questions)
        if memories:
            here = LocalApprovals(self._plan_of, self._held.live)
            self._recall_of_members.take(memories, self._held.hearing, here)
        return answers

    def _plan_of(self, study: str) -> Plan | None:
        prepared = self._prepared.get(study)
        return None if prepared is None else prepared.plan

    def _keep_offer(self, study: str, content: bytes) -> None:
        offered = open_study(content, self._party.roster, self._party.protection)
        if offered.id != study:
            raise ProtocolError("expected an offer of the study that is asked for")
        self._inbox.study_offered(content, offered)

    def _position_in(self, last_reply: bytes) -> Position:
        return position_of(self._party.from_member(last_reply, Reply, self._party.institution).body)

    def _open_run(
        self, content: bytes, answers: Sequence[bytes], approvals: Sequence[bytes]
    ) -> bytes:
        opening = self._party.from_coordinator(content, RunOpening)
        body = opening.body
        self._own(body.study, body.run)
        if body.roster != self._party.roster.hash:
            raise PolicyRefusal(RefusalCode.WRONG_ROSTER, "expected the pinned roster")
        self._check_company(body, self._prepared[body.study].plan)
        self._recall_of_members.check(self._held.hearing)
        known = self._held.offer(body)
        if known is not None:
            return known
        newest = self._newest(body.study, body.run)
        if newest is not None:
            _check_newer(newest, body)
        for dropped in self._openings.admit(body):
            self._held.erase(body.study, dropped)
            self._forget_runs(body.study)
        if self._prepared[body.study].plan.study.aggregation.fixed:
            names = tuple(named.institution for named in body.participants)
            check_set(self._ledger.fixed(body.study), names)  # before anything is asked
        fresh = self._held.fresh(body.study, body.run)
        now = int(self._ledger.now().timestamp())
        remembered = self._peers.remembered(self._prepared[body.study].plan, len(body.participants))
        opened = open_run(self._party, fresh, body, answers, approvals, now, remembered)
        self._openings.keep(body, content)
        self._held.opened(opened)
        return opened.offer

    def _check_company(self, opening: RunOpening, plan: Plan) -> None:
        """Let no run begin in the company of keys that nobody here knows."""
        if self._party.protection is Protection.EXACT:
            self._party.company.check(
                self._party.roster,
                [one.institution for one in opening.participants],
                own=self._party.institution,
                plan=plan,
            )

    def _agree(self, study: str, run: str, offers: Sequence[bytes]) -> bytes:
        self._own(study, run)
        self._opened(study, run)
        self._held.agree(self._party, study, run, offers, partial(self._heed, study, run))
        self._note_agreed(study, run, offers)
        return b""

    def _heed(self, study: str, run: str, offers: Mapping[str, KeyOffer]) -> None:
        """Take what peers show of this study, and their clocks, before any key is kept."""
        plan = self._prepared[study].plan
        self._peers.heed(plan, run, offers, self._held.live(study))
        times = [_instant(offer.time) for offer in offers.values()]
        self._ledger.heed(times, plan.study.privacy.collusion_tolerance)

    def _note_agreed(self, study: str, run: str, offers: Sequence[bytes]) -> None:
        fingerprint = bytes_hash(b"".join(offers))
        self._decisions.noted(RunEvent.AGREED, study, run, fingerprint)

    def _reveal(self, content: bytes, statements: Sequence[bytes], read: list[Request]) -> bytes:
        request = self._party.from_coordinator(content, Request).body
        read.append(request)
        if request.kind is not ReleaseKind.REHEARSAL and self._ledger.stored(request.hash) is None:
            self._recall_of_members.check(self._held.hearing)  # it may wait from before a restore
        return self._door.reveal(self._at_door(request), request, statements, content)

    def _release(
        self, content: bytes, parameters: bytes, last: LastSum, read: list[Request]
    ) -> CommitmentReply:
        request = self._party.from_coordinator(content, Request).body
        read.append(request)
        self._decisions.requested(request)
        reply = self._door.release(self._at_door(request), request, parameters, last)
        self._noise.expect(request.study, coming_draws(self._prepared[request.study].plan, request))
        return reply

    def _publish(self, rehearsal: LastSum) -> bytes:
        request = self._party.from_coordinator(rehearsal.request, Request)
        body = request.body
        sent = self._publishing.published(body)
        if sent is None:
            sent = self._publishing.publish(
                self._approved_run(body), request, rehearsal, self._held
            )
            self._held.erase(body.study, body.run)
            self._forget_runs(body.study)
        self._decisions.noted(RunEvent.PUBLISHED, body.study, body.run, bytes_hash(sent))
        return sent

    def _cosign(self, study: str, run: str, shown: ShownLog) -> bytes:
        self._own(study, run)
        self._opened(study, run)
        if self._held.passed(study, run, self._prepared[study].plan.last_step):
            self._held.erase(study, run)
            self._forget_runs(study)
        signed: bytes = cosigning(self._party, self._ledger).cosign(study, run, shown)
        self._decisions.noted(RunEvent.COSIGNED, study, run, bytes_hash(signed))
        return signed

    def _deliver(self, content: bytes, model: bytes, card: bytes) -> bytes:
        delivery = self._party.from_coordinator(content, Delivery).body
        self._own(delivery.study, delivery.run)
        if (bytes_hash(model), bytes_hash(card)) != (delivery.file, delivery.card):
            raise ProtocolError("expected the model and the card that the delivery binds")
        study = self._prepared[delivery.study].plan.study
        evidence = model_evidence(self._ledger, study, delivery, card)
        if evidence is ModelEvidence.UNVERIFIED:
            raise PolicyRefusal(
                RefusalCode.NOT_RECOMPUTED,
                "expected a model of a run that was opened and finished here, found another: ask "
                "the coordinator for its transcript; as a file it may be kept, with --unverified",
            )
        self._inbox.delivered(delivery, content, model, card, evidence)
        self._held.erase(delivery.study, delivery.run)
        self._forget_runs(delivery.study)
        return b""

    def _at_door(self, request: Request) -> RunAtDoor:
        key = f"{request.study}:{request.run}:{request.opening}"
        self._publishing.check_alive(request.study, request.run)
        if key not in self._runs:
            approved = self._approved_run(request)
            self._forget_runs(request.study)
            replay = Recomputation(self._party, self._ledger, approved)
            self._runs[key] = RunAtDoor(approved, self._prepared[request.study].sums, replay)
        return self._runs[key]

    def _approved_run(self, request: Request) -> ApprovedRun:
        """Return the run of a request as it was opened here."""
        self._own(request.study, request.run)
        opening = self._opened(request.study, f"{request.run}:{request.opening}")
        return ApprovedRun(
            institution=self._party.institution,
            plan=self._prepared[request.study].plan,
            roster_hash=self._party.roster.hash,
            opening=opening,
            opened_by=self._opened_by(opening),
        )

    def _opened_by(self, opening: RunOpening) -> int:
        """Return the participants of a run's first opening here."""
        state = self._ledger.run_state(opening.study, OPENED_STATE + opening.run)
        return int(state) if state else len(opening.participants)

    def _own(self, study: str, run: str) -> ApprovedStudy:
        """Return the approval that a run rests on; a run whose rehearsal failed rests on none."""
        self._publishing.check_alive(study, run)
        state = self._ledger.run_state(study, APPROVAL_STATE)
        if state is None or study not in self._prepared:
            raise PolicyRefusal(
                RefusalCode.UNKNOWN_STUDY, "expected a study that was approved here"
            )
        return ApprovedStudy.from_bytes(state, self._party)

    def _opened(self, study: str, run: str) -> RunOpening:
        opening = self._newest(study, run)
        if opening is None:
            raise PolicyRefusal(RefusalCode.UNKNOWN_RUN, "expected a run that was opened here")
        return opening

    def _newest(self, study: str, run: str) -> RunOpening | None:
        state = self._ledger.run_state(study, OPENING_STATE + run)
        return None if state is None else self._party.from_coordinator(state, RunOpening).body


def _instant(seconds: int) -> datetime:
    """Return a time that a peer signed; one beyond the calendar is its last day."""
    return datetime.fromtimestamp(min(seconds, LAST_SECOND), UTC)


def _check_newer(newest: RunOpening, opening: RunOpening) -> None:
    """Check that an opening follows the newest one of its run, and that nobody joins.

    Raises:
        PolicyRefusal: KEYS_GONE for the newest one itself, REPLAY_CHANGED or BAD_PARTICIPANTS.
    """
    if opening == newest:
        raise keys_gone()
    if opening.number <= newest.number:
        raise PolicyRefusal(
            RefusalCode.REPLAY_CHANGED, f"expected an opening after number {newest.number}"
        )
    before = {named.institution for named in newest.participants}
    if not {named.institution for named in opening.participants} <= before:
        raise PolicyRefusal(
            RefusalCode.BAD_PARTICIPANTS, "expected nobody to join a run that was opened"
        )


def _about(read: Sequence[Request]) -> dict[str, str | int]:
    """Return what a line of the log is about, where a request was read."""
    return {
        name: value
        for one in read[:1]
        for name, value in (
            ("study", one.study),
            ("run", one.run),
            ("step", one.step),
            ("attempt", one.attempt),
        )
    }

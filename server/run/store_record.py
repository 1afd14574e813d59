"""A run's record in the run store: transcript, checkpoint and progress in one transaction each.

A hello without a run has a record too: each institution's answer to a study.
"""

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

import rfc8785

from fieldfare.server.run.record import DecodedSum, Opening, Record, RunCheckpoint
from fieldfare.server.store.rows import Progress, said_of_losses
from fieldfare.server.store.store import RunStore
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import SideCosts, largest
from fieldfare.shared.protocol.messages import Approval, LastSum, ReleaseKind, open_envelope
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.ring import Word
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.run.request_check import AgreedRun
from fieldfare.shared.run.state import RunState
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind

MAX_REASON: Final = 4000

log = logging.getLogger(__name__)

PHASES: Final = {
    LeafKind.OPENING: "hello",
    LeafKind.QUESTIONS: ReleaseKind.QUERY.value,
}


TERMS: Final = frozenset({LeafKind.ROSTER, LeafKind.STUDY})
TOLD: Final = frozenset({LeafKind.OFFER, LeafKind.REQUEST, LeafKind.END})


@dataclass(frozen=True)
class RunFacts:
    """The facts about a run that its record needs.

    Attributes:
        run: its id.
        plan: of its study.
        roster: that it runs under.
        roster_offer: the roster as the coordinator signed it.
        study_offer: the study as the coordinator signed it.
        later: questions that the run is for, instead of what the study declares.
    """

    run: str
    plan: Plan
    roster: Roster
    roster_offer: bytes
    study_offer: bytes
    later: tuple[QuestionGroup, ...] = ()

    @property
    def trains(self) -> bool:
        """Tell whether the run trains a model."""
        return self.plan.study.trains and not self.later

    def openings(self, approvals: Mapping[str, str]) -> RunOpenings:
        """Return a run before its first opening, given the hash of each approval."""
        return RunOpenings(
            study=self.plan.study_id,
            run=self.run,
            roster=self.roster,
            protection=Protection.SIMULATED,  # signatures were verified before it was written down
            least=self.plan.study.aggregation.minimum_institutions,
            approvals=approvals,
        )


@dataclass
class RunRecord(Record):
    """Keeps one run in a store, and folds it again in a fresh process.

    Attributes:
        store: the run store.
        facts: the run.
        now: the present, with a time zone.
        monotonic: seconds that only go forward.
    """

    store: RunStore
    facts: RunFacts
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    _news: dict[str, str] = field(default_factory=dict)
    _checkpoint: RunCheckpoint | None = None
    _seconds: float = 0.0
    _begun: float | None = None

    # -- where it stands ----------------------------------------------------------------

    def checkpoint(self) -> RunCheckpoint:
        """Return where the run was interrupted, read from the store once.

        Raises:
            RunError: the store does not hold a run of this study.
        """
        if self._checkpoint is None:
            try:
                self._read()
            except ProtocolError as error:
                run = self.facts.run
                raise RunError(f"run {run}: the kept run cannot be read: {error}") from None
            self._checkpoint = RunCheckpoint.of(self.openings, self.state)
            if self.state is not None and self.state.last is not None and not self.done:
                self.last = self._last_sum(self.state.last)
        return self._checkpoint

    @property
    def done(self) -> bool:
        """Whether the model is made, or everything is answered: what is left is the delivery."""
        state = self.state
        if state is None:
            return False
        finished = state.end is not None and state.end.state == "finished"
        return bool(state.model) or (state.complete and finished)

    def _read(self) -> None:
        """Fold the kept leaves; the checkpoint stands for the steps of training before it.

        Raises:
            ProtocolError: the leaves of no run, or no checkpoint.
        """
        content = self.store.checkpoint(self.facts.run)
        training = None if content is None else TrainingState.from_bytes(content)
        approvals: dict[str, str] = {}
        for leaf in self.store.leaves(self.facts.run):
            if self.state is not None:
                self.state = self._with(leaf, training)
            elif leaf.kind is LeafKind.APPROVAL:
                approval = self._approval(leaf.content)
                approvals[approval.institution] = approval.hash
            elif leaf.kind is LeafKind.END:
                self.openings = self.openings and self.openings.interrupted()
            elif leaf.kind not in TERMS:
                self._opens(leaf, approvals)
        if self.state is not None:
            self.openings = self.state.openings

    def _opens(self, leaf: Leaf, approvals: Mapping[str, str]) -> None:
        """Fold a leaf of the first opening; once all agreed on it, the run begins."""
        facts = self.facts
        self.openings = (self.openings or facts.openings(approvals)).after(leaf)
        opening = self.openings.agreed
        if opening is not None:
            run = AgreedRun(plan=facts.plan, roster_hash=facts.roster.hash, opening=opening)
            self.begin(run, facts.roster)

    def _approval(self, content: bytes) -> Approval:
        return open_envelope(content, Approval, self.facts.roster, Protection.SIMULATED).body

    def _with(self, leaf: Leaf, training: TrainingState | None) -> RunState:
        state = self.run.after(leaf, self._added)
        if training is None or not state.purged or not state.stands_at(training):
            return state
        return state.resumed(training)

    def _added(self, attempt: Attempt, terms: ReleaseTerms) -> Word | None:
        """Add the table up that the threshold of alerts follows from; nothing else needs a sum."""
        if terms.kind is not ReleaseKind.EVALUATION or not self.facts.plan.study.groups:
            return None
        blobs = [self.store.blob(reply.body.vector) for reply in attempt.replies.values()]
        vectors = [vector for vector in blobs if vector is not None]
        if len(vectors) < len(blobs):
            return None
        return add_words(vectors, terms.word_bits, terms.vectors.entries, attempt.seeds)

    def _last_sum(self, last: Attempt) -> LastSum:
        """Return a sum as it travels with the next request.

        Raises:
            RunError: its vectors were deleted.
        """
        vectors = []
        for reply in last.replies.values():
            vector = self.store.blob(reply.body.vector)
            if vector is None:
                raise RunError(
                    f"run {self.facts.run}: expected the last step's masked vectors, found deleted "
                    "ones: start another run"
                )
            vectors.append(vector)
        replies = tuple(reply.content for reply in last.replies.values())
        statements = tuple(one.content for one in last.commitments.values())
        return LastSum(last.asked.content, replies, tuple(vectors), statements)

    # -- its leaves ---------------------------------------------------------------------

    def opening(self, opening: Opening, openings: RunOpenings) -> None:
        """Keep an opening before it is sent, the first one after the roster and the study."""
        roster, study = self.facts.roster_offer, self.facts.study_offer
        with self.store.together():
            if self.openings is None:
                self._append([Leaf(LeafKind.ROSTER, roster), Leaf(LeafKind.STUDY, study)])
            super().opening(opening, openings)

    def keep_request(self, request: bytes) -> None:
        """Keep a signed request before it is sent."""
        self._begun = self.monotonic()
        super().keep_request(request)

    def keep_failure(self, replies: Mapping[str, bytes], *, costs: bool) -> None:
        """Keep the replies of an attempt that not everybody answered."""
        with self.store.together():
            super().keep_failure(replies, costs=costs)
            self._put_last(replies if costs else {})

    def note_lost(self, institutions: Collection[str], *, debited: bool) -> None:
        """Count a failed attempt that these caused, and say so."""
        run = self.facts.run
        with self.store.together():
            self.store.add_losses(run, institutions, debited=debited)
        for name, lost in self.store.losses(run).items():
            if name in institutions:
                log.warning("run %s: %s", run, said_of_losses(name, lost))

    def log(self) -> Sequence[Leaf]:
        """Return the leaves of the run so far, as the store has them."""
        return self.store.leaves(self.facts.run)

    def interrupted(self, *, stopped: bool, reason: str) -> None:
        """Keep how a part of the run ended that may be resumed."""
        state: Literal["stopped", "failed"] = "stopped" if stopped else "failed"
        self._put([EndRecord(state=state, reason=reason[:MAX_REASON]).leaf()])

    def _append(
        self, leaves: Sequence[Leaf], state: RunState | None = None, total: DecodedSum | None = None
    ) -> None:
        """Keep leaves, and all that a fresh process and those who watch need of them."""
        blobs, checkpoint = {}, None
        with self.store.together():
            if total is not None and state is not None:
                blobs = {bytes_hash(vector): vector for vector in total.vectors.values()}
                checkpoint = self._tell(state, total)
            self._keep(leaves, blobs, checkpoint, _phase(leaves, state, total), state)

    def _tell(self, state: RunState, total: DecodedSum) -> bytes | None:
        """Tell what a sum led to beside the leaves; return the checkpoint, where it made one."""
        if self._begun is not None:
            self._seconds = self.monotonic() - self._begun
        release, results = self.run.release, state.results
        self._put_last(total.replies if release.terms.cost else {})
        if release.kind.release is ReleaseKind.EVALUATION:
            known = json.loads(self.store.metrics(self.facts.run) or "{}")
            guarded = {key: known[key] for key in ("released_guard",) if key in known}
            measured = json.loads(results.metrics or "{}") | guarded
            said = rfc8785.dumps(measured).decode() if guarded else results.metrics or ""
            self.store.put_metrics(self.facts.run, said)
        if told := release.kind.told(self.facts.plan, results):
            known = json.loads(self.store.metrics(self.facts.run) or "{}")
            self.store.put_metrics(self.facts.run, rfc8785.dumps(known | told).decode())
        moving = {ReleaseKind.REHEARSAL, ReleaseKind.TRAINING, ReleaseKind.GUARD}
        moves = release.kind.release in moving
        return results.training.to_bytes() if moves and results.training else None

    def _keep(
        self,
        leaves: Sequence[Leaf],
        blobs: Mapping[str, bytes],
        checkpoint: bytes | None,
        phase: str,
        state: RunState | None,
    ) -> None:
        progress = self._progress(phase, state) if phase else None
        run, now = self.facts.run, self.now()
        self.store.append(run, leaves, blobs=blobs, checkpoint=checkpoint, progress=progress)
        for institution, text in self._news.items():
            self.store.put_status(run, institution, text, now)
        self._news.clear()

    def _progress(self, phase: str, state: RunState | None) -> Progress:
        return Progress(
            step=state.results.steps if state else 0,
            steps=self.facts.plan.study.training.steps if self.facts.trains else 0,
            attempt_failures=RunCheckpoint.of(None, state).failed,
            seconds=self._seconds,
            spent=largest(state.debits.values()) if state else SideCosts(),
            phase=phase,
            at=self.now(),
        )

    def _put_last(self, replies: Mapping[str, bytes]) -> None:
        for name, envelope in replies.items():
            self.store.put_last_reply(name, envelope)

    # -- for those who watch ------------------------------------------------------------

    def note_action(self, institution: str, text: str) -> None:
        """Note an institution's last action; it reaches the disk with the next record."""
        self._news[institution] = text[:MAX_REASON]

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note an institution's answer to the study, and its signed approval if it gave one."""
        now = self.now()
        with self.store.together():
            self.store.put_approval(self.facts.plan.study_id, institution, text, approval, now)
            self.store.put_status(self.facts.run, institution, text[:MAX_REASON], now)

    def waiting_for(self, institutions: Sequence[str]) -> None:
        """Note who is waited for, so that those who watch know at once."""
        self._news |= dict.fromkeys(institutions, "waiting")
        self._keep([], {}, None, "hello", self.state)

    def stopping(self) -> bool:
        """Tell whether the run was asked to end after this step."""
        return self.store.stop_requested(self.facts.run)


def _phase(leaves: Sequence[Leaf], state: RunState | None, total: DecodedSum | None) -> str:
    """Return what the run does from now on, in a word; nothing where that has not changed."""
    kind = leaves[-1].kind if leaves else None
    if kind in PHASES:
        return PHASES[kind]
    if kind is LeafKind.OFFER and state is None:
        return ReleaseKind.REHEARSAL.value
    if state is None or state.results.remains or (total is None and kind not in TOLD):
        return ""
    if kind is LeafKind.END:
        return "delivery" if state.end and state.end.state == "finished" else ""
    release = state.expected()
    return "delivery" if release is None else release.kind.release.value


@dataclass
class HelloRecord(Record):
    """Keeps answers to hello, by study.

    Attributes:
        store: the run store.
        study: the study's id.
        now: the present, with a time zone.
    """

    store: RunStore
    study: str
    now: Callable[[], datetime]

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note what an institution says to the study, and its signed approval if it gave one."""
        self.store.put_approval(self.study, institution, text, approval, self.now())

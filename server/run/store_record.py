"""A run's record in the run store: transcript, checkpoint and progress in one transaction each.

The record of a hello without a run: each institution's answer to a study.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeVar

import rfc8785

from fieldfare.server.run.evaluation import read_groups
from fieldfare.server.run.record import AnswerSum, GroupsSum, NoRecord, Opening, Standing, Sum
from fieldfare.server.store.rows import Progress
from fieldfare.server.store.store import RunStore
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.privacy.samplers import Assurance
from fieldfare.shared.protocol.messages import (
    MessageBody,
    Reply,
    Request,
    open_envelope,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseKind
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.queries.questions import QuestionGroup
from fieldfare.shared.ring import decode
from fieldfare.shared.run.last_sum import NO_LAST_SUM, LastSum
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import decoded_sum
from fieldfare.shared.transcript.leaves import (
    AnswersRecord,
    EndRecord,
    FairnessRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    ParametersRecord,
    QuestionsRecord,
    SumRecord,
)

MAX_REASON: Final = 4000

B = TypeVar("B", bound=MessageBody)


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


@dataclass
class RunRecord:
    """Keeps one run in a store; see server/run/record.py.

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
    _standing: Standing | None = None
    _debits: dict[str, int] = field(default_factory=dict)
    _counted: set[bytes] = field(default_factory=set)
    _failed: int = 0
    _step: int = 0
    _seconds: float = 0.0
    _begun: float | None = None

    def standing(self) -> Standing:
        """Return where the run stands, read from the store once."""
        if self._standing is None:
            reading = _Reading(self.store, self.facts)
            self._standing = reading.standing()
            self._counted = reading.counted
            self._debits = dict(self._standing.debits)
            self._failed = self._standing.failed
            self._step = self._standing.state.step if self._standing.state else 0
        return self._standing

    def opening(self, opening: Opening) -> None:
        """Keep an opening before it is sent."""
        leaves = [
            Leaf(LeafKind.ROSTER, self.facts.roster_offer),
            Leaf(LeafKind.STUDY, self.facts.study_offer),
            *(Leaf(LeafKind.APPROVAL, envelope) for envelope in opening.approvals),
            Leaf(LeafKind.OPENING, opening.opening),
        ]
        self._append(leaves, phase="hello")

    def agreed(self, opening: Opening) -> None:
        """Keep the key offers that all participants have agreed on."""
        leaves = [Leaf(LeafKind.OFFER, envelope) for envelope in opening.offers]
        self._append(leaves, phase="rehearsal")

    def requested(self, request: bytes) -> None:
        """Keep a signed request before it is sent."""
        self._begun = self.monotonic()
        kind = _parsed(request, Request, self.facts).kind
        self._append([Leaf(LeafKind.REQUEST, request)], phase=kind.value)

    def failed(self, replies: Mapping[str, bytes], *, costs: bool) -> None:
        """Keep the replies of an attempt that not every institution answered."""
        self._failed += 1
        self._debit(replies)
        with self.store.together():
            self._append([Leaf(LeafKind.REPLY, replies[name]) for name in sorted(replies)])
            if costs:
                self._put_last(replies)

    def summed(self, total: Sum, state: TrainingState) -> None:
        """Keep a rehearsal's or a training step's sum, and the state that it led to."""
        leaves = self._sum_leaves(total)
        costs = state.step > 0
        if costs:
            hashed = bytes_hash(parameters_to_bytes(state.parameters))
            leaves.append(ParametersRecord(step=state.step, parameters=hashed).leaf())
            self._debit(total.replies)
        self._step = state.step
        self._time()
        with self.store.together():
            self._append(leaves, blobs=_blobs(total), checkpoint=state.to_bytes(), phase="training")
            if costs:
                self._put_last(total.replies)

    def evaluated(self, total: Sum, metrics: str) -> None:
        """Keep the evaluation's sum, and its metrics as canonical JSON (nothing if hidden)."""
        leaves = [*self._sum_leaves(total), MetricsRecord(metrics=metrics).leaf()]
        phase = "evaluation" if self.facts.plan.study.groups else "delivery"
        self._debit(total.replies)
        self._time()
        with self.store.together():
            self._append(leaves, blobs=_blobs(total), phase=phase)
            self._put_last(total.replies)
            self.store.put_metrics(self.facts.run, metrics)

    def grouped(self, total: Sum, threshold: float) -> None:
        """Keep the counts by group, and the log-odds from which a unit was an alert."""
        record = FairnessRecord.of(threshold, total.words)
        self._debit(total.replies)
        self._time()
        with self.store.together():
            leaves = [*self._sum_leaves(total), record.leaf()]
            self._append(leaves, blobs=_blobs(total), phase="delivery")
            self._put_last(total.replies)
            self._tell_groups(GroupsSum(threshold, total.values, len(total.participants)))

    def _tell_groups(self, groups: GroupsSum) -> None:
        """Let those who watch read how groups fare, beside what the evaluation said."""
        told = json.loads(self.store.metrics(self.facts.run) or "{}")
        told["released_groups"] = read_groups(self.facts.plan, groups)
        self.store.put_metrics(self.facts.run, rfc8785.dumps(told).decode())

    def asking(self, questions: QuestionGroup) -> None:
        """Keep later questions before any institution is asked."""
        self._append([QuestionsRecord.of(questions).leaf()], phase=ReleaseKind.QUERY.value)

    def answered(self, total: Sum, questions: QuestionGroup) -> None:
        """Keep the sum that answers a group of questions."""
        leaves = [*self._sum_leaves(total), AnswersRecord.of(questions, total.words).leaf()]
        phase = "training" if self.facts.plan.study.asks_for_knots else "delivery"
        self._debit(total.replies)
        self._time()
        with self.store.together():
            self._append(leaves, blobs=_blobs(total), phase=phase)
            self._put_last(total.replies)

    def finished(self, model: bytes) -> None:
        """Keep the finished model's hash: the run has nothing left but to hand it over.

        Args:
            model: the averaged parameters, little-endian float64; where the run trains none,
                there is none to hand over.
        """
        steps = self.facts.plan.study.training.steps
        leaves = [EndRecord(state="finished", reason="").leaf()]
        if self.facts.trains:
            leaves.insert(0, ModelRecord(model=bytes_hash(model), steps=steps).leaf())
        self._append(leaves, phase="delivery")

    def interrupted(self, *, stopped: bool, reason: str) -> None:
        """Keep how a part of the run ended that may be resumed."""
        state: Literal["stopped", "failed"] = "stopped" if stopped else "failed"
        self._append([EndRecord(state=state, reason=reason[:MAX_REASON]).leaf()])

    def heard(self, institution: str, text: str) -> None:
        """Note an institution's last action; it reaches the disk with the next record."""
        self._news[institution] = text[:MAX_REASON]

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note what an institution says to the study, and its signed approval if it gave one."""
        now = self.now()
        with self.store.together():
            self.store.put_approval(self.facts.plan.study_id, institution, text, approval, now)
            self.store.put_status(self.facts.run, institution, text[:MAX_REASON], now)

    def waiting_for(self, institutions: Sequence[str]) -> None:
        """Note who is waited for, so that those who watch know at once."""
        self._news |= dict.fromkeys(institutions, "waiting")
        self._append([], phase="hello")

    def stopping(self) -> bool:
        """Tell whether the run was asked to end after this step."""
        return self.store.stop_requested(self.facts.run)

    @property
    def spent(self) -> int:
        """Return the largest debit of any institution in this run, 1e-12 mu^2."""
        return max(self._debits.values(), default=0)

    @property
    def failures(self) -> int:
        """Return how many attempts failed."""
        return self._failed

    def _append(
        self,
        leaves: Sequence[Leaf],
        *,
        blobs: Mapping[str, bytes] | None = None,
        checkpoint: bytes | None = None,
        phase: str = "",
    ) -> None:
        with self.store.together():
            progress = self._progress(phase) if phase else None
            self.store.append(
                self.facts.run,
                leaves,
                blobs=blobs or {},
                checkpoint=checkpoint,
                progress=progress,
            )
            now = self.now()
            for institution, text in self._news.items():
                self.store.put_status(self.facts.run, institution, text, now)
        self._news.clear()

    def _progress(self, phase: str) -> Progress:
        return Progress(
            step=self._step,
            steps=self.facts.plan.study.training.steps if self.facts.trains else 0,
            attempt_failures=self._failed,
            seconds=self._seconds,
            spent=self.spent,
            phase=phase,
            at=self.now(),
        )

    def _time(self) -> None:
        if self._begun is not None:
            self._seconds = self.monotonic() - self._begun

    def _debit(self, replies: Mapping[str, bytes]) -> None:
        for envelope in replies.values():
            _count(self._debits, self._counted, envelope, self.facts)

    def _put_last(self, replies: Mapping[str, bytes]) -> None:
        for name, envelope in replies.items():
            self.store.put_last_reply(name, envelope)

    def _sum_leaves(self, total: Sum) -> list[Leaf]:
        request = _parsed(total.request, Request, self.facts)
        record = SumRecord(
            request=request.hash, participants=total.participants, words=bytes_hash(total.words)
        )
        replies = [Leaf(LeafKind.REPLY, total.replies[name]) for name in total.participants]
        return [*replies, record.leaf()]


def _parsed(content: bytes, body_type: type[B], facts: RunFacts) -> B:
    """Parse a message whose signature was checked before it was kept."""
    return open_envelope(content, body_type, facts.roster, Assurance.SIMULATED).body


def _count(debits: dict[str, int], counted: set[bytes], envelope: bytes, facts: RunFacts) -> None:
    """Add a reply's debit up, once: asked again, an institution sends the same bytes for free."""
    if envelope in counted:
        return
    counted.add(envelope)
    reply = _parsed(envelope, Reply, facts)
    debits[reply.institution] = debits.get(reply.institution, 0) + reply.debit


def _blobs(total: Sum) -> dict[str, bytes]:
    return {bytes_hash(vector): vector for vector in total.vectors.values()}


@dataclass
class _Reading:
    """Reads a run's leaves once, in order, into where the run stands."""

    store: RunStore
    facts: RunFacts
    _opening: bytes = b""
    _approvals: list[bytes] = field(default_factory=list)
    _offers: list[bytes] = field(default_factory=list)
    _request: bytes = b""
    _replies: list[bytes] = field(default_factory=list)
    _pending: bool = False  # the last request has no sum
    _last: tuple[bytes, tuple[bytes, ...]] = (b"", ())
    _debits: dict[str, int] = field(default_factory=dict)
    counted: set[bytes] = field(default_factory=set)  # replies that are in the debits
    _failed: int = 0
    _metrics: str | None = None
    _groups: GroupsSum | None = None
    _answers: list[AnswerSum] = field(default_factory=list)
    _asked: QuestionGroup | None = None
    _done: bool = False

    def standing(self) -> Standing:
        """Return where the run stands.

        Raises:
            RunError: what the store holds is no run of this study.
        """
        run = self.facts.run
        try:
            for leaf in self.store.leaves(run):
                self._read(leaf)
            content = self.store.checkpoint(run)
            state = None if content is None else TrainingState.from_bytes(content)
        except ProtocolError as error:
            raise RunError(f"run {run}: the kept run cannot be read: {error}") from None
        opening = (
            Opening(self._opening, tuple(self._approvals), tuple(self._offers))
            if self._opening
            else None
        )
        return Standing(
            opening=opening,
            state=state,
            last=self._last_sum(),
            request=self._request,
            answered=not self._pending or bool(self._replies),
            stayed=self._stayed(),
            debits=self._debits,
            failed=self._failed + int(self._pending and bool(self._replies)),
            metrics=self._metrics,
            groups=self._groups,
            answers=tuple(self._answers),
            asked=self._asked,
            done=self._done,
        )

    def _read(self, leaf: Leaf) -> None:
        kind, content = leaf.kind, leaf.content
        if kind is LeafKind.APPROVAL:
            self._approvals.append(content)
        elif kind is LeafKind.OPENING:
            self._opening = content
        elif kind is LeafKind.OFFER:
            self._offers.append(content)
        elif kind is LeafKind.REQUEST:
            self._failed += int(self._pending)
            self._request, self._replies, self._pending = content, [], True
        elif kind is LeafKind.REPLY:
            self._reply(content)
        elif kind is LeafKind.SUM:
            self._summed()
        elif kind is LeafKind.METRICS:
            self._metrics = MetricsRecord.from_bytes(content).metrics
        elif kind is LeafKind.ANSWERS:
            self._answered(AnswersRecord.from_bytes(content))
        else:
            self._note(kind, content)

    def _note(self, kind: LeafKind, content: bytes) -> None:
        if kind is LeafKind.QUESTIONS:
            self._asked = QuestionsRecord.from_bytes(content).group
        elif kind is LeafKind.FAIRNESS:
            self._grouped(FairnessRecord.from_bytes(content))
        elif kind is LeafKind.END:
            self._done = EndRecord.from_bytes(content).state == "finished"

    def _grouped(self, record: FairnessRecord) -> None:
        request, terms = _parsed(self._request, Request, self.facts), self.facts.plan.fairness
        words = decode(record.content, terms.word_bits, terms.vectors.entries)
        values = decoded_sum(words, terms, request.n)
        self._groups = GroupsSum(record.threshold, values, request.n)

    def _answered(self, record: AnswersRecord) -> None:
        request = _parsed(self._request, Request, self.facts)
        terms = self.facts.plan.question_terms(request.step, record.group)
        words = decode(record.content, terms.word_bits, terms.vectors.entries)
        self._answers.append(
            AnswerSum(record.group, decoded_sum(words, terms, request.n), request.n, request.step)
        )
        self._asked = None

    def _stayed(self) -> frozenset[str]:
        """Return who answered an attempt that failed."""
        if not self._pending:
            return frozenset()
        return frozenset(_parsed(r, Reply, self.facts).institution for r in self._replies)

    def _reply(self, content: bytes) -> None:
        self._replies.append(content)  # kept once the attempt is over, whichever way
        _count(self._debits, self.counted, content, self.facts)

    def _summed(self) -> None:
        self._pending = False
        request = _parsed(self._request, Request, self.facts)
        study, kind = self.facts.plan.study, request.kind
        knots = kind is ReleaseKind.QUERY and study.asks_for_knots
        table = kind is ReleaseKind.EVALUATION and bool(study.groups)
        if knots or table or kind is ReleaseKind.TRAINING:
            self._last = (self._request, tuple(self._replies))

    def _last_sum(self) -> LastSum:
        request, replies = self._last
        if not request:
            return NO_LAST_SUM
        vectors = []
        for envelope in replies:
            reply = _parsed(envelope, Reply, self.facts)
            vector = self.store.blob(reply.vector)
            if vector is None:
                raise RunError(
                    f"run {self.facts.run}: expected the last step's masked vectors, found deleted "
                    "ones: start another run"
                )
            vectors.append(vector)
        return LastSum(request, replies, tuple(vectors))


# -- hello record ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class HelloRecord(NoRecord):
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

"""The releases of a run, checked and done again from its transcript.

Takes requests, replies, sums and their results in order, and can only go forward:
rehearsal, each training step, evaluation, counts by group, questions, model; or after the
rehearsal nothing but later questions. Every sum is added up again from the masked vectors, and
every step of Adam is taken again, bit for bit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.adam import TrainingState
from fieldfare.shared.alert_cut import thresholds_near, with_threshold
from fieldfare.shared.audit_ledgers import LedgerTrail
from fieldfare.shared.audit_opening import OpenedRun
from fieldfare.shared.audit_requests import check_request
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, StudyError
from fieldfare.shared.grid import Word, WordBits, decode
from fieldfare.shared.messages import (
    Assurance,
    Reply,
    Request,
    parameters_hash,
    parameters_to_bytes,
    unseal,
)
from fieldfare.shared.misfit import expect
from fieldfare.shared.plan import ReleaseKind, ReleaseTerms
from fieldfare.shared.replay import (
    add_words,
    bound_initial_state,
    decoded_sum,
    model_hash,
    state_hash,
    stepped,
    words_hash,
)
from fieldfare.shared.roster import COORDINATOR
from fieldfare.shared.transcript import (
    AnswersRecord,
    FairnessRecord,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    ParametersRecord,
    QuestionsRecord,
    SumRecord,
)

UNKNOWN: Final = ""  # parameters that only a recomputed sum would tell
REHEARSAL: Final = (ReleaseKind.REHEARSAL, 0)


class Vectors(Protocol):
    """Where masked vectors are found."""

    @property
    def kept(self) -> bool:
        """Whether vectors are there at all, or were purged."""
        ...

    def vector(self, name: str) -> bytes:
        """Return the vector of this SHA-256; raises ProtocolError where it is missing."""
        ...


@dataclass
class Attempt:
    """One request and its replies so far.

    Attributes:
        interrupted: the run ended after it; it may be asked again, or given up.
    """

    request: Request
    hash: str
    replies: dict[str, Reply] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def missing(self) -> list[str]:
        """Who has not answered."""
        return [
            p.institution for p in self.request.participants if p.institution not in self.replies
        ]


class ReleasesAudit:
    """Takes the REQUESTs, REPLYs, SUMs and results of an opened run."""

    def __init__(self, run: OpenedRun, vectors: Vectors) -> None:
        """Begin before the rehearsal."""
        self._run = run
        self._vectors = vectors
        self.trail = LedgerTrail(run.plan.study_limit)
        self.institution: str | None = None  # whose leaf is being looked at
        self.step: int | None = None
        self.sums = 0
        self.recomputed = 0
        self.steps = 0  # of training, taken in so far
        self.requests = 0  # distinct ones
        self.model = ""
        self.metrics: str | None = None
        self.fairness: FairnessRecord | None = None
        self.grouped = 0  # institutions in the counts by group
        self.answers: list[AnswersRecord] = []
        self._release: tuple[ReleaseKind, int] = REHEARSAL
        self._attempts = 0  # of this release
        self._attempt: Attempt | None = None
        self._due: LeafKind | None = None  # what a sum has to be followed by
        self._state: TrainingState | None = None
        self._parameters = UNKNOWN  # hash that the next request has to bind
        self._model = UNKNOWN  # hash of the model that was evaluated
        self._answer: NDArray[np.float64] | None = None  # that the first step's knots follow from
        self._asked_for: tuple[Request, SumRecord]  # what answers or counts are to
        self._table: NDArray[np.float64] | None = None  # the evaluation's, for the threshold
        self._threshold: float | None = None  # as it follows from the table
        self._begun = False  # what comes after the rehearsal is settled
        self._later: list[ReleaseTerms] = []  # of each group of later questions
        self._complete = False  # everything that was asked is answered, and nothing is trained
        self._takers: Mapping[LeafKind, Callable[[bytes], None]] = {
            LeafKind.REQUEST: self._take_request,
            LeafKind.REPLY: self._take_reply,
            LeafKind.SUM: self._take_sum,
            LeafKind.PARAMETERS: self._take_parameters,
            LeafKind.METRICS: self._take_metrics,
            LeafKind.FAIRNESS: self._take_fairness,
            LeafKind.QUESTIONS: self._take_questions,
            LeafKind.ANSWERS: self._take_answers,
            LeafKind.MODEL: self._take_model,
        }

    @property
    def allowed(self) -> frozenset[LeafKind]:
        """The kinds of which the next leaf must be, but for END."""
        if self.done:
            return frozenset({LeafKind.QUESTIONS} if self._later else ())
        if self._due is not None:
            return frozenset({self._due})
        if self._attempt is None:
            either = self._release != REHEARSAL and not self._begun and self._run.study.allowance
            return frozenset({LeafKind.REQUEST, *([LeafKind.QUESTIONS] if either else [])})
        return frozenset({LeafKind.REQUEST, LeafKind.REPLY, LeafKind.SUM})

    def take(self, kind: LeafKind, content: bytes) -> None:
        """Verify one leaf of an allowed kind.

        Raises:
            ProtocolError: the first thing that does not fit.
        """
        self.institution, self.step = None, self._release[1]
        self._takers[kind](content)

    def interrupted(self) -> None:
        """Note that the run ended here: what was asked may be asked again."""
        if self._attempt is not None:
            self._attempt.interrupted = True

    @property
    def done(self) -> bool:
        """Tell whether the run has nothing left but to end."""
        return bool(self.model) or self._complete

    @property
    def _terms(self) -> ReleaseTerms:
        return self._later[-1] if self._later else self._run.plan.terms(self._release[0])

    # -- what was asked -----------------------------------------------------------------

    def _take_request(self, content: bytes) -> None:
        opened = unseal(content, Request, self._run.roster, Assurance.EXACT)
        request = opened.body
        expect("the coordinator's signature", COORDINATOR, opened.signer)
        check_request(self._run, self._terms, self._release[1], request)
        self._begun = self._release != REHEARSAL
        self._check_parameters(request)
        self._begin(request)

    def _check_parameters(self, request: Request) -> None:
        if self._release[0] is ReleaseKind.FAIRNESS and self._parameters == UNKNOWN:
            self._check_threshold(request)
        rehearses, answer = self._release[0] is ReleaseKind.REHEARSAL, self._answer
        if self._parameters == UNKNOWN and (rehearses or answer is not None):
            self._state = bound_initial_state(self._run.study, request.parameters, answer)
            if self._state is None:
                start = "the study's prevalence" if rehearses else "the knots that were answered"
                raise ProtocolError(f"expected parameters that start at {start}")
            self._parameters, self._answer = request.parameters, None
        if self._parameters != UNKNOWN:
            expect("the parameters that follow", self._parameters, request.parameters)
        self._parameters = request.parameters

    def _check_threshold(self, request: Request) -> None:
        """Find the threshold that is bound after the model; it follows from the table."""
        if self._state is None or self._table is None:
            return
        model = self._state.model
        for threshold in thresholds_near(self._run.study, self._table):
            bound = parameters_to_bytes(with_threshold(model, threshold))
            if parameters_hash(bound) == request.parameters:
                self._threshold = threshold
                return
        raise ProtocolError("expected the model and the threshold that follows from its table")

    def _begin(self, request: Request) -> None:
        """Start a new attempt, or the last one again (docs/design.md, "Attempts")."""
        before, found = self._attempt, request.hash
        if before is not None:
            if found == before.hash and (before.interrupted or before.missing):
                self._attempt = Attempt(request, found)  # a repeat: the same bytes come back
                return
            if not before.missing:
                raise ProtocolError("expected the sum of an attempt that everybody answered")
            if not set(request.participants) <= set(before.request.participants):
                raise ProtocolError("expected an attempt with the same or fewer participants")
        most = self._run.study.aggregation.attempts
        expect("the next attempt", self._attempts, request.attempt)
        if request.attempt >= most:
            raise ProtocolError(f"expected at most {most} attempts, found another one")
        self._attempts += 1
        self.requests += 1
        self._attempt = Attempt(request, found)
        for named in request.participants:
            self.trail.ask(named.institution, self._terms.cost)

    # -- what was answered --------------------------------------------------------------

    def _take_reply(self, content: bytes) -> None:
        attempt = self._asked()
        opened = unseal(content, Reply, self._run.roster, Assurance.EXACT)
        reply, self.institution = opened.body, opened.body.institution
        expect("a signature by the reply's institution", reply.institution, opened.signer)
        named = {p.institution: p for p in attempt.request.participants}
        if reply.institution not in named:
            raise ProtocolError("expected a reply by a participant of the request")
        if attempt.replies and reply.institution <= max(attempt.replies):
            raise ProtocolError("expected replies in the order of institutions, one of each")
        expect("a reply to the request before it", attempt.hash, reply.request)
        expect("a reply under the approval", named[reply.institution].approval, reply.approval)
        epoch = self._run.approvals[reply.institution].epoch
        expect("the ledger's epoch that was approved", epoch, reply.epoch)
        self.trail.take(reply, content, self._terms.cost)
        attempt.replies[reply.institution] = reply

    # -- what was made of it ------------------------------------------------------------

    def _take_sum(self, content: bytes) -> None:
        attempt = self._asked()
        if attempt.missing:
            self.institution = attempt.missing[0]
            raise ProtocolError("expected a reply of every participant before the sum, found none")
        record = SumRecord.from_bytes(content)
        expect("the sum of the request before it", attempt.hash, record.request)
        names = ", ".join(attempt.replies)
        expect("everybody who answered in the sum", names, ", ".join(record.participants))
        self.sums += 1
        self._recompute(attempt, record)
        kind = self._release[0]
        self._attempt, self._attempts = None, 0
        study = self._run.study
        if kind is ReleaseKind.REHEARSAL and (study.asks_for_knots or not study.trains):
            self._ask()
        elif kind is ReleaseKind.REHEARSAL:
            self._release = (ReleaseKind.TRAINING, 0)
        elif kind is ReleaseKind.TRAINING:
            self._due, self.steps = LeafKind.PARAMETERS, self.steps + 1
        elif kind in {ReleaseKind.QUERY, ReleaseKind.FAIRNESS}:
            asks = kind is ReleaseKind.QUERY
            self._due = LeafKind.ANSWERS if asks else LeafKind.FAIRNESS
            self._asked_for = (attempt.request, record)
        else:
            self._due = LeafKind.METRICS

    def _recompute(self, attempt: Attempt, record: SumRecord) -> None:
        """Add the vectors up again and take the step again."""
        kind, terms = self._release[0], self._terms
        if not self._vectors.kept:
            self._state = None
            self._parameters = UNKNOWN if kind is ReleaseKind.TRAINING else self._parameters
            return
        total = self._total(attempt, terms.word_bits, terms.vectors.entries)
        expect("the sum of the vectors", words_hash(total, terms.word_bits), record.words)
        values = decoded_sum(total, terms, len(attempt.replies))
        if kind is ReleaseKind.REHEARSAL and values.any():
            raise ProtocolError("expected masks that cancel in the rehearsal, found a remainder")
        self.recomputed += 1
        if kind is ReleaseKind.EVALUATION:
            self._table = values
        if kind is ReleaseKind.TRAINING and self._state is not None:
            self._state = stepped(self._run.study, self._state, values, len(attempt.replies))
            self._parameters = state_hash(self._state)

    def _total(self, attempt: Attempt, bits: WordBits, entries: int) -> Word:
        vectors = []
        for institution, reply in attempt.replies.items():
            self.institution = institution
            vector = self._vectors.vector(reply.vector)
            expect("bytes in a vector", entries * bits.value // 8, len(vector))
            vectors.append(vector)
        self.institution = None
        return add_words(vectors, bits, entries)

    def _take_parameters(self, content: bytes) -> None:
        record = ParametersRecord.from_bytes(content)
        expect("the parameters after step", self.steps, record.step)
        if self._parameters != UNKNOWN:
            expect("the parameters that follow from the sum", self._parameters, record.parameters)
        self._parameters = record.parameters
        self._due = None
        plan = self._run.plan
        self._release = (ReleaseKind.TRAINING, plan.training.first_step + self.steps)
        if self.steps == self._run.study.training.steps:
            self._release = (ReleaseKind.EVALUATION, plan.evaluation.first_step)
            self._parameters = UNKNOWN if self._state is None else model_hash(self._state)

    def _take_metrics(self, content: bytes) -> None:
        self.metrics = MetricsRecord.from_bytes(content).metrics
        self._model = self._parameters
        if not self._run.study.groups:
            self._evaluated()
            return
        self._due, self._parameters = None, UNKNOWN
        self._release = (ReleaseKind.FAIRNESS, self._run.plan.fairness.first_step)

    def _take_fairness(self, content: bytes) -> None:
        record = FairnessRecord.from_bytes(content)
        request, total = self._asked_for
        expect("the words of the sum", total.words, bytes_hash(record.content))
        if self._threshold is not None:
            expect("the threshold of the request", self._threshold, record.threshold)
        self.fairness, self.grouped = record, request.n
        self._parameters = self._model
        self._evaluated()

    def _evaluated(self) -> None:
        """Expect the questions that are left, or the model that was evaluated."""
        self._due = LeafKind.MODEL
        if self._run.study.questions is not None and not self.answers:
            self._ask()

    def _ask(self) -> None:
        """Expect the declared questions, which no sum before them changes; or only later ones."""
        questions = self._run.study.questions
        self._release = (ReleaseKind.QUERY, self._run.plan.query.first_step)
        self._due = LeafKind.QUESTIONS
        if questions is not None:
            self._parameters = bytes_hash(questions.to_bytes())
            self._due = None

    def _take_questions(self, content: bytes) -> None:
        """Take later questions: they are the allowance's, and the next release is theirs."""
        record, plan = QuestionsRecord.from_bytes(content), self._run.plan
        step = plan.allowance.first_step + len(self._later)
        try:
            self._later.append(plan.question_terms(step, record.group))
        except StudyError as error:
            raise ProtocolError(str(error)) from None
        self._release, self._begun = (ReleaseKind.QUERY, step), True
        self._parameters = bytes_hash(record.questions.encode())
        self._due, self._complete = None, False

    def _take_answers(self, content: bytes) -> None:
        record = AnswersRecord.from_bytes(content)
        request, total = self._asked_for
        expect(
            "the questions of the request",
            request.parameters,
            bytes_hash(record.questions.encode()),
        )
        expect("the words of the sum", total.words, bytes_hash(record.content))
        self.answers.append(record)
        if self._later or not self._run.study.trains:
            self._due, self._complete = None, True
            return
        if self._run.study.asks_for_knots:
            self._expect_knots(record)
            return
        self._parameters = self._model
        self._due = LeafKind.MODEL

    def _expect_knots(self, record: AnswersRecord) -> None:
        """Expect training on the knots that follow from the answers, purged vectors or not."""
        terms = self._run.plan.query
        words = decode(record.content, terms.word_bits, terms.vectors.entries)
        participants = self._asked_for[0].n
        self._answer, self._parameters = decoded_sum(words, terms, participants), UNKNOWN
        self._due = None
        self._release = (ReleaseKind.TRAINING, self._run.plan.training.first_step)

    def _take_model(self, content: bytes) -> None:
        record = ModelRecord.from_bytes(content)
        expect("the model that was evaluated", self._parameters, record.model)
        expect("a model after step", self.steps, record.steps)
        self.model = record.model

    def _asked(self) -> Attempt:
        if self._attempt is None:
            raise ProtocolError("expected a request before it")
        return self._attempt

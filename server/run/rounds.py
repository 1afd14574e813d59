"""One secure sum over a Flower Grid: opening, rehearsal, deadline, attempts.

Everybody's commitment comes first; an attempt that somebody misses before that costs nobody
anything. L, all commitments together, is kept before anybody is asked to open, and is asked with
again after a crash.

A failed attempt is first repeated with the same R, which costs nothing because institutions resend
what they stored. Only then comes a new attempt with those who are left, or with the same ones where
the study fixes them: fresh noise, one more debit (docs/design.md, "Attempts").
"""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final, TypeVar

from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.record import DecodedSum, Record, RunCheckpoint
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, RefusalCode, RunError, SumRangeError
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import Call, Content, bytes_of, refusal_in
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    PROTOCOL_VERSION,
    Commitment,
    LastSum,
    Participant,
    ReleaseKind,
    Reply,
    Request,
    Signer,
    open_envelope,
    parameters_hash,
    sign_envelope,
    statements_hash,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, carries_last_sum
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.ring import Word, WordBits, decode, encode
from fieldfare.shared.run.kinds.kind import Release
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.replay import add_words, decoded_sum
from fieldfare.shared.run.request_check import AgreedRun
from fieldfare.shared.run.results import Values
from fieldfare.shared.watch.log import correlated

log = logging.getLogger(__name__)

MOST_RESTARTS: Final = 3  # of one custodian in a row; an honest one keeps its new keys


@dataclass(frozen=True)
class Federation:
    """The coordinator's knowledge about a run: the plan, the roster and the institutions' nodes."""

    plan: Plan
    roster: Roster
    signer: Signer
    protection: Protection
    run: str
    nodes: Mapping[str, int]  # node id by institution
    openings: RunOpenings
    stale: bool = False  # the next new request needs a new opening

    @cached_property
    def agreed(self) -> AgreedRun:
        """The run as its participants agreed on it.

        Raises:
            RunError: they did not.
        """
        opening = self.openings.agreed
        if opening is None:
            raise RunError("expected an opening that all agreed on, found none")
        return AgreedRun(plan=self.plan, roster_hash=self.roster.hash, opening=opening)

    @cached_property
    def participants(self) -> Mapping[str, Participant]:
        """Who takes part in the newest opening."""
        return {named.institution: named for named in self.agreed.opening.participants}


@dataclass(frozen=True, eq=False)
class _Answer:
    reply: bytes
    vector: bytes
    seed: str


@dataclass(frozen=True, eq=False)
class _Promise:
    commitment: bytes
    body: Commitment
    vector: bytes


A = TypeVar("A")


@dataclass
class SecureSums:
    """Secure sums of one run; remembers who has been lost."""

    channel: GridChannel
    federation: Federation
    record: Record = field(default_factory=Record)
    checkpoint: RunCheckpoint = field(default_factory=RunCheckpoint)
    anew: Callable[[Federation, Collection[str]], Federation] | None = None
    present: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    on_attempt: Callable[[int, int, Mapping[str, str]], None] | None = None
    failed: int = 0
    _promised: dict[str, bytes] = field(default_factory=dict)  # L of the attempt
    gone: set[str] = field(default_factory=set)  # who has lost the keys of the newest opening
    restarts: dict[str, int] = field(default_factory=dict)  # since its last answer, by who said so
    _holders: set[str] = field(default_factory=set)  # of the run's coordinates, as far as known

    def __post_init__(self) -> None:
        """Start with every institution that opened the run and whose node is there."""
        self.present = sorted(self.federation.nodes)
        self.failed = self.checkpoint.failed

    def collect(self, release: Release, content: bytes, last: LastSum = NO_LAST_SUM) -> DecodedSum:
        """Collect one sum, over as many attempts as the study admits.

        Args:
            release: what is due.
            content: what its request binds.
            last: the sum that it follows from.

        Raises:
            RunError: too few institutions, attempts used up, or a sum out of range.
        """
        terms, step = release.terms, release.step
        kind = terms.kind
        aggregation = self.federation.plan.study.aggregation
        debits: dict[str, int] = {}
        interrupted = self._find_interrupted(kind, step)
        first = 0 if interrupted is None else interrupted.attempt + int(self._is_spent(interrupted))
        opened = self._count_paid(0)
        for attempt in range(first, aggregation.most_tries):
            asked_again = interrupted is not None and attempt == interrupted.attempt
            if opened >= aggregation.attempts and not asked_again:
                break
            self._check_quorum(kind, step)
            if interrupted is not None and attempt == interrupted.attempt:
                request = interrupted  # the same R costs nothing a second time
                if self.checkpoint.answered:  # some replies to it are kept: these begin anew
                    self.record.keep_request(self.checkpoint.request)
            else:
                self._open_anew(kind, step)
                request = self._request(terms, step, attempt, content)
                self.record.keep_request(
                    sign_envelope(request, COORDINATOR, self.federation.signer)
                )
            with correlated(step=step, attempt=attempt):
                answers = self._answers(request, terms, content, last)
            for institution in answers:
                debits[institution] = debits.get(institution, 0) + int(terms.cost > 0)
            if len(answers) == request.n:
                return self._sum(terms, request, answers, debits)
            opened = self._count_paid(opened + int(len(self._promised) == request.n))
            self._leave_out(answers, request, costs=terms.cost > 0)
            if self.on_attempt:
                self.on_attempt(step, attempt, dict(self.lost))
        raise RunError(
            f"{kind.value} step {step}: expected an attempt in which every institution answers, "
            f"found {opened} that failed ({self._losses()})"
        )

    def _count_paid(self, counted: int) -> int:
        """Return how many attempts of this release may have been paid for, also before a crash."""
        return self.record.state.opened if self.record.state else counted

    def _leave_out(self, answers: Mapping[str, _Answer], request: Request, *, costs: bool) -> None:
        """Keep what came of a failed attempt; who did not answer is left out of the next one.

        Raises:
            RunError: the study fixes who is in its sums, and somebody did not even commit.
        """
        aggregation = self.federation.plan.study.aggregation
        unopened = len(self._promised) < request.n
        come = self._promised if unopened else answers
        self.failed += 1
        missing = {one.institution for one in request.participants} - set(come)
        paid = self._was_opened(request) if unopened else bool(answers)
        self.record.note_lost(missing, debited=costs and paid)
        if not unopened:
            self.record.keep_failure(
                {name: each.reply for name, each in answers.items()}, costs=costs
            )
        if not aggregation.fixed:
            self.present = [i for i in self.present if i in come or i in self.gone]
        elif unopened and not set(self.present) <= {*come, *self.gone}:
            raise RunError(
                f"{request.kind.value} step {request.step}: expected every institution, as the "
                f"study fixes them, found some missing ({self._losses()}): "
                f"{'some have paid for' if self._count_paid(0) else 'nothing was spent on'} this "
                "step; resume the run when they are back"
            )

    def _was_opened(self, request: Request) -> bool:
        """Tell whether L of this request was kept before, so that some may have paid for it."""
        attempt = self.record.state.attempt if self.record.state else None
        if attempt is None or attempt.hash != request.hash:
            return False
        return request.n in {len(attempt.commitments), len(attempt.committed)}

    def _open_anew(self, kind: ReleaseKind, step: int) -> None:
        """Open the run anew where keys are gone: fresh ones for everybody who is left."""
        if self.anew is None or not (self.federation.stale or self.gone):
            return
        self.federation = self.anew(self.federation, self.present)
        self.gone.clear()
        for institution in set(self.present) - set(self.federation.nodes):
            self.lost.setdefault(institution, "was not there when the run was opened anew")
        self.present = sorted(self.federation.nodes)
        self._check_quorum(kind, step)

    def _find_interrupted(self, kind: ReleaseKind, step: int) -> Request | None:
        """Return the request of this release that a crash came after, if that is how we began."""
        if not self.checkpoint.request:
            return None
        opened = open_envelope(
            self.checkpoint.request, Request, self.federation.roster, self.federation.protection
        )
        request = opened.body
        return request if (request.kind, request.step) == (kind, step) else None

    def _is_spent(self, interrupted: Request) -> bool:
        """Tell whether an interrupted attempt cannot succeed any more."""
        named = {participant.institution for participant in interrupted.participants}
        newest = interrupted.opening == self.federation.agreed.opening_hash
        if not newest or not named <= set(self.present):
            return True
        if self.checkpoint.opened or self.federation.plan.study.aggregation.fixed:
            return False
        # Where too few answered for another attempt, this one is asked again, of all of them.
        minimum = self.federation.plan.study.aggregation.minimum_institutions
        return self.checkpoint.answered and len(self.checkpoint.stayed) >= minimum

    def _check_quorum(self, kind: ReleaseKind, step: int) -> None:
        minimum = self.federation.plan.study.aggregation.minimum_institutions
        if len(self.present) < minimum:
            raise RunError(
                f"{kind.value} step {step}: expected at least {minimum} institutions, found "
                f"{len(self.present)} left ({self._losses()})"
            )

    def _losses(self) -> str:
        return ", ".join(f"{name}: {reason}" for name, reason in sorted(self.lost.items())) or "-"

    def _request(self, terms: ReleaseTerms, step: int, attempt: int, parameters: bytes) -> Request:
        """Write R for the institutions that are there."""
        federation, geometry = self.federation, self._geometry(terms.kind)
        return written_request(
            federation.agreed,
            tuple(federation.participants[name] for name in self.present),
            terms,
            (step, attempt),
            parameters_hash(parameters),
            "" if geometry is None else geometry.hash,
        )

    def _geometry(self, kind: ReleaseKind) -> Geometry | None:
        """Return the coordinates that a step is taken in; None where it has none."""
        state = self.record.state
        return state.results.geometry if state and kind is ReleaseKind.TRAINING else None

    def _answers(
        self, request: Request, terms: ReleaseTerms, parameters: bytes, last: LastSum
    ) -> dict[str, _Answer]:
        """Ask all institutions; the channel repeats the same R to those that do not answer."""
        asked = self._content(request, parameters, last)
        for institution in self.present:
            self.record.note_action(institution, "asked")
        promise = partial(self._check_commitment, request=request, terms=terms)
        promises = self._gather(Call.RELEASE, asked, request, promise)
        self._promised = {name: promises[name].commitment for name in sorted(promises)}
        if promises:
            self.record.keep_commitments(self._promised)  # before anybody is asked to open
        if len(promises) < request.n:
            return {}
        statements = list(self._promised.values())
        shown: Content = {"request": bytes_of(asked, "request"), "statements": list(statements)}
        opened = partial(
            self._check_opened,
            request=request,
            terms=terms,
            promises=promises,
            statements=statements_hash(statements),
        )
        return self._gather(Call.REVEAL, shown, request, opened)

    def _gather(
        self,
        call: Call,
        content: Content,
        request: Request,
        check: Callable[[str, Mapping[str, Any]], A],
    ) -> dict[str, A]:
        """Ask everybody in the request the same thing; who is missing is named.

        Where the study fixes who is in its sums, those who are late are waited for as long as for
        all attempts: to leave them out would end the run.
        """
        aggregation = self.federation.plan.study.aggregation
        found: dict[str, A] = {}
        for _ in range(aggregation.attempts if aggregation.fixed else 1):
            asked = (i for i in self.present if i not in found and i not in self.gone)
            nodes = {self.federation.nodes[i]: i for i in asked}
            answers = self.channel.ask(
                call, dict.fromkeys(nodes, content), aggregation.deadline_seconds
            )
            for node, institution in nodes.items():
                self._take(institution, answers.get(node), call, request, check, found)
            if len(found) == request.n or len(answers) == len(nodes):  # or somebody says no
                break
        for institution in found:
            self.lost.pop(institution, None)
        if request.kind is ReleaseKind.TRAINING:
            self._holders |= set(found)
        return found

    def _content(self, request: Request, parameters: bytes, last: LastSum) -> Content:
        envelope = sign_envelope(request, COORDINATOR, self.federation.signer)
        geometry = self._geometry(request.kind)
        asked = {participant.institution for participant in request.participants}
        if geometry is not None and not asked <= self._holders:
            parameters += geometry.to_bytes()  # once: whoever takes this step keeps them
        content: Content = {"request": envelope, "parameters": parameters}
        if last.request:  # signed replies travel always: peers learn from them who was restored
            travels = self._travels(last)
            content["last_request"] = last.request
            content["last_replies"] = list(last.replies)
            content["last_vectors"] = list(last.vectors) if travels else []
            content["last_statements"] = list(last.statements) if travels else []
        return content

    def _travels(self, last: LastSum) -> bool:
        """Tell whether a sum is small enough to be sent with what follows from it."""
        one = self.federation
        opened = open_envelope(last.request, Request, one.roster, one.protection)
        return carries_last_sum(one.plan, opened.body.kind, one.openings.opened_by)

    def _take(
        self,
        institution: str,
        content: Mapping[str, Any] | None,
        call: Call,
        request: Request,
        check: Callable[[str, Mapping[str, Any]], A],
        answers: dict[str, A],
    ) -> None:
        """File one reply as an answer, a refusal or a loss."""
        if content is None:
            self._lose(institution, request, "no answer in time")
            return
        try:
            refusal = refusal_in(content)
            if refusal is None:
                answers[institution] = check(institution, content)
                self.record.note_action(institution, "answered")
                self.restarts.pop(institution, None)
                return
            reason = f"refused: {refusal.code.value}"
            if refusal.code is RefusalCode.KEYS_GONE and call is Call.RELEASE:
                self._restart(institution)
        except ProtocolError as error:
            reason = f"bad reply: {error}"
        self._lose(institution, request, reason)

    def _restart(self, institution: str) -> None:
        """Open the run anew for whoever lost its keys; who says so without end has left.

        What was committed to opens without keys, so nobody honest says it at the second message.
        """
        restarts = self.restarts.get(institution, 0)
        if self.anew is not None and restarts < MOST_RESTARTS:
            self.restarts[institution] = restarts + 1
            self.gone.add(institution)

    def _lose(self, institution: str, request: Request, reason: str) -> None:
        self.lost[institution] = reason
        self.record.note_action(institution, reason)
        log.warning("%s left step %d: %s", institution, request.step, reason)

    def _read_reply(
        self, institution: str, envelope: bytes, request: Request, terms: ReleaseTerms
    ) -> Reply:
        """Read a reply by whom it comes from, to what was asked, at this price."""
        opened = open_envelope(envelope, Reply, self.federation.roster, self.federation.protection)
        reply = opened.body
        participant = self.federation.participants[institution]
        expected = (institution, institution, participant.answer, request.hash, terms.cost)
        found = (opened.signer, reply.institution, reply.answer, reply.request, reply.debit)
        if expected != found:
            raise ProtocolError(
                "expected a reply to this request by this institution, found another"
            )
        return reply

    def _check_commitment(
        self, institution: str, content: Mapping[str, Any], request: Request, terms: ReleaseTerms
    ) -> _Promise:
        """Check that an institution signed a commitment to this vector as its answer to R."""
        envelope, vector = bytes_of(content, "commitment"), bytes_of(content, "vector")
        federation = self.federation
        opened = open_envelope(envelope, Commitment, federation.roster, federation.protection)
        body, answer = opened.body, federation.participants[institution].answer
        expected = (institution, institution, answer, request.hash, bytes_hash(vector))
        found = (opened.signer, body.institution, body.answer, body.request, body.vector)
        if expected != found:
            raise ProtocolError(
                "expected a commitment to this request by this institution, found another"
            )
        decode(vector, terms.word_bits, terms.vectors.entries)  # of the right length
        return _Promise(envelope, body, vector)

    def _check_opened(
        self,
        institution: str,
        content: Mapping[str, Any],
        request: Request,
        terms: ReleaseTerms,
        promises: Mapping[str, _Promise],
        statements: str,
    ) -> _Answer:
        """Check that a reply opens what this institution committed to, for this L."""
        envelope, promised = bytes_of(content, "reply"), promises[institution]
        reply = self._read_reply(institution, envelope, request, terms)
        seed = bytes_hash(bytes.fromhex(reply.seed))
        expected = (statements, promised.body.vector, promised.body.seed)
        if (reply.statements, reply.vector, seed) != expected:
            raise ProtocolError("expected the seed that was committed to, found another")
        return _Answer(envelope, promised.vector, reply.seed)

    def _sum(
        self,
        terms: ReleaseTerms,
        request: Request,
        answers: Mapping[str, _Answer],
        debits: Mapping[str, int],
    ) -> DecodedSum:
        """Add the vectors up, decode, and stop at a sum that is out of range."""
        names = tuple(sorted(answers))
        words = add_words(
            [answers[name].vector for name in names],
            terms.word_bits,
            terms.vectors.entries,
            [answers[name].seed for name in names],
        )
        return DecodedSum(
            sum_in_range(words, terms, request.step, len(names)),
            names,
            request.attempt,
            dict(debits),
            sign_envelope(request, COORDINATOR, self.federation.signer),
            {name: answers[name].reply for name in names},
            {name: answers[name].vector for name in names},
            encode(words, terms.word_bits),
            dict(self._promised),
        )


def written_request(
    run: AgreedRun,
    participants: tuple[Participant, ...],
    terms: ReleaseTerms,
    place: tuple[int, int],
    parameters: str,
    geometry: str = "",
) -> Request:
    """Write R: every term that noise, cost and masks depend on.

    Args:
        run: as its participants agreed on it.
        participants: who is asked, sorted.
        terms: of the release.
        place: its position in the run, and the attempt.
        parameters: the hash of what it binds.
        geometry: the hash of the coordinates of a training step; nothing: the features' own.
    """
    privacy, (step, attempt) = run.plan.study.privacy, place
    return Request(
        protocol=PROTOCOL_VERSION,
        study=run.plan.study_id,
        roster=run.roster_hash,
        run=run.opening.run,
        opening=run.opening_hash,
        step=step,
        attempt=attempt,
        kind=terms.kind,
        participants=participants,
        n=len(participants),
        t=privacy.collusion_tolerance,
        multiplicity=privacy.multiplicity,
        clipping_norm=terms.vectors.clipping_norm,
        sigma=terms.sigma,
        gamma_bits=terms.vectors.gamma_bits,
        word_bits=terms.word_bits.value,
        entries=terms.vectors.entries,
        dtype="<u4" if terms.word_bits is WordBits.K32 else "<u8",
        parameters=parameters,
        geometry=geometry,
    )


def sum_in_range(words: Word, terms: ReleaseTerms, step: int, participants: int) -> Values:
    """Return float64 (entries,): a decoded sum; the run stops at one that is out of range.

    Args:
        words: uint64 (entries,), everybody's vectors, added up.
        terms: of the release.
        step: its position in the run.
        participants: how many are in it.

    Raises:
        SumRangeError: out of range.
    """
    try:
        return decoded_sum(words, terms, participants)
    except ProtocolError as error:
        raise SumRangeError(
            f"{terms.kind.value} step {step}: {error}: masks did not cancel or an "
            "institution poisoned the sum; the run stops"
        ) from None

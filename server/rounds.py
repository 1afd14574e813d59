"""One secure sum over a Flower Grid: opening, rehearsal, deadline, attempts.

A failed attempt is first repeated with the same R, which costs nothing because
institutions resend what they stored. Only then comes a new attempt with those who
are left: fresh noise, one more debit (design section 2).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldfare.server.channel import Channel
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError, RunError
from fieldfare.shared.exchange import Call, Content, bytes_of, refusal_in
from fieldfare.shared.grid import Word, WordBits, add, centre, decode
from fieldfare.shared.messages import (
    PROTOCOL_VERSION,
    Assurance,
    Participant,
    Reply,
    Request,
    Signer,
    parameters_hash,
    parameters_to_bytes,
    seal,
    unseal,
)
from fieldfare.shared.plan import Plan, ReleaseKind, ReleaseTerms
from fieldfare.shared.roster import COORDINATOR, Roster

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Federation:
    """What a coordinator knows about a run: the plan, the roster and who is where."""

    plan: Plan
    roster: Roster
    signer: Signer
    assurance: Assurance
    run: str
    nodes: Mapping[str, int]  # node id by institution
    participants: Mapping[str, Participant]


@dataclass(frozen=True, eq=False)
class Sum:
    """A decoded sum and what it took.

    Attributes:
        values: float64 (entries,), in the sum's own unit (exact: integers times gamma).
        participants: institutions in the sum, sorted.
        attempt: the attempt that succeeded.
        debits: releases answered for it, by institution, failed attempts included.
        request: the sealed request of the attempt that succeeded.
        replies: sealed replies by institution.
    """

    values: NDArray[np.float64]
    participants: tuple[str, ...]
    attempt: int
    debits: Mapping[str, int]
    request: bytes
    replies: Mapping[str, bytes]


@dataclass(frozen=True, eq=False)
class _Answer:
    envelope: bytes
    vector: Word


@dataclass
class SecureSums:
    """Secure sums of one run; remembers who has been lost."""

    channel: Channel
    federation: Federation
    present: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    on_attempt: Callable[[int, int, Mapping[str, str]], None] | None = None

    def __post_init__(self) -> None:
        """Start with everybody who opened the run."""
        self.present = sorted(self.federation.participants)

    def rehearse(self, parameters: NDArray[np.float64]) -> None:
        """Sum masks over zeros, before any budget is spent.

        Raises:
            RunError: masks do not cancel, or too few institutions answered.
        """
        outcome = self.collect(ReleaseKind.REHEARSAL, 0, parameters)
        if outcome.values.any():
            raise RunError(
                "masks that cancel expected in the rehearsal, a remainder found: the institutions "
                "do not share the same keys; open a new run (no budget was spent)"
            )

    def collect(self, kind: ReleaseKind, step: int, parameters: NDArray[np.float64]) -> Sum:
        """Collect one sum, over as many attempts as the study admits.

        Raises:
            RunError: too few institutions, attempts used up, or a sum out of range.
        """
        content = parameters_to_bytes(parameters)
        terms = self.federation.plan.terms(kind)
        attempts = self.federation.plan.study.aggregation.attempts
        debits: dict[str, int] = {}
        for attempt in range(attempts):
            self._check_quorum(kind, step)
            request = self._request(terms, step, attempt, content)
            answers = self._answers(request, terms, content)
            for institution in answers:
                debits[institution] = debits.get(institution, 0) + int(terms.cost > 0)
            if len(answers) == request.n:
                return self._sum(terms, request, answers, attempt, debits)
            self.present = [i for i in self.present if i in answers]
            if self.on_attempt:
                self.on_attempt(step, attempt, dict(self.lost))
        raise RunError(
            f"{kind.value} step {step}: an attempt in which everybody answers expected, "
            f"{attempts} failed ({self._losses()})"
        )

    def _check_quorum(self, kind: ReleaseKind, step: int) -> None:
        minimum = self.federation.plan.study.aggregation.minimum_institutions
        if len(self.present) < minimum:
            raise RunError(
                f"{kind.value} step {step}: at least {minimum} institutions expected, "
                f"{len(self.present)} left ({self._losses()})"
            )

    def _losses(self) -> str:
        return ", ".join(f"{name}: {reason}" for name, reason in sorted(self.lost.items())) or "-"

    def _request(self, terms: ReleaseTerms, step: int, attempt: int, parameters: bytes) -> Request:
        """Write R: every term that noise, cost and masks depend on."""
        federation = self.federation
        privacy = federation.plan.study.privacy
        return Request(
            protocol=PROTOCOL_VERSION,
            study=federation.plan.study.id,
            roster=federation.roster.hash,
            run=federation.run,
            step=step,
            attempt=attempt,
            kind=terms.kind,
            participants=tuple(federation.participants[i] for i in self.present),
            n=len(self.present),
            t=privacy.collusion_tolerance,
            multiplicity=privacy.multiplicity,
            clipping_norm=terms.vectors.clipping_norm,
            sigma=terms.sigma,
            gamma_bits=terms.vectors.gamma_bits,
            word_bits=terms.word_bits.value,
            entries=terms.vectors.entries,
            dtype="<u4" if terms.word_bits is WordBits.K32 else "<u8",
            parameters=parameters_hash(parameters),
        )

    def _answers(
        self, request: Request, terms: ReleaseTerms, parameters: bytes
    ) -> dict[str, _Answer]:
        """Ask everybody; ask again, with the same R, those who did not answer."""
        envelope = seal(request, COORDINATOR, self.federation.signer)
        content: Content = {"request": envelope, "parameters": parameters}
        deadline = self.federation.plan.study.aggregation.deadline_seconds
        answers: dict[str, _Answer] = {}
        refused: set[str] = set()
        for _ in range(2):
            wanted = [i for i in self.present if i not in answers and i not in refused]
            if not wanted:
                break
            nodes = {self.federation.nodes[i]: i for i in wanted}
            replies = self.channel.ask(Call.RELEASE, dict.fromkeys(nodes, content), deadline)
            for node, institution in nodes.items():
                self._take(institution, replies.get(node), request, terms, answers, refused)
        for institution in answers:
            self.lost.pop(institution, None)
        return answers

    def _take(
        self,
        institution: str,
        content: Mapping[str, Any] | None,
        request: Request,
        terms: ReleaseTerms,
        answers: dict[str, _Answer],
        refused: set[str],
    ) -> None:
        """File one reply as an answer, a refusal or a loss."""
        if content is None:
            self.lost[institution] = "no answer in time"
            return
        try:
            refusal = refusal_in(content)
            if refusal is None:
                answers[institution] = self._check_reply(institution, content, request, terms)
                return
            reason = f"refused: {refusal.code.value}"
        except ProtocolError as error:
            reason = f"bad reply: {error}"
        refused.add(institution)
        self.lost[institution] = reason
        log.warning("%s left step %d: %s", institution, request.step, reason)

    def _check_reply(
        self, institution: str, content: Mapping[str, Any], request: Request, terms: ReleaseTerms
    ) -> _Answer:
        """Check a reply's signature and that it answers R with this vector at this price."""
        envelope, vector = bytes_of(content, "reply"), bytes_of(content, "vector")
        opened = unseal(envelope, Reply, self.federation.roster, self.federation.assurance)
        reply = opened.body
        participant = self.federation.participants[institution]
        expected = (institution, institution, participant.approval, request.hash, terms.cost)
        found = (opened.signer, reply.institution, reply.approval, reply.request, reply.debit)
        if expected != found or reply.vector != bytes_hash(vector):
            raise ProtocolError("a reply to this request by this institution expected")
        return _Answer(envelope, decode(vector, terms.word_bits, terms.vectors.entries))

    def _sum(
        self,
        terms: ReleaseTerms,
        request: Request,
        answers: Mapping[str, _Answer],
        attempt: int,
        debits: Mapping[str, int],
    ) -> Sum:
        """Add the vectors up, decode, and stop at a sum that is out of range."""
        entries, bits = terms.vectors.entries, terms.word_bits
        total = np.zeros(entries, dtype=np.uint64)
        for answer in answers.values():
            total = add(total, answer.vector, bits)
        # Exact: |sum| / gamma is far below 2^53 for every sum that is in range.
        values = np.ldexp(centre(total, bits).astype(np.float64), -terms.vectors.gamma_bits)
        if bool((np.abs(values) > terms.largest_entry).any()) and terms.cost:
            raise RunError(
                f"{terms.kind.value} step {request.step}: a sum within {terms.largest_entry:.4g} "
                "expected, one out of range found: masks did not cancel or an institution "
                "poisoned the sum; the run stops"
            )
        return Sum(
            values,
            tuple(sorted(answers)),
            attempt,
            dict(debits),
            seal(request, COORDINATOR, self.federation.signer),
            {institution: answer.envelope for institution, answer in answers.items()},
        )

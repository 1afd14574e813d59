"""The door: the only code that may hand an institution's bytes to the network.

Four stops, always in this order (docs/design.md, "The door"):

    1. admit    request, plan, roster, ledger - never records - decide; the parameters are
    recomputed from the vectors that the participants signed in the step before 2. compute  the
    bounded sum, its share of the noise, the masks: in memory
                (in local mode: a change that steps on noised sums made, bounded, and masks)
    3. commit   the debit and the reply's bytes in ONE transaction, synced to disk
    4. send     log it, return what was committed, and nothing else

A crash before the commit released nothing. After it, the same request gets the same
bytes, free. There is no other way out: a count, a metric or a loss that wants to
leave has to become a kind of release, with terms in the plan and a price.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.custodian.admission import (
    ApprovedRun,
    check_parameters,
    check_request,
    questions_in,
)
from fieldfare.client.custodian.party import Site
from fieldfare.client.custodian.ports import DecisionLog, NoLog
from fieldfare.client.custodian.recomputation import Recomputation
from fieldfare.client.ledger.budget import Debit, Portion, Position, StoredReply
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.wire.frames import Released
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.assurance import Assurance
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum, ReleaseKind, Reply, Request
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.queries.questions import QuestionGroup
from fieldfare.shared.ring import Word, add, encode, to_ring

__all__ = ["Door", "Released", "RunAtDoor"]

Values = NDArray[np.float64]


class _Limits(TypedDict):
    study_limit: int
    max_attempts: int
    portion: Portion | None


@dataclass(frozen=True, repr=False)
class RunAtDoor:
    """Everything about a run that the door needs."""

    approved: ApprovedRun
    approval: str  # hash of this institution's own approval
    sums: StudySums


class Door:
    """One institution's door."""

    def __init__(
        self,
        site: Site,
        ledger: Ledger,
        noise: NoiseSource,
        decisions: DecisionLog | None = None,
    ) -> None:
        """Stand between the sums of `site` and the network; `decisions` is its own log."""
        self._decisions = decisions or NoLog()
        self._site = site
        self._ledger = ledger
        self._noise = noise
        self._recomputation = Recomputation(site, ledger)

    def release(
        self, run: RunAtDoor, request: Request, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> Released:
        """Answer one signed request with one bounded, noised, masked vector.

        Formal Guarantees:
            What is returned was committed before, with its debit. The vector is
            sum + noise + masks in Z_2^k: the sum moves by at most the plan's sensitivity
            when a unit comes or goes; with this reply in a sum of n participants, t of
            them colluding, the noise has at least the plan's sigma. In local mode it is a
            change within +-16 that follows from `local_steps` sums, each with all of sigma on
            it, and masks; the debit is for all these sums, whoever else colludes.

        Edge cases:
            | request | answer |
            |---|---|
            | the same R again | the stored bytes; no debit, no second noise |
            | another R for an answered (run, step, attempt) | refused |
            | a rehearsal | masks over zeros: no records, no noise, no debit |
            | budget for less than the whole release | refused; nothing is computed |
            | parameters that do not follow from the last sum | refused; nothing is computed |

        Raises:
            PolicyRefusal: with a fixed code that depends on no record.
            LedgerError: the ledger cannot be trusted or written; nothing left.
        """
        terms = check_request(run.approved, request, parameters)
        asked = _content(request, terms, parameters)
        if terms.kind is ReleaseKind.REHEARSAL:
            return self._rehearse(run, request, terms, last)
        stored = self._ledger.stored(request.hash)
        if stored is not None:
            return self._send(request, terms, stored)
        debit, limits = self._debit(request, terms), self._limits(run, request.step)
        self._ledger.admit(debit, **limits)  # first: a closed step keeps the code that says so
        progress = self._recomputation.check(run.approved, request, last)

        keys = self._run_keys(request).at(request.step + 1)  # the chain's start is the rehearsal's
        protected = self._noised(run, request, terms, asked)
        content = self._masked(protected, keys, request, terms)

        def sign(position: Position) -> bytes:
            # Again, inside the transaction: another process may have withdrawn the study since,
            # and a withdrawn study neither releases nor gets its destroyed keys back.
            self._run_keys(request)
            return self._reply(run, request, content, debit.cost, position)

        committed = self._ledger.commit(
            debit,
            vector=content,
            sign=sign,
            run_states={request.run: keys.to_bytes(), **progress},
            **limits,
        )
        return self._send(request, terms, committed)

    def _send(self, request: Request, terms: ReleaseTerms, committed: StoredReply) -> Released:
        """Write down that committed bytes are about to leave, then let them.

        A log that cannot be written keeps them in; the debit stands, and a repeat of the
        request gets the same bytes once it can.
        """
        self._decisions.released(request, terms.cost, committed.position)
        return Released(committed.reply, committed.vector)

    def _rehearse(
        self, run: RunAtDoor, request: Request, terms: ReleaseTerms, last: LastSum
    ) -> Released:
        """Mask zeros, to find bad keys before budget is spent; only before the first step."""
        keys = self._run_keys(request)
        if keys.step > 0:
            raise PolicyRefusal(
                RefusalCode.STEP_CLOSED, "expected a rehearsal before the run's first step"
            )
        self._recomputation.check(run.approved, request, last)
        zeros = np.zeros(terms.vectors.entries, dtype=np.uint64)
        content = self._masked(zeros, keys, request, terms)
        position = self._ledger.position()
        reply = self._reply(run, request, content, 0, position)
        return self._send(
            request, terms, StoredReply(reply=reply, vector=content, position=position)
        )

    def _noised(
        self, run: RunAtDoor, request: Request, terms: ReleaseTerms, asked: Values | QuestionGroup
    ) -> Word:
        """Compute the sum, and draw this institution's share of the noise beside it.

        Neither needs the other, and both work outside Python's lock: exact noise for a step
        takes 7 ms, and a core that waits is nearly always there.
        """
        share = terms.share(request.n, request.t)
        if terms.local_steps and not isinstance(asked, QuestionGroup):
            # One step's noise at a time: memory does not grow with the steps that a study asks for.
            entries = terms.vectors.entries
            own = (self._noise.sample(entries, share) for _ in range(terms.local_steps))
            return to_ring(run.sums.local_change(asked, own, request.n), terms.word_bits)
        with ThreadPoolExecutor(1) as beside:
            drawn = beside.submit(self._noise.sample, terms.vectors.entries, share)
            if isinstance(asked, QuestionGroup):
                found = run.sums.answers(asked)
            else:
                found = run.sums.vector(terms.kind, asked)
            noise = to_ring(drawn.result(), terms.word_bits)
        return add(to_ring(found, terms.word_bits), noise, terms.word_bits)

    def _masked(self, vector: Word, keys: RunKeys, request: Request, terms: ReleaseTerms) -> bytes:
        """Add this institution's masks for R and encode."""
        if self._site.assurance is Assurance.EXACT:
            own = self._site.institution
            peers = frozenset(p.institution for p in request.participants) - {own}
            entries, bits = terms.vectors.entries, terms.word_bits
            vector = add(vector, keys.mask(own, peers, request.hash, entries, bits), bits)
        return encode(vector, terms.word_bits)

    def _run_keys(self, request: Request) -> RunKeys:
        """Load the run's chain keys; a run without them has not been agreed on."""
        state = self._ledger.run_state(request.study, request.run)
        if state is None:
            raise PolicyRefusal(RefusalCode.UNKNOWN_RUN, "expected a run with agreed keys")
        return RunKeys.from_bytes(state)

    @staticmethod
    def _debit(request: Request, terms: ReleaseTerms) -> Debit:
        return Debit(
            study=request.study,
            run=request.run,
            step=request.step,
            attempt=request.attempt,
            kind=terms.kind.value,
            request=request.hash,
            cost=terms.cost,
        )

    @staticmethod
    def _limits(run: RunAtDoor, step: int) -> _Limits:
        """Return what binds a release: later questions may spend what they were allowed only."""
        plan = run.approved.plan
        found: _Limits = {
            "study_limit": plan.study_limit,
            "max_attempts": plan.study.aggregation.attempts,
            "portion": None,
        }
        later = plan.allowance
        if later.steps and step >= later.first_step:
            most = later.cost * (later.steps + later.spare)
            found["portion"] = Portion(first_step=later.first_step, picomu2=most)
        return found

    def _reply(
        self, run: RunAtDoor, request: Request, vector: bytes, debit: int, position: Position
    ) -> bytes:
        """Sign what leaves: request, vector, debit and where the ledger stands after it."""
        return self._site.sign(
            Reply(
                request=request.hash,
                institution=self._site.institution,
                approval=run.approval,
                vector=bytes_hash(vector),
                debit=debit,
                ledger_sequence=position.sequence,
                ledger_head=position.head,
                cumulative=position.cumulative,
                epoch=position.epoch,
            )
        )


def _content(request: Request, terms: ReleaseTerms, content: bytes) -> Values | QuestionGroup:
    """Parse what R binds: questions for answers, parameters for everything else."""
    if terms.kind is ReleaseKind.QUERY:
        return questions_in(request, content)
    return check_parameters(request, terms, content)

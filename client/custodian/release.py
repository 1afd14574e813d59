"""The door: the only code that may hand an institution's bytes to the network.

A release leaves in two messages, and these stops come always in this order (docs/design.md, "The
door"; docs/protocol.md, "Commit, then open"):

    first message
    1. admit    request, plan, roster, ledger - never records - decide
    2. compute  first the parameters again, from the vectors that the participants signed in the
                step before; then, in memory, the bounded sum, its share of the noise, the masks and
                a fresh seed's stream (in local mode: the bounded change of steps on noised sums)
    3. keep     vector, seed and the signed commitment to both, synced to disk; then the vector and
                the commitment may leave: without the seed they say nothing to anybody, so no debit
    second message
    4. check    L: the commitments of all participants of R, this one's own among them unchanged
    5. commit   the debit and the reply with the seed in ONE transaction, synced to disk, for one L
    6. send     log it, return what was committed, and nothing else

A crash before the commit released nothing: what was kept is answered again, or a later attempt
destroys it. After the commit, the same request gets the same bytes, free. There is no other way
out: a count, a metric or a loss that wants to leave has to become a kind of release, with terms in
the plan and a price.

The custodian calls the door for one request at a time, under its lock. Another process may withdraw
a study meanwhile: it destroys the approval, which is looked for until a vector is kept, and what
waits, so that nothing is left to open. Any other error ends at the process's boundary, which
answers with a status and no text.
"""

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import (
    Admission,
    CommitmentReply,
    DebitLimits,
    DecisionLog,
    HeldRunKeys,
    NoiseDraws,
    PeerReplies,
    Replay,
    SignedReply,
)
from fieldfare.client.ledger.budget import Position, StoredReply
from fieldfare.client.ledger.kept_states import OpenedRehearsal, position_of
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import PeerRows
from fieldfare.client.ledger.pending import NO_SPLIT, PendingAnswer, Split
from fieldfare.client.ledger.run_states import APPROVAL_STATE, REHEARSED_STATE
from fieldfare.shared.canonical import bytes_hash, claimed
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Commitment,
    LastSum,
    Reply,
    Request,
    statements_hash,
)
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.protocol.release_sums import ReleaseSums
from fieldfare.shared.protocol.secure_sum import SEED_BYTES, RunKeys, seed_stream
from fieldfare.shared.ring import Word, add, encode, to_ring
from fieldfare.shared.study.questions import QuestionGroup

__all__ = ["CommitmentReply", "Door", "RunAtDoor"]

Values = NDArray[np.float64]
Seeds = Callable[[], bytes]


def fresh_seed() -> bytes:
    """Return 32 bytes of the operating system's randomness."""
    return secrets.token_bytes(SEED_BYTES)


@dataclass(frozen=True, repr=False)
class RunAtDoor:
    """Everything about a run that the door needs."""

    approved: Admission
    sums: ReleaseSums
    replay: Replay

    def limits(self, request: Request) -> DebitLimits:
        """Return what binds a debit, with the split of the records that it is for."""
        split = Split(self.sums.split, self.sums.ids.to_bytes())
        return self.approved.limits(request, split)


@dataclass(frozen=True, eq=False, repr=False)
class _Computation:
    """What a request came to, before masks and seed, and what is kept along with it."""

    vector: Word
    keys: RunKeys  # of this step
    states: dict[str, bytes]  # of the run
    seen: tuple[SignedReply, ...]


class Door:
    """One institution's door."""

    def __init__(
        self,
        party: Party,
        ledger: Ledger,
        noise: NoiseDraws,
        *,
        decisions: DecisionLog,
        held: HeldRunKeys,
        peers: PeerReplies,
        seeds: Seeds = fresh_seed,
    ) -> None:
        """Stand between the sums of `party` and the network.

        Args:
            party: whose sums leave.
            ledger: of their population.
            noise: drawn ahead; of the same kind as the party.
            decisions: the institution's own log.
            held: the keys of its runs.
            peers: what others' replies show.
            seeds: draws 32 bytes for each vector.
        """
        self.held = held
        self._decisions = decisions
        self._seeds = seeds
        self._party = party
        self._ledger = ledger
        self._noise = noise
        self._peers = peers

    # -- the first message: admit, compute, keep ----------------------------------------

    def release(
        self, run: RunAtDoor, request: Request, parameters: bytes, last: LastSum = NO_LAST_SUM
    ) -> CommitmentReply:
        """Answer one signed request with one bounded, noised, masked vector that a seed hides.

        Formal Guarantees:
            A `CommitmentReply` was kept before with its seed, which stays here: its vector is
            uniform to everybody else, all other participants together included, and costs nothing.
            Under the seed it is sum + noise + masks in Z_2^k: the sum moves by at most the plan's
            sensitivity when a unit comes or goes; with this vector in a sum of n participants, t
            of them colluding, the noise has at least the plan's sigma. In local mode it is a
            change within +-16 that follows from `local_steps` sums, each with all of sigma on
            it, and masks; the debit is for all these sums, whoever else colludes.

        Edge cases:
            | request | answer |
            |---|---|
            | the same R again | the stored bytes; no second noise |
            | a later attempt than one that waits | answered; what waits is destroyed |
            | another R for an answered (run, step, attempt) | refused |
            | a rehearsal | masks over zeros: no records, no noise, no debit |
            | a rehearsal before one that was opened | refused |
            | budget for less than the whole release | refused; nothing is computed |
            | parameters that do not follow from the last sum | refused; no sum is computed |
            | the first step after a rehearsal that is not shown to be zero | refused; the same |

        Raises:
            PolicyRefusal: with a fixed code that depends on no record.
            LedgerError: the ledger cannot be trusted or written; nothing left.
        """
        # 1. admit
        terms = run.approved.admit(request, parameters)
        bound = run.approved.bound(request, terms, parameters)
        known = self._ledger.stored(request.hash) or self._waiting_again(request)
        if known is not None:
            return CommitmentReply(known.commitment, known.vector)
        limits = run.limits(request)
        self._admit(run, request, terms.cost, limits)
        # 2. compute
        computed = self._compute(run, request, terms, parameters, bound, last)
        masked = self._masked(computed.vector, computed.keys, request, terms)
        seed = self._seeds()
        hidden = add(masked, seed_stream(seed, len(masked), terms.word_bits), terms.word_bits)
        vector = encode(hidden, terms.word_bits)
        # 3. keep
        kept = self._keep(run, request, terms.cost, limits, computed, vector, seed)
        self.held.advance(request.study, request.run, computed.keys)
        return CommitmentReply(kept.commitment, kept.vector)

    def _waiting_again(self, request: Request) -> PendingAnswer | None:
        """Return what waits for this very request, once nothing of what it replaced is left.

        A crash, or an open reader of the write-ahead log, may have prevented the erasing.
        """
        waiting = self._waiting(request)
        if waiting is None:
            return None
        self._ledger.erase_replaced()
        if waiting.cost:
            self.held.pass_by(request.study, request.run, request.opening, request.step)
        return waiting

    def _admit(self, run: RunAtDoor, request: Request, cost: int, limits: DebitLimits) -> None:
        """Check that the ledger bears a request's debit, which comes when it is opened."""
        if cost:
            self._ledger.admit(run.approved.debit(request, cost), **limits)

    def _keep(
        self,
        run: RunAtDoor,
        request: Request,
        cost: int,
        limits: DebitLimits,
        computed: _Computation,
        vector: bytes,
        seed: bytes,
    ) -> PendingAnswer:
        """Keep a vector, its seed and the signed commitment to both until they are opened."""

        def check_again(rows: PeerRows) -> None:  # inside the transaction, as for a debit
            """Refuse what came to be refused since the request was read; keep peers' replies."""
            self._run_keys(request)
            self._admit(run, request, cost, limits)
            self._peers.keep(rows, request.study, request.run, computed.seen)

        answer = PendingAnswer(
            study=request.study,
            run=request.run,
            step=request.step,
            attempt=request.attempt,
            request=request.hash,
            cost=cost,
            commitment=self._commitment(request, vector, seed),
            vector=vector,
            seed=seed,
        )
        split = limits["split"] if cost else NO_SPLIT  # a rehearsal is of no unit
        return self._ledger.keep_waiting(
            answer, check=check_again, run_states=computed.states, split=split
        )

    # -- the second message: check, commit, send ----------------------------------------

    def reveal(
        self, run: RunAtDoor, request: Request, statements: Sequence[bytes], asked_as: bytes = b""
    ) -> bytes:
        """Open a commitment: the signed reply with the seed, the second message.

        Args:
            run: of the request.
            request: whose answer waits, or was opened.
            statements: L, the signed commitments of all its participants, in R's order.
            asked_as: the request as it was signed; kept with the debit for peers.

        Formal Guarantees:
            What is returned was committed before, with its debit, and names L: this institution
            opens its vector for one L only, when everybody's vector is fixed. Who changes its own
            by what it sees of the others' signs another commitment, and so another L.

        Edge cases:
            | L | answer |
            |---|---|
            | the same (R, L) again, also after a restart | the stored bytes; no debit |
            | another L for an opened R | refused |
            | incomplete, a stranger's, this one's own changed | refused; nothing is debited |
            | of an R that was not answered, or whose seed a later attempt destroyed | refused |
            | a rehearsal's | opened, for one L like any other; no debit |

        Raises:
            PolicyRefusal: with a fixed code that depends on no record.
            ProtocolError: L is not that of the participants of R.
            LedgerError: the ledger cannot be trusted or written; nothing left.
        """
        # 4. check
        hashed = statements_hash(statements)
        stored = self._ledger.stored(request.hash) or self._opened_rehearsal(request)
        if stored is not None:
            if claimed(stored.reply, "statements") != hashed:
                raise PolicyRefusal(
                    RefusalCode.REPLAY_CHANGED, "expected the commitments that were opened"
                )
            return self._send(request, stored.cost, stored)
        waiting = self._waiting(request)
        if waiting is None:
            raise PolicyRefusal(
                RefusalCode.ATTEMPT_CLOSED, "expected a request whose answer waits, found another"
            )
        self._check_statements(request, statements, waiting.commitment)
        # 5. commit
        if waiting.cost:
            committed = self._ledger.commit_waiting(
                run.approved.debit(request, waiting.cost),
                sign=partial(self._opening, request, hashed),
                asked=asked_as,
                **run.limits(request),
            )
        else:
            committed = self._open_rehearsal(request, hashed, waiting)
        # 6. send
        return self._send(request, waiting.cost, committed)

    def _open_rehearsal(
        self, request: Request, statements: str, answer: PendingAnswer
    ) -> StoredReply:
        """Keep the reply that opens a rehearsal; there is nothing to debit."""
        position = self._ledger.position()
        reply = self._opening(request, statements, answer, position)
        opened = OpenedRehearsal(request.attempt, request.opening, reply)
        name = REHEARSED_STATE + request.run
        self._ledger.put_run_state(request.study, name, opened.to_bytes())
        return StoredReply(reply=reply, vector=answer.vector, position=position)

    def _last_rehearsal(self, request: Request) -> OpenedRehearsal:
        kept = self._ledger.run_state(request.study, REHEARSED_STATE + request.run)
        return OpenedRehearsal.from_bytes(kept)

    def _opened_rehearsal(self, request: Request) -> StoredReply | None:
        """Return the reply to this very rehearsal, if it is the one that was opened last."""
        reply = self._last_rehearsal(request).reply
        if not reply or claimed(reply, "request") != request.hash:
            return None
        body = self._party.from_member(reply, Reply, self._party.institution).body
        return StoredReply(reply=reply, vector=b"", position=position_of(body))  # a reply is opened

    def _waiting(self, request: Request) -> PendingAnswer | None:
        """Return what was kept for this very request, if it waits for its opening."""
        found = self._ledger.waiting(request.study, request.run)
        return found if found is not None and found.request == request.hash else None

    def _check_statements(self, request: Request, statements: Sequence[bytes], own: bytes) -> None:
        """Check that L is complete: a commitment to R by each of its participants, in order.

        Raises:
            ProtocolError: it is not.
        """
        code = RefusalCode.BAD_PARTICIPANTS
        if len(statements) != request.n or own not in statements:
            raise ProtocolError(
                "expected a commitment of each participant, this one's own unchanged", code
            )
        for participant, envelope in zip(request.participants, statements, strict=True):
            name = participant.institution
            body = self._party.from_member(envelope, Commitment, name).body
            expected = (request.hash, name, participant.answer)
            if (body.request, body.institution, body.answer) != expected:
                raise ProtocolError("expected commitments of the participants to this R", code)

    def _send(self, request: Request, cost: int, committed: StoredReply) -> bytes:
        """Write down that committed bytes are about to leave, then let them.

        A log that cannot be written keeps them in; a repeat gets them, free, once it can.
        """
        self._decisions.released(request, cost, committed.position)
        return committed.reply

    # -- what is computed: rehearsals, sums, noise, masks -------------------------------

    def _compute(
        self,
        run: RunAtDoor,
        request: Request,
        terms: ReleaseTerms,
        content: bytes,
        bound: Values | QuestionGroup,
        last: LastSum,
    ) -> _Computation:
        """Take the noised sum, once what the request binds was recomputed from the last one."""
        if terms.cost and self._run_keys(request).step == 0:
            run.replay.check_rehearsed(request, last)  # an opening's first step follows a rehearsal
        shown = run.approved.shown_geometry(request, terms, content)
        states = run.replay.check(request, last, shown)
        seen = self._peers.saw(request.study, request.run, last)
        if not terms.cost:  # a rehearsal: the only kind that costs nothing, to find bad keys before
            zeros = np.zeros(terms.vectors.entries, dtype=np.uint64)
            return _Computation(zeros, self._rehearsal_keys(request), {}, seen)
        keys = self._run_keys(request).at(request.step + 1)  # 0 is the rehearsal's
        return _Computation(self._sum(run, request, terms, bound, states), keys, states, seen)

    def _rehearsal_keys(self, request: Request) -> RunKeys:
        """Return the keys of a rehearsal after the one that was opened, before the first step."""
        keys = self.before_steps(request)
        if request.attempt <= self._last_rehearsal(request).attempt:
            raise PolicyRefusal(
                RefusalCode.ATTEMPT_CLOSED, "expected a rehearsal after the one that was opened"
            )
        return keys

    def before_steps(self, request: Request) -> RunKeys:
        """Return the keys of a run that committed to nothing of records; `blame` asks, too.

        Raises:
            PolicyRefusal: STEP_CLOSED, KEYS_GONE or UNKNOWN_STUDY.
            LedgerError: the ledger cannot be read.
        """
        keys = self._run_keys(request)
        study, run = request.study, request.run
        waits = self._ledger.waiting(study, run)  # a newer opening's keys begin at 0 again
        if keys.step > 0 or (waits and waits.cost) or self._ledger.paid(study, run):
            raise PolicyRefusal(
                RefusalCode.STEP_CLOSED, "expected a rehearsal before the run's first step"
            )
        return keys

    def _sum(
        self,
        run: RunAtDoor,
        request: Request,
        terms: ReleaseTerms,
        bound: Values | QuestionGroup,
        states: dict[str, bytes],
    ) -> Word:
        """Compute the bounded sum, and add this institution's share of the noise.

        A draw is taken when nothing can refuse the request any more but the ledger. It is added in
        int64, whose overflow is the ring's, and its array is zeros afterwards.
        """
        share = terms.share(request.n, request.t)
        draws = self._noise.draws(terms.vectors.entries, share, max(1, terms.local_steps))
        with closing(draws) as noise:
            if isinstance(bound, QuestionGroup):
                total = run.sums.answers(bound) + next(noise)
            elif terms.local_steps:
                # One step's noise at a time: memory does not grow with a study's steps.
                total = run.sums.local_change(bound, noise, request.n)
            else:
                geometry = run.replay.geometry(request, states)
                total = run.sums.vector(terms.kind, bound, geometry) + next(noise)
        return to_ring(total, terms.word_bits)

    def _masked(self, vector: Word, keys: RunKeys, request: Request, terms: ReleaseTerms) -> Word:
        """Add this institution's masks for R; a simulation has none."""
        if self._party.protection is Protection.SIMULATED:
            return vector
        own = self._party.institution
        peers = frozenset(p.institution for p in request.participants) - {own}
        entries, bits = terms.vectors.entries, terms.word_bits
        return add(vector, keys.mask(own, peers, request.hash, entries, bits), bits)

    # -- keys, and what is signed ---------------------------------------------------------

    def _run_keys(self, request: Request) -> RunKeys:
        """Return the chain keys of the request's opening, while the study is approved.

        Another process of this institution may withdraw it: what says so is in the ledger's file.
        """
        if self._ledger.run_state(request.study, APPROVAL_STATE) is None:
            raise PolicyRefusal(
                RefusalCode.UNKNOWN_STUDY, "expected a study that was approved here"
            )
        return self.held.run_keys(request.study, request.run, request.opening)

    def _own_answer(self, request: Request) -> str:
        answers = {named.institution: named.answer for named in request.participants}
        return answers[self._party.institution]

    def _commitment(self, request: Request, vector: bytes, seed: bytes) -> bytes:
        return self._party.sign(
            Commitment(
                request=request.hash,
                institution=self._party.institution,
                answer=self._own_answer(request),
                vector=bytes_hash(vector),
                seed=bytes_hash(seed),
            )
        )

    def _opening(
        self, request: Request, statements: str, answer: PendingAnswer, position: Position
    ) -> bytes:
        """Sign what opens a vector: its seed, L, the debit and where the ledger stands after it."""
        return self._party.sign(
            Reply(
                request=request.hash,
                institution=self._party.institution,
                answer=self._own_answer(request),
                vector=bytes_hash(answer.vector),
                statements=statements,
                seed=answer.seed.hex(),
                debit=answer.cost,
                ledger_sequence=position.sequence,
                ledger_head=position.head,
                cumulative=position.cumulative,
                debited=position.debited,
                epoch=position.epoch,
            )
        )

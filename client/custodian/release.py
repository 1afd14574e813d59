"""The door: the only code that may hand an institution's bytes to the network.

A release leaves in two messages, and these stops come always in this order (docs/design.md, "The
door"; docs/protocol.md, "Commit, then open"):

    first message
    1. admit    request, plan, roster, ledger - never records - decide; the parameters are
                recomputed from the vectors that the participants signed in the step before
    2. compute  the bounded sum, its share of the noise, the masks, a fresh seed's stream: in memory
                (the noise, which is of no record, is drawn beside the recomputation)
                (in local mode: a change that steps on noised sums made, bounded, and masks)
    3. keep     vector, seed and the signed commitment to both, synced to disk; then the vector and
                the commitment may leave: without the seed they say nothing to anybody, so no debit
    second message
    4. check    L: the commitments of all participants of R, this one's own among them unchanged
    5. commit   the debit and the reply with the seed in ONE transaction, synced to disk, for one L
    6. send     log it, return what was committed, and nothing else

Where the study's opening is off there is one message: admit, compute, commit, send, and the
reply's vector can be read by everybody who has all of them.

A crash before the commit released nothing: what was kept is answered again, or a later attempt
destroys it. After the commit, the same request gets the same bytes, free. There is no other way
out: a count, a metric or a loss that wants to leave has to become a kind of release, with terms in
the plan and a price.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import (
    Admission,
    DecisionLog,
    HeldRunKeys,
    PeerReplies,
    Replay,
    SignedReply,
    Sums,
)
from fieldfare.client.ledger.budget import Debit, Portion, Position, StoredReply
from fieldfare.client.ledger.kept_states import position_of
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.peers import PeerRows
from fieldfare.client.ledger.pending import NO_SPLIT, Pending, Split
from fieldfare.client.ledger.run_states import APPROVAL_STATE, REHEARSED_STATE
from fieldfare.client.wire.frames import Committed, Released
from fieldfare.shared.canonical import bytes_hash, claimed
from fieldfare.shared.errors import PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import NoiseSource
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Commitment,
    LastSum,
    ReleaseKind,
    Reply,
    Request,
    statements_hash,
)
from fieldfare.shared.protocol.plan import SIDES, ReleaseTerms, carries_last_sum
from fieldfare.shared.protocol.secure_sum import SEED_BYTES, RunKeys, seed_stream
from fieldfare.shared.queries.questions import QuestionGroup
from fieldfare.shared.ring import Word, add, encode, to_ring

__all__ = ["Committed", "Door", "Released", "RunAtDoor"]

Values = NDArray[np.float64]
Noise = NDArray[np.int64]
Seeds = Callable[[], bytes]


def fresh_seed() -> bytes:
    """Return 32 bytes of the operating system's randomness."""
    return secrets.token_bytes(SEED_BYTES)


class _Limits(TypedDict):
    study_limit: int
    max_attempts: int
    max_tries: int
    portion: Portion | None
    participants: tuple[str, ...]
    split: Split


@dataclass(frozen=True, repr=False)
class RunAtDoor:
    """Everything about a run that the door needs."""

    approved: Admission
    sums: Sums
    replay: Replay


class Door:
    """One institution's door."""

    def __init__(
        self,
        party: Party,
        ledger: Ledger,
        noise: NoiseSource,
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
            noise: of the same kind as the party.
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
        self._beside = ThreadPoolExecutor(1)  # its thread begins with the first draw

    def release(
        self,
        run: RunAtDoor,
        request: Request,
        parameters: bytes,
        last: LastSum = NO_LAST_SUM,
        asked_as: bytes = b"",
    ) -> Released | Committed:
        """Answer one signed request with one bounded, noised, masked vector.

        `asked_as` is the request as it was signed; it is kept with the debit for peers.

        Formal Guarantees:
            A `Committed` was kept before with its seed, which stays here: its vector is uniform
            to everybody else, all other participants together included, and costs nothing.
            A `Released` (the opening is off) was committed before, with its debit. The vector is
            sum + noise + masks in Z_2^k: the sum moves by at most the plan's sensitivity
            when a unit comes or goes; with this reply in a sum of n participants, t of
            them colluding, the noise has at least the plan's sigma. In local mode it is a
            change within +-16 that follows from `local_steps` sums, each with all of sigma on
            it, and masks; the debit is for all these sums, whoever else colludes.

        Edge cases:
            | request | answer |
            |---|---|
            | the same R again | the stored bytes; no debit, no second noise |
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
        terms = run.approved.admit(request, parameters)
        asked = run.approved.bound(request, terms, parameters)
        if run.approved.plan.study.aggregation.opens:
            return self._commit_to(run, request, terms, asked, last, parameters)
        if terms.kind is ReleaseKind.REHEARSAL:
            return self._rehearse(run, request, terms, last)
        stored = self._ledger.stored(request.hash)
        if stored is not None:
            return self._released(request, terms.cost, stored)
        debit, limits = self._debit(request, terms.cost), self._limits(run, request)
        self._ledger.admit(debit, **limits)  # first: a closed step keeps the code that says so
        with self._drawing(request, terms) as drawn:
            progress, seen = self._follow(run, request, last, parameters, terms)
            if seen:
                with self._ledger.peers() as rows:
                    self._peers.keep(rows, request.study, request.run, seen)
            keys = self._run_keys(request).at(request.step + 1)  # the start is the rehearsal's
            protected = self._noised(run, request, terms, asked, progress, drawn)
        masked = self._masked(protected, keys, request, terms)
        content = encode(masked, terms.word_bits)

        def sign(position: Position) -> bytes:
            """Return the reply that goes into the debit's transaction."""
            # Again, inside the transaction: another process may have withdrawn the study since.
            self._run_keys(request)
            return self._reply(request, content, debit.cost, position)

        committed = self._ledger.commit(
            debit,
            vector=content,
            sign=sign,
            run_states=progress,
            asked=asked_as,
            **limits,
        )
        self.held.advance(request.study, request.run, keys)
        return self._released(request, terms.cost, committed)

    # -- commit, then open --------------------------------------------------------------

    def _commit_to(
        self,
        run: RunAtDoor,
        request: Request,
        terms: ReleaseTerms,
        asked: Values | QuestionGroup,
        last: LastSum,
        parameters: bytes,
    ) -> Committed:
        """Answer with a vector that a seed hides, and keep the seed: the first message."""
        known = self._ledger.stored(request.hash) or self._waiting_again(request)
        if known is not None:
            return Committed(known.commitment, known.vector)
        debit = self._debit(request, terms.cost) if terms.cost else None
        limits = self._limits(run, request)
        if debit is None:
            _, seen = self._follow(run, request, last, parameters, terms)
            keys, progress = self._rehearsed(request), dict[str, bytes]()
            protected = np.zeros(terms.vectors.entries, dtype=np.uint64)
        else:
            self._ledger.admit(debit, **limits)
            with self._drawing(request, terms) as drawn:
                self._check_rehearsed(run, request, last)
                progress, seen = self._follow(run, request, last, parameters, terms)
                keys = self._run_keys(request).at(request.step + 1)
                protected = self._noised(run, request, terms, asked, progress, drawn)
        seed = self._seeds()
        hidden = seed_stream(seed, terms.vectors.entries, terms.word_bits)
        masked = add(self._masked(protected, keys, request, terms), hidden, terms.word_bits)
        content = encode(masked, terms.word_bits)

        def check(rows: PeerRows) -> None:  # again, inside the transaction, as for a debit
            """Refuse what came to be refused since the request was read."""
            self._run_keys(request)
            if debit is not None:
                self._ledger.admit(debit, **limits)
            self._peers.keep(rows, request.study, request.run, seen)

        answer = Pending(
            study=request.study,
            run=request.run,
            step=request.step,
            attempt=request.attempt,
            request=request.hash,
            cost=terms.cost,
            commitment=self._commitment(request, content, seed),
            vector=content,
            seed=seed,
        )
        split = NO_SPLIT if debit is None else limits["split"]  # a rehearsal is of no unit
        kept = self._ledger.keep_waiting(answer, check=check, run_states=progress, split=split)
        self.held.advance(request.study, request.run, keys)
        return Committed(kept.commitment, kept.vector)

    def reveal(
        self,
        run: RunAtDoor,
        request: Request,
        statements: Sequence[bytes],
        asked_as: bytes = b"",
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
        hashed = statements_hash(statements)
        stored = self._ledger.stored(request.hash) or self._opened_rehearsal(request)
        if stored is not None:
            if claimed(stored.reply, "statements") != hashed:
                raise PolicyRefusal(
                    RefusalCode.REPLAY_CHANGED, "expected the commitments that were opened"
                )
            return self._send(request, stored.cost, stored)
        answer = self._waiting(request)
        if answer is None:
            raise PolicyRefusal(
                RefusalCode.ATTEMPT_CLOSED, "expected a request whose answer waits, found another"
            )
        self._check_statements(request, statements, answer.commitment)

        def sign(opened: Pending, position: Position) -> bytes:
            """Return the reply that opens a committed vector."""
            seed = opened.seed.hex()
            return self._reply(
                request, opened.vector, opened.cost, position, statements=hashed, seed=seed
            )

        if not answer.cost:
            position = self._ledger.position()
            reply = sign(answer, position)
            opened = OpenedRehearsal(request.attempt, request.opening, reply)
            name = REHEARSED_STATE + request.run
            self._ledger.put_run_state(request.study, name, opened.to_bytes())
            rehearsed = StoredReply(reply=reply, vector=answer.vector, position=position)
            return self._send(request, 0, rehearsed)
        committed = self._ledger.commit_waiting(
            self._debit(request, answer.cost),
            sign=sign,
            asked=asked_as,
            **self._limits(run, request),
        )
        return self._send(request, answer.cost, committed)

    def _opened_rehearsal(self, request: Request) -> StoredReply | None:
        """Return the reply to this very rehearsal, if it is the one that was opened last."""
        reply = last_rehearsal(self._ledger, request).reply
        if not reply or claimed(reply, "request") != request.hash:
            return None
        body = self._party.from_member(reply, Reply, self._party.institution).body
        return StoredReply(reply=reply, vector=b"", position=position_of(body))

    def _waiting_again(self, request: Request) -> Pending | None:
        """Return what waits for this very request, once nothing of what it replaced is held.

        A crash, or a reader of the ledger's log, may have been in the way of that.
        """
        found = self._waiting(request)
        if found is None:
            return None
        self._ledger.erase_replaced()
        if found.cost:
            self.held.pass_by(request.study, request.run, request.opening, request.step)
        return found

    def _waiting(self, request: Request) -> Pending | None:
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

    def _follow(
        self, run: RunAtDoor, request: Request, last: LastSum, content: bytes, terms: ReleaseTerms
    ) -> tuple[dict[str, bytes], tuple[SignedReply, ...]]:
        """Recompute what a request binds; returns the run's states, and replies that came along."""
        shown = run.approved.shown_geometry(request, terms, content)
        progress = run.replay.check(request, last, shown)
        return progress, self._peers.saw(request.study, request.run, last)

    # -- what both have in common -------------------------------------------------------

    def _released(self, request: Request, cost: int, committed: StoredReply) -> Released:
        return Released(self._send(request, cost, committed), committed.vector)

    def _send(self, request: Request, cost: int, committed: StoredReply) -> bytes:
        """Write down that committed bytes are about to leave, then let them.

        A log that cannot be written keeps them in; the debit stands, and a repeat of the
        request gets the same bytes once it can.
        """
        self._decisions.released(request, cost, committed.position)
        return committed.reply

    def _rehearsed(self, request: Request) -> RunKeys:
        """Return the keys that a rehearsal masks with; only before the first step."""
        keys = self.before_steps(request)
        if request.attempt <= last_rehearsal(self._ledger, request).attempt:
            raise PolicyRefusal(
                RefusalCode.ATTEMPT_CLOSED, "expected a rehearsal after the one that was opened"
            )
        return keys

    def before_steps(self, request: Request) -> RunKeys:
        """Return the keys of a run in which nothing that reads records was committed to.

        Raises:
            PolicyRefusal: STEP_CLOSED, KEYS_GONE or UNKNOWN_STUDY.
            LedgerError: the ledger cannot be read.
        """
        keys = self._run_keys(request)
        study, run = request.study, request.run
        waits = self._ledger.waiting(study, run)  # a newer opening begins again with its keys
        if keys.step > 0 or (waits and waits.cost) or self._ledger.paid(study, run):
            raise PolicyRefusal(
                RefusalCode.STEP_CLOSED, "expected a rehearsal before the run's first step"
            )
        return keys

    def _rehearse(
        self, run: RunAtDoor, request: Request, terms: ReleaseTerms, last: LastSum
    ) -> Released:
        """Mask zeros, to find bad keys before budget is spent; only before the first step."""
        keys = self._rehearsed(request)
        run.replay.check(request, last)
        zeros = np.zeros(terms.vectors.entries, dtype=np.uint64)
        content = encode(self._masked(zeros, keys, request, terms), terms.word_bits)
        position = self._ledger.position()
        reply = self._reply(request, content, 0, position)
        return self._released(
            request, 0, StoredReply(reply=reply, vector=content, position=position)
        )

    def _check_rehearsed(self, run: RunAtDoor, request: Request, last: LastSum) -> None:
        """Check that the rehearsal that was opened here came to zeros, before records are masked.

        Where it did not, a peer may have published its keys, and its masks hide nothing any more.

        Raises:
            PolicyRefusal: NOT_RECOMPUTED: it was not shown, or was of fewer participants.
        """
        if self._run_keys(request).step > 0:  # as at nearly every request
            return
        opened = last_rehearsal(self._ledger, request)
        if opened.opening != request.opening or not may_blame(self._party, run.approved):
            return
        terms = run.approved.plan.terms(ReleaseKind.REHEARSAL)
        try:
            asked = self._party.from_coordinator(last.request, Request)
            words = run.replay.words(asked, last, terms, run.approved.plan.study.aggregation)
        except ProtocolError as error:
            raise PolicyRefusal(RefusalCode.NOT_RECOMPUTED, str(error)) from None
        joined = set(request.participants) - set(asked.body.participants)
        if opened.reply not in last.replies or words.any() or joined:
            raise PolicyRefusal(
                RefusalCode.NOT_RECOMPUTED, "expected the zeros of the rehearsal before this step"
            )

    def _noised(
        self,
        run: RunAtDoor,
        request: Request,
        terms: ReleaseTerms,
        asked: Values | QuestionGroup,
        progress: Mapping[str, bytes],
        drawn: Future[Noise],
    ) -> Word:
        """Compute the sum, and add this institution's share of the noise."""
        if terms.local_steps and not isinstance(asked, QuestionGroup):
            # One step's noise at a time: memory does not grow with the steps that a study asks for.
            draw = partial(self._draw, request, terms)
            own = (draw() if place else drawn.result() for place in range(terms.local_steps))
            return to_ring(run.sums.local_change(asked, own, request.n), terms.word_bits)
        geometry = run.replay.geometry(request, progress)
        if isinstance(asked, QuestionGroup):
            found = run.sums.answers(asked)
        else:
            found = run.sums.vector(terms.kind, asked, geometry)
        noise = to_ring(drawn.result(), terms.word_bits)
        return add(to_ring(found, terms.word_bits), noise, terms.word_bits)

    @contextmanager
    def _drawing(self, request: Request, terms: ReleaseTerms) -> Iterator[Future[Noise]]:
        """Draw this institution's share of the noise beside what a release needs else.

        Nothing of that needs it, and OpenDP works outside Python's lock: for a step it takes 4 ms,
        a fifth of it, and a core that waits is nearly always there. The noise of a request that is
        refused after this is thrown away; where its draw has not begun, it never does: draws that
        nobody waits for would hold up the next answer, and the end of the process.
        """
        if self._party.protection is Protection.EXACT:
            drawn = self._beside.submit(self._draw, request, terms)
        else:  # in a simulation it takes less than a thread of its own
            drawn = Future[Noise]()
            drawn.set_result(self._draw(request, terms))
        try:
            yield drawn
        finally:
            drawn.cancel()

    def _draw(self, request: Request, terms: ReleaseTerms) -> Noise:
        share = terms.share(request.n, request.t)
        return self._noise.sample(terms.vectors.entries, share)

    def _masked(self, vector: Word, keys: RunKeys, request: Request, terms: ReleaseTerms) -> Word:
        """Add this institution's masks for R."""
        if self._party.protection is Protection.EXACT:
            own = self._party.institution
            peers = frozenset(p.institution for p in request.participants) - {own}
            entries, bits = terms.vectors.entries, terms.word_bits
            vector = add(vector, keys.mask(own, peers, request.hash, entries, bits), bits)
        return vector

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

    @staticmethod
    def _debit(request: Request, cost: int) -> Debit:
        return Debit(
            study=request.study,
            run=request.run,
            step=request.step,
            attempt=request.attempt,
            kind=request.kind.value,
            request=request.hash,
            cost=cost,
            side=SIDES[request.kind],
        )

    @staticmethod
    def _limits(run: RunAtDoor, request: Request) -> _Limits:
        """Return what binds a release: later questions may spend what they were allowed only."""
        plan = run.approved.plan
        aggregation = plan.study.aggregation
        names = tuple(named.institution for named in request.participants)
        split = Split(run.sums.split, run.sums.ids.to_bytes())
        found: _Limits = {
            "study_limit": plan.study_limit,
            "max_attempts": aggregation.attempts,
            "max_tries": aggregation.most_tries,
            "portion": None,
            "participants": names if aggregation.fixed else (),
            "split": NO_SPLIT if SIDES[request.kind] is Side.ALL else split,
        }
        later = plan.allowance
        if later.steps and request.step >= later.first_step:
            most = later.cost * (later.steps + later.spare)
            found["portion"] = Portion(first_step=later.first_step, picomu2=most)
        return found

    def _reply(
        self,
        request: Request,
        vector: bytes,
        debit: int,
        position: Position,
        *,
        statements: str = "",
        seed: str = "",
    ) -> bytes:
        """Sign what leaves: request, vector, debit and where the ledger stands after it."""
        return self._party.sign(
            Reply(
                request=request.hash,
                institution=self._party.institution,
                answer=self._own_answer(request),
                vector=bytes_hash(vector),
                statements=statements,
                seed=seed,
                debit=debit,
                ledger_sequence=position.sequence,
                ledger_head=position.head,
                cumulative=position.cumulative,
                debited=position.debited,
                epoch=position.epoch,
            )
        )


@dataclass(frozen=True)
class OpenedRehearsal:
    """The rehearsal of a run that was opened here last: its attempt, opening and signed reply."""

    attempt: int = -1
    opening: str = ""
    reply: bytes = b""

    def to_bytes(self) -> bytes:
        """Return what is kept of it."""
        return b"%d:%s:%s" % (self.attempt, self.opening.encode(), self.reply)


def last_rehearsal(ledger: Ledger, request: Request) -> OpenedRehearsal:
    """Return what was opened last of the rehearsals of a request's run.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    kept = ledger.run_state(request.study, REHEARSED_STATE + request.run)
    if kept is None:
        return OpenedRehearsal()
    attempt, opening, reply = kept.split(b":", 2)
    return OpenedRehearsal(int(attempt), opening.decode(), reply)


def may_blame(party: Party, run: Admission) -> bool:
    """Say whether keys may be published where a run's rehearsal fails (docs/protocol.md).

    With the opening off a peer that knows nothing of it would answer the next step at once, and
    what does not fit into one message nobody could check.
    """
    opens = run.plan.study.aggregation.opens and party.protection is Protection.EXACT
    return opens and carries_last_sum(run.plan, ReleaseKind.REHEARSAL, run.opened_by)

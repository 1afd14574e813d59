"""A coordinator's account of a run while it goes on, so that it can go on after a crash.

Everything is kept before anybody depends on it: an opening and a request before they are
sent, a sum and what follows from it before the next request is written.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import NO_LAST_SUM, LastSum
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.ring import Word, decode
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.request_check import AgreedRun
from fieldfare.shared.run.state import RunState
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    ModelRecord,
    QuestionsRecord,
    SumRecord,
)


@dataclass(frozen=True, eq=False)
class DecodedSum:
    """A decoded sum and its attempts.

    Attributes:
        values: float64 (entries,), in the sum's own unit (exact: integers times gamma).
        participants: institutions in the sum, sorted.
        attempt: the attempt that succeeded.
        debits: releases answered for it, by institution, failed attempts included.
        request: the signed request of the attempt that succeeded.
        replies: signed replies by institution.
        commitments: signed commitments by institution.
        vectors: masked vectors by institution.
        words: the sum's ring words, little-endian.
    """

    values: NDArray[np.float64]
    participants: tuple[str, ...]
    attempt: int
    debits: Mapping[str, int]
    request: bytes
    replies: Mapping[str, bytes]
    vectors: Mapping[str, bytes]
    words: bytes
    commitments: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def as_last(self) -> LastSum:
        """The sum as it travels with the next request."""
        return LastSum(
            self.request,
            tuple(self.replies[name] for name in self.participants),
            tuple(self.vectors[name] for name in self.participants),
            tuple(self.commitments[name] for name in sorted(self.commitments)),
        )

    def added(self, attempt: Attempt, terms: ReleaseTerms) -> Word:
        """Return the ring words, for the run's state."""
        del attempt
        return decode(self.words, terms.word_bits, terms.vectors.entries)


@dataclass(frozen=True)
class Opening:
    """One opening of a run, as it is sent.

    Attributes:
        opening: signed RunOpening.
        approvals: signed approvals of the participants, in the opening's order.
        answers: signed answers to `hello`, in the same order.
    """

    opening: bytes
    approvals: tuple[bytes, ...]
    answers: tuple[bytes, ...]


@dataclass(frozen=True)
class RunCheckpoint:
    """Where a run was interrupted: what is sent again, and to whom.

    Attributes:
        openings: so far, or None before.
        request: the last signed request, or nothing.
        answered: whether that request is done with: summed, or its attempt failed.
        stayed: who answered it, where its attempt failed; the others have left.
        opened: everybody's commitment to it is kept: it is asked again rather than given up.
        failed: attempts that failed so far.
    """

    openings: RunOpenings | None = None
    request: bytes = b""
    answered: bool = True
    stayed: frozenset[str] = frozenset()
    failed: int = 0
    opened: bool = False

    @classmethod
    def of(cls, openings: RunOpenings | None, state: RunState | None) -> "RunCheckpoint":
        """Return where a run stands by its state, or by its openings before it has one."""
        if state is None:
            return cls(openings)
        if state.asked is None:
            return cls(state.openings)
        attempt = state.attempt
        if attempt is None:
            return cls(state.openings, state.asked.content, failed=state.failed)
        opened, come = attempt.opened, attempt.commitments
        # Whoever committed to an attempt that opened is asked again, before anybody is given up.
        failed = state.failed + int(bool(attempt.replies) or (bool(come) and not opened))
        return cls(state.openings, state.asked.content, bool(come), frozenset(come), failed, opened)


@dataclass
class Record:
    """One run, kept in a list: a simulation is started again, not resumed.

    Everything that is written down goes through the run's state, so that no other leaves can
    follow each other. Whoever keeps a run elsewhere does so in `_append`; every method raises
    RunError where nothing could be kept.

    Attributes:
        leaves: of the run.
        openings: of the run so far; None before the first.
        state: that they lead to; None before the run is agreed on.
        last: the sum that the next request's content follows from.
    """

    leaves: list[Leaf] = field(default_factory=list, init=False)
    openings: RunOpenings | None = field(default=None, init=False)
    state: RunState | None = field(default=None, init=False)
    last: LastSum = field(default=NO_LAST_SUM, init=False)

    def checkpoint(self) -> RunCheckpoint:
        """Return where the run was interrupted."""
        return RunCheckpoint()

    def begin(self, run: AgreedRun, roster: Roster) -> None:
        """Begin the run's state; signatures were verified before anything is written down."""
        self.state = RunState.begin(run, roster, Protection.SIMULATED, self.openings)

    @property
    def run(self) -> RunState:
        """The state of a run that is agreed on.

        Raises:
            RunError: there is none.
        """
        if self.state is None:
            raise RunError("expected a run that was opened, found none")
        return self.state

    def opening(self, opening: Opening, openings: RunOpenings) -> None:
        """Keep an opening before it is sent.

        Args:
            opening: of the run, the first one with the approvals that all later ones rest on.
            openings: that it leads to.
        """
        answers = [Leaf(LeafKind.HELLO, envelope) for envelope in opening.answers]
        approvals = [Leaf(LeafKind.APPROVAL, envelope) for envelope in opening.approvals]
        first = approvals if self.openings is None else []
        self.openings = openings
        self._put([*first, *answers, Leaf(LeafKind.OPENING, opening.opening)])

    def keep_offers(self, offers: Sequence[bytes], openings: RunOpenings) -> None:
        """Keep the key offers that all participants have agreed on."""
        self.openings = openings
        self._put([Leaf(LeafKind.OFFER, envelope) for envelope in offers])

    def keep_request(self, request: bytes) -> None:
        """Keep a signed request before it is sent."""
        self._put([Leaf(LeafKind.REQUEST, request)])

    def keep_commitments(self, commitments: Mapping[str, bytes]) -> None:
        """Keep commitments before anybody is asked to open, or those of an attempt that ended."""
        self._put([Leaf(LeafKind.COMMITMENT, commitments[name]) for name in sorted(commitments)])

    def keep_failure(self, replies: Mapping[str, bytes], *, costs: bool) -> None:
        """Keep the replies of an attempt that not everybody answered."""
        del costs
        self._put([Leaf(LeafKind.REPLY, replies[name]) for name in sorted(replies)])

    def keep_published(self, keys: Mapping[str, bytes]) -> None:
        """Keep the keys that participants of a failed rehearsal published."""
        self._put([Leaf(LeafKind.KEYS, keys[name]) for name in sorted(keys)])

    def log(self) -> Sequence[Leaf]:
        """Return the leaves of the run so far."""
        return self.leaves

    def asking(self, questions: QuestionGroup) -> None:
        """Keep later questions before anybody is asked."""
        self._put([QuestionsRecord.of(questions).leaf()])

    def keep_sum(self, total: DecodedSum) -> None:
        """Keep the sum of the release that was due, and what follows from it."""
        before = self.run
        hashed = before.attempt.hash if before.attempt else ""
        words = bytes_hash(total.words)
        record = SumRecord(request=hashed, participants=total.participants, words=words)
        replies = (Leaf(LeafKind.REPLY, total.replies[name]) for name in total.participants)
        leaves, state = [*replies, record.leaf()], before
        for leaf in leaves:
            state = state.after(leaf, total.added)
        follows = state.record(total.words)
        if follows is not None:
            leaves.append(follows.leaf())
            state = state.after(leaves[-1])
        self._append(leaves, state, total)
        self.state = state
        self.last = total.as_last if state.last is not before.last else self.last

    def keep_model(self, model: bytes) -> None:
        """Keep the finished model's hash: the run has nothing left but to hand it over.

        Args:
            model: the averaged parameters, little-endian float64; where the run trains none,
                there is none to hand over.
        """
        leaves, state = [EndRecord(state="finished", reason="").leaf()], self.run
        if state.due is LeafKind.MODEL:
            record = ModelRecord(model=bytes_hash(model), steps=state.results.steps)
            leaves.insert(0, record.leaf())
        self._put(leaves)

    def _put(self, leaves: Sequence[Leaf]) -> None:
        """Keep leaves that need no vectors."""
        state = self.state
        for leaf in leaves if state is not None else ():
            state = state and state.after(leaf)
        self._append(leaves, state)
        self.state = state

    def _append(
        self, leaves: Sequence[Leaf], state: RunState | None = None, total: DecodedSum | None = None
    ) -> None:
        """Keep leaves, and the sum and the state that they lead to."""
        del total, state
        self.leaves += leaves

    def note_action(self, institution: str, text: str) -> None:
        """Note what an institution did last, for those who watch."""

    def note_lost(self, institutions: Collection[str], *, debited: bool) -> None:
        """Note a failed attempt that these caused; `debited`: others paid for it."""

    def answered_hello(self, institution: str, text: str, approval: bytes) -> None:
        """Note what an institution says to the study, and its signed approval if it gave one."""

    def waiting_for(self, institutions: Sequence[str]) -> None:
        """Note who is waited for, so that those who watch know at once."""

    def stopping(self) -> bool:
        """Tell whether somebody wants the run to end after this step."""
        return False

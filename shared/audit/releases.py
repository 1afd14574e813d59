"""The releases of a run, checked and done again from its transcript.

Their order and what follows from each sum is the run's own (`shared/run`); here the masked
vectors are added up again, and every institution's ledger is followed through its replies.
"""

from collections.abc import Mapping
from typing import Protocol

from fieldfare.shared.audit.ledgers import LedgerTrail
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import Approval
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.ring import Word
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.run.state import RunState
from fieldfare.shared.transcript.file import MisfitError
from fieldfare.shared.transcript.leaves import AnswersRecord, Leaf, LeafKind


class Vectors(Protocol):
    """Where masked vectors are found."""

    @property
    def kept(self) -> bool:
        """Whether vectors are there at all, or were purged."""
        ...

    def vector(self, name: str) -> bytes:
        """Return the vector of this SHA-256; raises ProtocolError where it is missing."""
        ...


class ReplayedRun:
    """Takes the leaves of an opened run in order; only forward."""

    def __init__(
        self, state: RunState, approvals: Mapping[str, Approval], vectors: Vectors
    ) -> None:
        """Begin before the rehearsal."""
        self.state = state
        self.trail = LedgerTrail(state.run.plan.study_limit)
        self.answers: tuple[AnswersRecord, ...] = ()
        self._approvals = approvals
        self._vectors = vectors

    def take(self, leaf: Leaf) -> None:
        """Verify the next leaf.

        Raises:
            ProtocolError: the first thing that does not fit.
        """
        before, after = self.state, self.state.after(leaf, self._added)
        cost = before.release.terms.cost
        if after.requests > before.requests and after.attempt is not None:
            for institution in after.attempt.approvals:
                self.trail.ask(institution, cost)
        if leaf.kind is LeafKind.REPLY and after.attempt is not None:
            self._follow(after.attempt, cost)
        if leaf.kind is LeafKind.ANSWERS:
            self.answers += (AnswersRecord.from_bytes(leaf.content),)
        self.state = after

    def _follow(self, attempt: Attempt, cost: int) -> None:
        """Follow a ledger through the reply that came last."""
        reply = next(reversed(attempt.replies.values()))
        epoch = self._approvals[reply.body.institution].epoch
        expect("the ledger's epoch that was approved", epoch, reply.body.epoch)
        self.trail.take(reply.body, reply.content, cost)

    def _added(self, attempt: Attempt, terms: ReleaseTerms) -> Word | None:
        """Add the vectors of an attempt up again, where they are kept."""
        if not self._vectors.kept:
            return None
        vectors = [self._vector(name, attempt, terms) for name in attempt.replies]
        return add_words(vectors, terms.word_bits, terms.vectors.entries)

    def _vector(self, institution: str, attempt: Attempt, terms: ReleaseTerms) -> bytes:
        entries, bits = terms.vectors.entries, terms.word_bits
        try:
            vector = self._vectors.vector(attempt.replies[institution].body.vector)
            expect("bytes in a vector", entries * bits.value // 8, len(vector))
        except MisfitError:  # another line of the file is to blame
            raise
        except ProtocolError as error:
            raise MismatchError.because(error, error.code, institution) from None
        return vector

"""The audit: a check that a transcript is that of an honest run, and a report of its proofs.

Needs nothing but the file and the coordinator's public key (or a pinned roster). Everything
is verified in the file's order, and the first thing that does not fit is named.

The order of the releases and what follows from each sum is the run's own (`shared/run`); here the
masked vectors are added up again, and every ledger is followed through its institution's replies.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final, Protocol

from fieldfare.shared.audit.evidence import (
    KeptVectors,
    LedgerTrail,
    RunSpending,
    check_cosignatures,
    check_head,
    check_header,
)
from fieldfare.shared.audit.opening import OpeningAudit, Trust
from fieldfare.shared.audit.witnessed import WitnessClaim, WitnessedFindings, check_witnessed
from fieldfare.shared.canonical import claimed
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import Approval, ReleaseKind
from fieldfare.shared.protocol.plan import PICOMU2, Plan, ReleaseTerms, is_recomputed
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.ring import Word
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.blame import Blame, blame, failed_rehearsal
from fieldfare.shared.run.kinds.groups import read_groups
from fieldfare.shared.run.kinds.guard import read_guard
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.run.replay import add_words
from fieldfare.shared.run.state import RunState
from fieldfare.shared.transcript.file import (
    Header,
    Misfit,
    MisfitError,
    TranscriptFile,
    read_transcript,
)
from fieldfare.shared.transcript.heads import MOST_SHOWN, UNTRAVELLED, CosignedHead
from fieldfare.shared.transcript.leaves import AnswersRecord, EndRecord, Leaf, LeafKind, TreeHead


class Vectors(Protocol):
    """Where masked vectors are found."""

    def holds(self, name: str) -> bool:
        """Say whether the vector of this SHA-256 has to be there; False where it was purged."""
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
        self.untravelled = 0  # bytes of vectors that institutions saw at the end only
        self._approvals = approvals
        self._vectors = vectors

    def take(self, leaf: Leaf) -> None:
        """Verify the next leaf.

        Raises:
            ProtocolError: the first thing that does not fit.
        """
        before, after = self.state, self.state.after(leaf, self._added)
        terms = before.release.terms
        if after.opened > before.opened and after.attempt is not None:
            for institution in after.attempt.answers:
                self.trail.ask(institution, terms.side, terms.cost)
        if leaf.kind is LeafKind.REPLY and after.attempt is not None:
            self._follow(after.attempt, terms)
        if leaf.kind is LeafKind.SUM and before.attempt is not None:
            size = before.attempt.request.n * terms.vectors.entries * terms.word_bits.value // 8
            self.untravelled += size if terms.kind in UNTRAVELLED else 0
        if leaf.kind is LeafKind.ANSWERS:
            self.answers += (AnswersRecord.from_bytes(leaf.content),)
        self.state = after

    def _follow(self, attempt: Attempt, terms: ReleaseTerms) -> None:
        """Follow a ledger through the reply that came last."""
        reply = next(reversed(attempt.replies.values()))
        epoch = self._approvals[reply.body.institution].epoch
        expect("the ledger's epoch that was approved", epoch, reply.body.epoch)
        self.trail.take(reply.body, reply.content, terms.side, terms.cost)

    def _added(self, attempt: Attempt, terms: ReleaseTerms) -> Word | None:
        """Add the vectors of an attempt up again, where they are kept."""
        if not all(self._vectors.holds(reply.body.vector) for reply in attempt.replies.values()):
            return None
        vectors = [self._vector(name, attempt, terms) for name in attempt.replies]
        return add_words(vectors, terms.word_bits, terms.vectors.entries, attempt.seeds)

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


# -- audit ----------------------------------------------------------------------------------------

FIRST_LEAF_LINE: Final = 2
MOST_ALONE: Final = 256 * 1024  # bytes of leaves that nobody but the coordinator answers for
UNFINISHED: Final = "unfinished"
WITNESSED: Final = "witnessed head"
SIGNED_BY_INSTITUTIONS: Final = frozenset(
    {
        *(LeafKind.APPROVAL, LeafKind.HELLO, LeafKind.OFFER),
        *(LeafKind.COMMITMENT, LeafKind.REPLY, LeafKind.KEYS),
    }
)


@dataclass(frozen=True, kw_only=True)
class InstitutionReport:
    """One institution's spending, as it signed it.

    Attributes:
        spent: in this run, failed attempts included.
        epsilon: of its spending, at the study's delta.
        at_most: epsilon had it also debited every attempt that opened and whose answer is not in
            the transcript. One whose last commitment the coordinator hides looks free here:
            whoever paid for it objects where it co-signs (`objections`).
    """

    spent: RunSpending
    epsilon: float
    at_most: float


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """The findings, up to the first item that does not fit.

    Attributes:
        header: study and run as the file names them; None where it has no readable header.
        misfit: the first thing that does not fit, or None.
        roster: as the coordinator signed it.
        plan: of the study; None before a valid one was found.
        participants: the institutions that opened the run.
        leaves: in the file.
        state: "finished", "stopped", "failed" or "unfinished".
        reason: why it ended, in the coordinator's words.
        steps: of training, verified.
        requests: that were verified; each of them is an attempt.
        sums: that were verified, and how many of them were added up again.
        model: the model's hash, hex; empty where none was reached.
        metrics: the federation's measurements of its model, canonical JSON.
        measured: they were read off the evaluation's sum again.
        groups: how alerts fall on groups, read off the sum in the transcript; None without one.
        guard: what the guard of a public start found; None without one.
        answers: the questions, and the sums that answer them.
        institutions: each one's spending.
        cosigned: size of the log that each institution co-signed.
        checked: how much each knew of it: "recomputed" or "hashes only".
        objections: the first leaf that does not fit what an institution knows, by institution.
        large: the model, or the log, is too large for an institution to know more than hashes.
        blame: who lied in a rehearsal that failed, by the keys that were published; None where
            none failed, or its vectors were deleted.
        final: the run's state at the end; None before it was opened.
        witnessed: who outside the federation signed that they saw the log's head; None where the
            auditor was given no such file.
    """

    header: Header | None = None
    misfit: Misfit | None = None
    roster: Roster | None = None
    plan: Plan | None = None
    participants: tuple[str, ...] = ()
    leaves: int = 0
    state: str = UNFINISHED
    reason: str = ""
    steps: int = 0
    requests: int = 0
    sums: int = 0
    recomputed: int = 0
    model: str = ""
    metrics: str | None = None
    measured: bool = False
    groups: Mapping[str, Any] | None = None
    guard: Mapping[str, Any] | None = None
    answers: tuple[AnswersRecord, ...] = ()
    institutions: Mapping[str, InstitutionReport] = field(default_factory=dict)
    cosigned: Mapping[str, int] = field(default_factory=dict)
    checked: Mapping[str, str] = field(default_factory=dict)
    objections: Mapping[str, int] = field(default_factory=dict)
    large: bool = False
    blame: Blame | None = None
    final: RunState | None = None
    witnessed: WitnessedFindings | None = None

    @property
    def failed_attempts(self) -> int:
        """Requests that led to no sum."""
        return self.requests - self.sums

    @property
    def purged(self) -> bool:
        """Whether sums could not be added up again because their vectors were deleted."""
        return self.recomputed < self.sums

    @property
    def epsilon(self) -> float:
        """Epsilon of the institution that spent most."""
        return max((found.epsilon for found in self.institutions.values()), default=0.0)


def audit(file: BinaryIO, trust: Trust, claim: WitnessClaim | None = None) -> AuditReport:
    """Verify a transcript from its first line to its last.

    Args:
        file: at its start; seekable.
        trust: what the auditor knows of the coordinator and the roster.
        claim: the heads that witnesses signed, and which witnesses the auditor believes.

    Formal Guarantees:
        Without a misfit: the coordinator signed this log; every request was its own and asked
        for the plan's release; every institution signed every reply, with the plan's debit and
        a ledger that only went forward; and, where vectors are kept, every sum, every step of
        Adam and the model follow from the signed vectors bit for bit. With a pinned roster the
        institutions are those that the auditor knows; with the coordinator's key alone they
        are those that the coordinator named.
    """
    try:
        transcript = read_transcript(file)
    except MisfitError as error:
        return AuditReport(misfit=error.misfit)
    run = _RunAudit(transcript, trust)
    try:
        run.verify(claim)
    except MisfitError as error:
        return run.report(error.misfit)
    return run.report(None)


class LogAudit:
    """Takes the leaves of a run's log in order, from its first; only forward.

    Attributes:
        opening: what was verified of the opening.
        releases: the run after it; None before the first request.
        end: how the run, or a part of it, ended last.
    """

    def __init__(self, trust: Trust, study: str, run: str, vectors: Vectors) -> None:
        """Begin before the roster, with the masked vectors that are known."""
        self.opening = OpeningAudit(trust, study, run)
        self.releases: ReplayedRun | None = None
        self.end: EndRecord | None = None
        self._vectors = vectors

    def take(self, leaf: Leaf) -> None:
        """Verify the next leaf.

        Raises:
            ProtocolError: the first thing that does not fit.
        """
        opened = self.opening.opened
        allowed = self._allowed()
        if leaf.kind not in allowed:
            kinds = " or ".join(sorted(kind.value for kind in allowed))
            raise ProtocolError(f"expected {kinds}, found {leaf.kind.value}")
        if leaf.kind is LeafKind.END:
            self._take_end(leaf)
        elif opened is None:
            self.opening.take(leaf.kind, leaf.content)
        else:
            self._replayed(opened).take(leaf)

    def _replayed(self, opened: RunState) -> ReplayedRun:
        if self.releases is None:
            self.releases = ReplayedRun(opened, self.opening.approvals, self._vectors)
        return self.releases

    def _allowed(self) -> frozenset[LeafKind]:
        """A run may end anywhere, and go on; once there is a model it may only end."""
        end = frozenset({LeafKind.END})
        if self.opening.opened is None:
            return end | self.opening.allowed
        if self.releases is None:
            return end | {LeafKind.REQUEST}
        return self.releases.state.allowed

    def _take_end(self, leaf: Leaf) -> None:
        """Take the end of the run, or of a part of it; a stopped or failed run may go on."""
        end = EndRecord.from_bytes(leaf.content)
        if self.releases is not None:
            self.releases.take(leaf)
        elif end.state == "finished":
            raise ProtocolError("expected a model or answers before a finished end, found none")
        self.end = end
        self.opening.interrupted()


class _RunAudit:
    """Takes a transcript's leaves in order; only forward."""

    def __init__(self, transcript: TranscriptFile, trust: Trust) -> None:
        self._transcript = transcript
        self._trust = trust
        self._vectors = KeptVectors(transcript)
        header = transcript.header
        self._log = LogAudit(trust, header.study, header.run, self._vectors)
        self._cosigned: Mapping[str, CosignedHead] = {}
        self._witnessed: WitnessedFindings | None = None

    def verify(self, claim: WitnessClaim | None) -> None:
        """Verify everything, and last what witnesses signed.

        Raises:
            MisfitError: the first thing that does not fit.
        """
        check_header(self._transcript, self._trust)
        for index, leaf in enumerate(self._transcript.leaves):
            try:
                self._log.take(leaf)
            except MisfitError:
                raise
            except ProtocolError as error:
                raise MisfitError(self._misfit(index, leaf, error)) from None
        self._vectors.check_used()
        hashes = [leaf.hash for leaf in self._transcript.leaves]
        head = check_head(self._transcript, self._trust, hashes)
        roster = self._log.opening.roster
        self._cosigned = check_cosignatures(self._transcript, roster, head, hashes)
        if claim is not None:
            self._witnessed = self._checked(claim, roster, head, hashes)

    def _checked(
        self, claim: WitnessClaim, roster: Roster | None, head: TreeHead, hashes: Sequence[bytes]
    ) -> WitnessedFindings:
        line = self._transcript.head_line
        if roster is None:
            reason = "expected a roster in the log, which names the key of its head, found none"
            raise MisfitError(Misfit(line=line, kind=WITNESSED, reason=reason))
        try:
            return check_witnessed(claim, self._trust.roster_key, roster, head, hashes)
        except ProtocolError as error:
            raise MisfitError(Misfit(line=line, kind=WITNESSED, reason=str(error))) from None

    def _misfit(self, index: int, leaf: Leaf, error: ProtocolError) -> Misfit:
        releases, ended = self._log.releases, leaf.kind is LeafKind.END
        whose = error.institution if isinstance(error, MismatchError) else None
        whose = whose or (self._log.opening.institution if releases is None else None)
        if whose is None and leaf.kind in SIGNED_BY_INSTITUTIONS:
            whose = claimed(leaf.content, "institution")
        return Misfit(
            line=FIRST_LEAF_LINE + index,
            leaf=index,
            kind=leaf.kind.value,
            institution=None if ended else whose,
            step=None if releases is None or ended else releases.state.release.step,
            reason=str(error),
        )

    def report(self, misfit: Misfit | None) -> AuditReport:
        """Return the findings so far."""
        releases, plan = self._log.releases, self._log.opening.plan
        names = self._log.opening.participants
        found = AuditReport(
            header=self._transcript.header,
            misfit=misfit,
            roster=self._log.opening.roster,
            plan=plan,
            participants=names,
            leaves=len(self._transcript.leaves),
            state=UNFINISHED if self._log.end is None else self._log.end.state,
            reason="" if self._log.end is None else self._log.end.reason,
            cosigned={name: one.size for name, one in self._cosigned.items()},
            checked={name: one.checked for name, one in self._cosigned.items()},
            objections={
                name: one.misfit for name, one in self._cosigned.items() if one.misfit is not None
            },
            witnessed=self._witnessed,
        )
        if releases is None or plan is None:
            return found
        state = releases.state
        return replace(
            found,
            large=self._is_large(plan, names, releases.untravelled),
            blame=None if misfit else self._blame(state),
            final=state,
            steps=state.results.steps,
            requests=state.requests,
            sums=state.sums,
            recomputed=state.recomputed,
            model=state.model,
            metrics=state.results.metrics,
            measured=state.results.measured,
            groups=read_groups(plan, state.results.groups),
            guard=read_guard(plan, state.results.guard),
            answers=releases.answers,
            institutions=_institutions(plan, names, releases.trail.spent),
        )

    def _blame(self, state: RunState) -> Blame | None:
        """Make the masks of a rehearsal that failed again, where its vectors are kept."""
        replies = state.last.replies.values() if state.last else ()
        if not all(self._vectors.holds(reply.body.vector) for reply in replies):
            return None
        found = failed_rehearsal(state, self._transcript.leaves, self._vectors.vector)
        return blame(found) if found else None

    def _is_large(self, plan: Plan, names: tuple[str, ...], vectors: int) -> bool:
        log = _answered_bytes(self._transcript.leaves)
        followed = is_recomputed(plan, ReleaseKind.TRAINING, len(names))  # who opened the run
        return not followed or log + vectors > MOST_SHOWN


def _answered_bytes(leaves: Iterable[Leaf]) -> int:
    """Return a log's size as far as its coordinator cannot write it alone.

    Each leaf counts once, and a request once somebody answered it; ends and requests that nobody
    answered count up to a limit, since a coordinator can add as many of them as it likes.
    """
    counted, alone, waiting, seen = 0, 0, 0, set[bytes]()
    for leaf in leaves:
        mark = leaf.hash
        size = 0 if mark in seen else len(leaf.to_bytes()) + 1
        seen.add(mark)
        if leaf.kind is LeafKind.REQUEST:
            alone, waiting = alone + waiting, size
        elif leaf.kind is LeafKind.END:
            alone += size
        else:
            answered = leaf.kind in SIGNED_BY_INSTITUTIONS
            counted += size + (waiting if answered else 0)
            waiting = 0 if answered else waiting
    return counted + min(alone + waiting, MOST_ALONE)


def _institutions(
    plan: Plan, names: Iterable[str], spent: Mapping[str, RunSpending]
) -> dict[str, InstitutionReport]:
    epsilons: dict[int, float] = {}

    def epsilon(picomu2: int) -> float:
        """Return the epsilon of a cost, computed once for each."""
        if picomu2 not in epsilons:  # most institutions spent the same
            epsilons[picomu2] = plan.epsilon(picomu2 / PICOMU2) if picomu2 else 0.0
        return epsilons[picomu2]

    found = {name: spent.get(name, RunSpending()) for name in names}
    return {
        name: InstitutionReport(
            spent=one, epsilon=epsilon(one.debits), at_most=epsilon(one.asked.total)
        )
        for name, one in found.items()
    }

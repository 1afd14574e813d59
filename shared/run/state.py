"""The state of a run: its results so far and the leaf that has to come next.

A run is a sequence of leaves (`shared/transcript/leaves.py`). These rules hold after its opening:

- The rehearsal comes first, and then whatever is due, in the order of the plan's positions; a
  release is asked for until an attempt has a reply of everybody in it.
- Before a request the run may be opened anew; requests are under the newest opening that all
  agreed on.
- Where vectors open, everybody's commitment comes before the first reply, and every reply names
  all of them. Such an attempt is paid for; one that ended before is not.
- An attempt that everybody answered is summed before anything else, also before an END; attempts
  are counted without a gap, and nobody joins for another one. After an END the same request may be
  asked again.
- A sum is followed by its kind's record, and that by the next release's request, which binds
  what follows from the sum.
- A rehearsal that is not zero ends the run: its participants' keys follow, each once, and ENDs.
- Later questions are announced before they are asked: after the rehearsal or after answers.
- When nothing is left to ask, the model closes the run, where one was trained.

States are values: `after` returns a new one, or raises and leaves everything as it was.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fieldfare.shared.errors import RefusalCode, StudyError
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    Commitment,
    RehearsalKeys,
    ReleaseKind,
    Reply,
    Request,
    VerifiedMessage,
    open_envelope,
)
from fieldfare.shared.protocol.plan import ReleaseTerms
from fieldfare.shared.protocol.roster import COORDINATOR, Roster
from fieldfare.shared.ring import Word, encode
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.kinds import KINDS, Content, Release, SummedRelease, next_kind
from fieldfare.shared.run.mismatch import MismatchError, expect
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import decoded_sum, words_hash
from fieldfare.shared.run.request_check import AgreedRun, check_request
from fieldfare.shared.run.results import UNKNOWN, Results
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    ModelRecord,
    QuestionsRecord,
    SumRecord,
    UnsignedLeaf,
)

Added = Callable[[Attempt, ReleaseTerms], Word | None]
FOLLOW: Final = "the parameters that follow"
OPENS: Final = frozenset({LeafKind.HELLO, LeafKind.OPENING, LeafKind.OFFER})


def deleted(attempt: Attempt, terms: ReleaseTerms) -> Word | None:
    """Add nothing up: an attempt's vectors are not there any more."""
    del attempt, terms
    return None


@dataclass(frozen=True, eq=False, kw_only=True)
class RunState:
    """Where a run stands after its opening.

    Attributes:
        run: as its participants agreed on it.
        roster: who signs.
        protection: whether signatures are there at all.
        openings: so far; None for those who keep no leaves.
        release: what is due, or being answered; the last one where nothing is left to ask.
        results: of the releases so far.
        attempts: at this release.
        opened: those of them that may have been paid for.
        attempt: the last one, while it is not summed.
        asked: the last request, summed or not.
        summed: the sum whose record is due.
        due: the leaf that has to come, where it is no release.
        complete: everything was answered that was asked, and no model closes the run.
        model: hash of the finished model.
        end: how the run, or a part of it, ended last.
        last: the summed attempt that goes along with the next request; the rehearsal that failed.
        published: the keys of a rehearsal that failed, by institution.
        purged: a sum could not be added up again, so what follows from it is believed.
        requests: distinct ones.
        sums: of them.
        recomputed: sums that were added up again.
        failed: requests that led to no sum, each time that they were asked.
        debits: 1e-12 mu^2 by institution, and by whose units were read.
    """

    run: AgreedRun
    roster: Roster
    protection: Protection
    release: Release
    results: Results
    openings: RunOpenings | None = None
    attempts: int = 0
    opened: int = 0
    attempt: Attempt | None = None
    asked: VerifiedMessage[Request] | None = None
    summed: SummedRelease | None = None
    due: LeafKind | None = None
    complete: bool = False
    model: str = UNKNOWN
    end: EndRecord | None = None
    last: Attempt | None = None
    purged: bool = False
    requests: int = 0
    sums: int = 0
    recomputed: int = 0
    failed: int = 0
    debits: Mapping[str, SideCosts] = field(default_factory=dict)
    published: Mapping[str, RehearsalKeys] = field(default_factory=dict)

    @classmethod
    def begin(
        cls,
        run: AgreedRun,
        roster: Roster,
        protection: Protection = Protection.EXACT,
        openings: RunOpenings | None = None,
    ) -> "RunState":
        """Return a run before its rehearsal."""
        results = Results()
        release = Release.of(KINDS[ReleaseKind.REHEARSAL], run.plan, results)
        return cls(
            run=run,
            roster=roster,
            protection=protection,
            release=release,
            results=results,
            openings=openings,
        )

    def at_training(
        self, training: TrainingState | None, geometry: Geometry | None = None
    ) -> "RunState":
        """Return the run at a step of its training, for somebody who kept no leaves.

        Args:
            training: that was bound last; None before the first step was asked for.
            geometry: its coordinates; None before their moments are known.
        """
        results = replace(self.results, rehearsed=True, training=training, geometry=geometry)
        if training is not None:
            asked = int(self.run.plan.study.asks_for_knots)  # the answers are in its knots
            results = replace(results, steps=training.step, answered=asked)
            results = replace(results, guarded=self._is_chosen(training))
        return self._advanced(results=results)

    def stands_at(self, training: TrainingState) -> bool:
        """Tell whether a kept training is of where the run stands."""
        results = self.results
        found = (training.step, self._is_chosen(training))
        return (results.steps, results.guarded) == found

    def _is_chosen(self, training: TrainingState) -> bool:
        """Tell whether a training stands at what a guard chose: a model, and no multipliers."""
        plan = self.run.plan
        trained = plan.training.parameter_entries
        return bool(plan.guard.steps) and len(training.parameters) != trained

    def ahead(self, kind: ReleaseKind, step: int) -> "RunState":
        """Return the run at a release that is due later, where no sum before it leads there.

        Args:
            kind: of the release.
            step: its position.

        Returns:
            The run as it is where a sum comes first, or nothing of the kind is due there.
        """
        plan, results = self.run.plan, self.results
        due = {one: one.step(plan, results) for one in KINDS.values() if one.is_due(plan, results)}
        wanted = KINDS[kind]
        sums = any(one.leads(plan) for one, place in due.items() if place < step)
        if due.get(wanted) != step or sums:
            return self
        return replace(self, release=Release.of(wanted, plan, results))

    def expected(self) -> Release | None:
        """Return the release that has to be asked for, or None where another leaf is due."""
        return None if self.done or self.due is not None else self.release

    @property
    def content(self) -> Content:
        """The content that the request of the expected release binds.

        Raises:
            MismatchError: only a deleted sum would tell.
        """
        for content in self.release.kind.contents(self.run.plan, self.results):
            if content.data:
                return content
        raise MismatchError("a sum that the next request follows from", found="a deleted one")

    @property
    def done(self) -> bool:
        """Tell whether the run has nothing left but to end, or later questions to ask."""
        return bool(self.model) or self.complete

    @property
    def allowed(self) -> frozenset[LeafKind]:
        """The kinds of which the next leaf must be. A run may end anywhere, and go on."""
        if self.openings is not None and self.openings.pending:
            return self.openings.allowed | {LeafKind.END}
        if self.done:
            questions = [LeafKind.QUESTIONS] if self.results.later else []
            return frozenset([LeafKind.END, *questions])
        if self.due is not None:
            return frozenset([LeafKind.END, self.due])
        if self.attempt is not None:
            come = (LeafKind.REQUEST, LeafKind.COMMITMENT, LeafKind.REPLY, LeafKind.SUM)
            return frozenset([LeafKind.END, LeafKind.HELLO, *come])
        rehearsed_only = self.sums == 1 and not self.results.later
        either = rehearsed_only and self.run.plan.study.allowance is not None
        questions = [LeafKind.QUESTIONS] if either else []
        return frozenset([LeafKind.END, LeafKind.HELLO, LeafKind.REQUEST, *questions])

    def after(self, leaf: Leaf, added: Added = deleted) -> "RunState":
        """Return the run with one more leaf.

        Args:
            leaf: that comes next.
            added: adds the vectors of an attempt up, or returns None where they were deleted.

        Raises:
            MismatchError: no honest run has this leaf here.
            ProtocolError: it is not well-formed, or not signed by whom it names.
        """
        allowed = self.allowed
        if leaf.kind not in allowed:
            kinds = " or ".join(sorted(kind.value for kind in allowed))
            raise MismatchError(kinds, found=leaf.kind.value)
        if leaf.kind is LeafKind.SUM:
            return self._added(leaf.content, added)
        if leaf.kind in OPENS:
            return self._opened_anew(leaf)
        take = {
            LeafKind.REQUEST: self._asked,
            LeafKind.COMMITMENT: self._committed,
            LeafKind.REPLY: self._answered,
            LeafKind.QUESTIONS: self._announced,
            LeafKind.MODEL: self._closed,
            LeafKind.END: self._ended,
            LeafKind.KEYS: self._published,
        }.get(leaf.kind, self._recorded)
        return take(leaf.content)

    def _opened_anew(self, leaf: Leaf) -> "RunState":
        if self.openings is None:
            raise MismatchError("a run whose openings are known")
        openings, run = self.openings.after(leaf), self.run
        if openings.agreed is not None:
            run = replace(run, opening=openings.agreed)
        return replace(self, openings=openings, run=run)

    # -- what is asked ------------------------------------------------------------------

    def bind(self, request: Request) -> "RunState":
        """Return the run with the content that a request for the due release binds.

        Raises:
            MismatchError: NOT_RECOMPUTED: it does not follow from the sums before.
        """
        bound, code = request.parameters, RefusalCode.NOT_RECOMPUTED
        geometry = self.release.kind.geometry(self.run.plan, self.results)
        expect("the coordinates that follow", geometry, request.geometry, code)
        if self.attempts:
            expect(FOLLOW, self.results.bound, bound, code)
        seen = []
        for content in self.release.kind.contents(self.run.plan, self.results):
            if content.hash == bound:
                return replace(self, results=replace(content.results, bound=bound))
            seen.append(content.hash)
        if not seen and self.purged:
            return replace(self, results=replace(self.results, bound=bound))
        if len(seen) == 1:
            expect(FOLLOW, seen[0], bound, code)
        raise MismatchError(self.release.kind.missing or FOLLOW, code=code)

    def _asked(self, content: bytes) -> "RunState":
        opened = open_envelope(content, Request, self.roster, self.protection)
        expect("the coordinator's signature", COORDINATOR, opened.signer)
        check_request(self.run, opened.body, due=self.release)
        results, attempt = self.bind(opened.body).results, self._attempted(opened)
        again = self.attempt is not None and self.attempt.hash == attempt.hash
        return replace(
            self,
            results=results,
            attempt=attempt,
            asked=opened,
            attempts=self.attempts + int(not again),
            opened=self.opened + int(not again and attempt.opened),
            requests=self.requests + int(not again),
            failed=self.failed + int(self.attempt is not None),
        )

    def _attempted(self, opened: VerifiedMessage[Request]) -> Attempt:
        """Return a new attempt, or the last one again (docs/design.md, "Attempts")."""
        before, request, found = self.attempt, opened.body, opened.body.hash
        if before is not None:
            if found == before.hash and (before.interrupted or before.missing):
                return before.again(opened)
            if not before.missing:
                raise MismatchError("the sum of an attempt that everybody answered")
            if not {named.institution for named in request.participants} <= set(before.answers):
                raise MismatchError("an attempt with the same or fewer participants")
        aggregation = self.run.plan.study.aggregation
        expect("the next attempt", self.attempts, request.attempt)
        if request.attempt >= aggregation.most_tries or self.opened >= aggregation.attempts:
            raise MismatchError(f"at most {aggregation.attempts} attempts", found="another one")
        return Attempt(opened, found)

    def _announced(self, content: bytes) -> "RunState":
        """Take later questions: they are the allowance's, and the next release is theirs."""
        later = (*self.results.later, QuestionsRecord.from_bytes(content).group)
        try:
            return self._advanced(results=replace(self.results, later=later), complete=False)
        except StudyError as error:
            raise MismatchError.because(error, RefusalCode.NOT_IN_PLAN) from None

    # -- what is answered ---------------------------------------------------------------

    def _committed(self, content: bytes) -> "RunState":
        opened = open_envelope(content, Commitment, self.roster, self.protection)
        before = self._open_attempt()
        attempt = before.with_commitment(opened)
        first = attempt.opened and len(before.committed) < len(before.answers)
        return replace(self, attempt=attempt, opened=self.opened + int(first))

    def _answered(self, content: bytes) -> "RunState":
        opened = open_envelope(content, Reply, self.roster, self.protection)
        before, name = self._open_attempt(), opened.body.institution
        attempt, debits = before.with_reply(opened), dict(self.debits)
        if before.is_new(opened):
            terms = self.release.terms
            debits[name] = debits.get(name, SideCosts()).plus(terms.side, terms.cost)
        return replace(self, attempt=attempt, debits=debits)

    def _open_attempt(self) -> Attempt:
        if self.attempt is None:
            raise MismatchError("a request before it")
        return self.attempt

    # -- what is made of it -------------------------------------------------------------

    def _added(self, content: bytes, added: Added) -> "RunState":
        attempt, terms = self._open_attempt(), self.release.terms
        if attempt.missing:
            what = "a reply of every participant before the sum"
            raise MismatchError(what, found="none", institution=attempt.missing[0])
        record = SumRecord.from_bytes(content)
        expect("the sum of the request before it", attempt.hash, record.request)
        names, summed = ", ".join(attempt.replies), ", ".join(record.participants)
        expect("everybody who answered in the sum", names, summed)
        words = added(attempt, terms)
        if words is not None:
            expect("the sum of the vectors", words_hash(words, terms.word_bits), record.words)
        return self._with_sum(attempt, words, record.words, self.results)

    def _with_sum(
        self, attempt: Attempt, words: Word | None, hashed: str, results: Results
    ) -> "RunState":
        kind, terms, count = self.release.kind, self.release.terms, attempt.request.n
        values = None if words is None else decoded_sum(words, terms, count)
        summed = SummedRelease(terms, self.release.step, count, hashed, values)
        found = kind.after(self.run.plan, results, summed)
        changes: dict[str, Any] = {
            "results": found,
            "attempt": None,
            "attempts": 0,
            "opened": 0,
            "last": attempt if kind.leads(self.run.plan) else self.last,
            "purged": self.purged or words is None,
            "sums": self.sums + 1,
            "recomputed": self.recomputed + int(words is not None),
        }
        if kind.record is None:
            return self._advanced(**changes)
        return replace(self, summed=summed, due=kind.record.KIND, **changes)

    def record(self, words: bytes) -> UnsignedLeaf | None:
        """Return the record that an honest coordinator writes after the sum; None where none is.

        Args:
            words: of the sum, as they are sent.
        """
        if self.summed is None or self.due is None:
            return None
        return self.release.kind.write(self.run.plan, self.results, self.summed, words)

    def settled(self, asked: VerifiedMessage[Request], words: Word) -> "RunState":
        """Return the run after the sum of the due release, without leaves.

        Args:
            asked: the request that everybody in it answered.
            words: uint64 (entries,), the vectors of everybody in the sum, added up.

        Raises:
            MismatchError, ProtocolError: no honest run has this request, or such a sum.
        """
        bits, results = self.release.terms.word_bits, self.bind(asked.body).results
        attempt = Attempt(asked, asked.body.hash)
        state = self._with_sum(attempt, words, words_hash(words, bits), results)
        record = state.record(encode(words, bits))
        return state if record is None else state.after(record.leaf())

    def _recorded(self, content: bytes) -> "RunState":
        if self.summed is None:
            raise MismatchError("a sum before it")
        kind = self.release.kind
        return self._advanced(results=kind.read(self.run.plan, self.results, self.summed, content))

    def _advanced(self, *, results: Results, **changes: Any) -> "RunState":
        """Go on to the next release, or to what closes the run."""
        plan, kind = self.run.plan, next_kind(self.run.plan, results)
        state = replace(self, results=results, summed=None, due=None, **changes)
        if results.remains:
            return replace(state, due=LeafKind.KEYS)
        if kind is not None:
            return replace(state, release=Release.of(kind, plan, results))
        if not results.later and plan.study.trains:
            return replace(state, due=LeafKind.MODEL)
        if results.answered:
            return replace(state, complete=True)
        later = Release.of(KINDS[ReleaseKind.QUERY], plan, results)  # none is declared
        return replace(state, release=later, due=LeafKind.QUESTIONS)

    def _published(self, content: bytes) -> "RunState":
        """Take the keys that a participant of a failed rehearsal published."""
        return self.with_keys(open_envelope(content, RehearsalKeys, self.roster, self.protection))

    def with_keys(self, opened: VerifiedMessage[RehearsalKeys]) -> "RunState":
        """Return the run with the keys that a participant of its failed rehearsal published.

        Raises:
            MismatchError: not signed by whom they are of, or not of that rehearsal.
        """
        last = self.last
        if last is None:
            raise MismatchError("a rehearsal before it")
        body, request, name = opened.body, last.request, opened.body.institution
        expect("a signature by the keys' institution", name, opened.signer)
        if name in self.published or name not in last.answers:
            raise MismatchError("the keys of each participant, once", institution=name)
        expected = (request.study, request.run, request.opening, last.hash, last.answers[name])
        found = (body.study, body.run, body.opening, body.request, body.answer)
        expect("keys of the rehearsal's opening", expected, found)
        return replace(self, published={**self.published, name: body})

    def _closed(self, content: bytes) -> "RunState":
        record = ModelRecord.from_bytes(content)
        expect("the model that was evaluated", self.results.model, record.model)
        expect("a model after step", self.results.steps, record.steps)
        return replace(self, model=record.model, due=None)

    def _ended(self, content: bytes) -> "RunState":
        """Take the end of the run, or of a part of it; a stopped or failed run may go on."""
        record = EndRecord.from_bytes(content)
        if self.attempt is not None and not self.attempt.missing:  # kept together with its sum
            raise MismatchError("the sum of an attempt that everybody answered", found="an end")
        if record.state == "finished" and not self.done:
            raise MismatchError("a model or answers before a finished end", found="none")
        attempt = self.attempt and replace(self.attempt, interrupted=True)
        openings = self.openings and self.openings.interrupted()
        return replace(self, end=record, attempt=attempt, openings=openings)

    def resumed(self, training: TrainingState) -> "RunState":
        """Return the run with a checkpoint, in place of the steps that were not taken again.

        Args:
            training: after the last step that was summed.

        Raises:
            MismatchError: of another step.
        """
        expect("a checkpoint after step", self.results.steps, training.step)
        state = replace(self, purged=False)
        started = self.results.answers and self.run.plan.study.asks_for_knots
        if self.results.training is not None or (started and not training.step):
            return state  # known already, or it starts on knots that are newer
        return replace(state, results=replace(self.results, training=training))

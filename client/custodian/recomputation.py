"""Whether a request's parameters follow from the last step's signed replies.

The coordinator does nothing to sums that a custodian cannot do again: it adds them up and
takes a step of Adam. So every custodian takes that step itself, from the replies that the
participants signed, and answers only for the parameters that come out, bit for bit. A
crafted parameter vector is refused, not just logged (docs/design.md, "Recomputation").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fieldfare.client.custodian.admission import ApprovedRun
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import ModelEvidence
from fieldfare.client.ledger.kept_states import OpenedRehearsal
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import (
    EVALUATED_STATE,
    FOLLOWED_STATE,
    GEOMETRY_STATE,
    MEASURED_STATE,
    PROGRESS_STATE,
    REHEARSED_STATE,
)
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, ProtocolError, RefusalCode
from fieldfare.shared.evaluation.metrics import same_metrics
from fieldfare.shared.geometry.geometry import Geometry
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.delivery import Delivery
from fieldfare.shared.protocol.messages import (
    Commitment,
    LastSum,
    ReleaseKind,
    Reply,
    Request,
    VerifiedMessage,
    parameters_hash,
    parameters_to_bytes,
)
from fieldfare.shared.protocol.plan import (
    Plan,
    ReleaseTerms,
    carries_last_sum,
    is_recomputed,
    plan_for,
)
from fieldfare.shared.ring import Word
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.coordinates import geometry_in, plain_parameters
from fieldfare.shared.run.kinds import KINDS
from fieldfare.shared.run.mismatch import MismatchError
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import add_words, words_hash
from fieldfare.shared.run.state import RunState
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.late import late

# A card comes once a run, with the finished model.
metrics_of: Final = late("fieldfare.shared.finished_model.card", "metrics_of")


@dataclass(frozen=True)
class Recomputation:
    """One institution's own account of where a run stands.

    Attributes:
        run: as it was opened.
    """

    party: Party
    ledger: Ledger
    run: ApprovedRun
    parsed: dict[tuple[str, str], Geometry] = field(default_factory=dict)  # the last, by its hash

    def check(self, request: Request, last: LastSum, shown: bytes = b"") -> dict[str, bytes]:
        """Recompute the parameters that `request` binds.

        Args:
            request: whose frame, participants and terms were checked before.
            last: the sum of the step before; looked at where this step's state is not known.
            shown: coordinates that came along; looked at where their moments do not travel.

        Returns:
            States to keep, by name, in the transaction that debits the release: where the run
            stands now, and which model an evaluation bound. No progress where nothing is
            recomputed (simulations; sums that are too large to be sent again).

        Raises:
            PolicyRefusal: NOT_RECOMPUTED.
            LedgerError: what was kept cannot be read.
        """
        if not KINDS[request.kind].follows:  # from a sum; questions follow from the study
            return {}
        run = self.run
        geometry = self._known_geometry(request, shown)
        kept = self._kept_once(request, geometry)
        if self.party.protection is Protection.SIMULATED:
            return kept
        if request.kind is ReleaseKind.EVALUATION:
            kept |= self._evaluated(request)
        if not is_recomputed(run.plan, request.kind, run.opened_by):
            trained = is_recomputed(run.plan, ReleaseKind.TRAINING, run.opened_by)
            if run.plan.study.asks_for_knots and not trained:
                # Whoever makes up knots makes up parameters.
                raise _refused("expected knots that can be recomputed: fewer participants or bins")
            return kept
        state = RunState.begin(run, self.party.roster)
        if request.kind is not ReleaseKind.REHEARSAL:
            before = kept_training(self.ledger, request.study, request.run)
            state = state.at_training(before, geometry)
        followed: list[bytes] = []
        try:
            results = self._bound(state, request, last, followed).results
        except ProtocolError as error:
            raise _refused(str(error)) from None
        training = results.training
        if training is None:
            raise _refused("expected parameters that were recomputed")
        if followed:
            name = FOLLOWED_STATE + request.run
            known = self.ledger.run_state(request.study, name) or b""
            kept[name] = known + b"".join(followed)
        kept |= self._kept_once(request, results.geometry)
        return kept | {PROGRESS_STATE + request.run: training.to_bytes()}

    def geometry(self, request: Request, progress: Mapping[str, bytes]) -> Geometry | None:
        """Return the coordinates that a step is taken in; None where its study has none.

        Args:
            request: that was checked.
            progress: what `check` returned for it.
        """
        if not request.geometry:
            return None
        name = GEOMETRY_STATE + request.run
        content = progress.get(name) or self.ledger.run_state(request.study, name) or b""
        return self._parsed(content, request.geometry)

    def _kept_once(self, request: Request, geometry: Geometry | None) -> dict[str, bytes]:
        """Return the coordinates that a step binds, to be kept with it if they are not yet."""
        name = GEOMETRY_STATE + request.run
        if geometry is None or not request.geometry or self.ledger.run_state(request.study, name):
            return {}
        return {name: geometry.to_bytes()}

    def _known_geometry(self, request: Request, shown: bytes) -> Geometry | None:
        """Return a run's coordinates as they are kept here, or as they came where any will do.

        None where the study has none, or where they follow from the sum that comes along.

        Raises:
            PolicyRefusal: others than the request binds, or none where the run needs them.
        """
        run = self.run
        if run.plan.study.geometry is None:
            return None
        kept = self.ledger.run_state(request.study, GEOMETRY_STATE + request.run)
        if kept is None and not request.geometry:
            return None
        travels = carries_last_sum(run.plan, ReleaseKind.MOMENTS, run.opened_by)
        if kept is None and travels and self.party.protection is Protection.EXACT:
            return None
        if not kept and not shown:
            raise _refused(
                "expected the run's coordinates, which come with the first step that is taken "
                "here, found none, kept or sent: the coordinator sends them when it resumes the run"
            )
        return self._parsed(kept or shown, request.geometry)

    def _parsed(self, content: bytes, wanted: str) -> Geometry:
        """Parse a run's coordinates, once while they stay the same.

        Raises:
            PolicyRefusal: NOT_RECOMPUTED: none, or others than are wanted.
        """
        plan = self.run.plan
        key = plan.study_id, bytes_hash(content)
        known = self.parsed.get(key)
        if known is not None and wanted in {"", key[1]}:
            return known
        try:
            found = geometry_in(plan, content, wanted)
        except ProtocolError as error:
            raise _refused(str(error)) from None
        self.parsed.clear()
        self.parsed[key] = found
        return found

    def _evaluated(self, request: Request) -> dict[str, bytes]:
        """Note which model an evaluation binds; once it was paid for, the run has no other."""
        if evaluated_model(self.ledger, request.study, request.run) is not None:
            return {}
        bound = f"{request.parameters}:{request.hash}"
        return {EVALUATED_STATE + request.run: bound.encode()}

    def _bound(
        self, state: RunState, request: Request, last: LastSum, followed: list[bytes]
    ) -> RunState:
        """Return the run with what `request` binds; where it stood, or one release later.

        A sum that is added up on the way is noted in `followed`.

        Raises:
            ProtocolError: another release, not the sum before it, or nothing that follows.
        """
        place = request.kind, request.step
        state = state.ahead(*place)
        if state.release.place != place:
            state = self._with_last(state, last, followed).ahead(*place)
        if state.release.place != place:
            kind, step = state.release.place
            raise MismatchError(f"{kind.value} step {step} or the one before it")
        return state.bind(request)

    def _with_last(self, state: RunState, last: LastSum, followed: list[bytes]) -> RunState:
        """Add the last sum up from what its participants signed, and follow it.

        Raises:
            ProtocolError: not the sum that was expected, or not everybody's own vector.
        """
        opened, run = self.party.from_coordinator(last.request, Request), state.run
        asked, (kind, step) = opened.body, state.release.place
        frame = (run.plan.study_id, run.roster_hash, run.opening.run, step, kind)
        if (asked.study, asked.roster, asked.run, asked.step, asked.kind) != frame:
            raise ProtocolError(f"expected the request of step {step} of this run")
        terms = state.release.terms
        words = self.words(opened, last, terms)
        followed.append(bytes.fromhex(asked.hash + words_hash(words, terms.word_bits)))
        return state.settled(opened, words)

    def words(self, asked: VerifiedMessage[Request], last: LastSum, terms: ReleaseTerms) -> Word:
        """Add up what the participants of a request signed as their answers to it.

        Raises:
            ProtocolError: not everybody's own vector, and one list of commitments.
        """
        # This institution's own reply is among them, so it has checked every term of R before.
        if self.party.institution not in {p.institution for p in asked.body.participants}:
            raise ProtocolError("expected a sum that this institution is part of")
        count = len(asked.body.participants)
        if (len(last.replies), len(last.vectors)) != (count, count):
            raise ProtocolError("expected a reply and a vector of each participant")
        if len(last.statements) != count:
            raise ProtocolError("expected the commitments that were opened, and no others")
        seeds = self._check_replies(asked, last)
        return add_words(last.vectors, terms.word_bits, terms.vectors.entries, seeds)

    def check_rehearsed(self, request: Request, last: LastSum) -> None:
        """Check that the rehearsal that was opened here came to zeros, before records are masked.

        Where it did not, a peer may have published its keys, and its masks hide nothing any more.

        Raises:
            PolicyRefusal: NOT_RECOMPUTED: it was not shown, or was of fewer participants.
        """
        opened = last_rehearsal(self.ledger, request)
        if opened.opening != request.opening or not may_blame(self.party, self.run):
            return
        terms = self.run.plan.terms(ReleaseKind.REHEARSAL)
        try:
            asked = self.party.from_coordinator(last.request, Request)
            words = self.words(asked, last, terms)
        except ProtocolError as error:
            raise _refused(str(error)) from None
        joined = set(request.participants) - set(asked.body.participants)
        if opened.reply not in last.replies or words.any() or joined:
            raise _refused("expected the zeros of the rehearsal before this step")

    def _check_replies(self, opened: VerifiedMessage[Request], last: LastSum) -> tuple[str, ...]:
        """Check that each participant signed its vector as the answer to this R.

        Returns:
            The seeds that open the vectors.

        Raises:
            ProtocolError: somebody did not, or replies name two different lists of commitments.
        """
        named = [participant.institution for participant in opened.body.participants]
        attempt = Attempt(opened, opened.body.hash).with_commitments(
            self.party.from_member(envelope, Commitment, name)
            for name, envelope in zip(named, last.statements, strict=True)
        )
        replies = [
            self.party.from_member(envelope, Reply, name)
            for name, envelope in zip(named, last.replies, strict=True)
        ]
        attempt = attempt.with_replies(replies)
        for reply, vector in zip(replies, last.vectors, strict=True):
            if reply.body.vector != bytes_hash(vector):
                raise ProtocolError("expected each participant's own signed vector")
        return attempt.seeds


def last_rehearsal(ledger: Ledger, request: Request) -> OpenedRehearsal:
    """Return what was opened last of the rehearsals of a request's run.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    kept = ledger.run_state(request.study, REHEARSED_STATE + request.run)
    return OpenedRehearsal.from_bytes(kept)


def may_blame(party: Party, run: ApprovedRun) -> bool:
    """Say whether keys may be published where a run's rehearsal fails (docs/protocol.md).

    What does not fit into one message nobody could check.
    """
    exact = party.protection is Protection.EXACT
    return exact and carries_last_sum(run.plan, ReleaseKind.REHEARSAL, run.opened_by)


def kept_geometry(ledger: Ledger, plan: Plan, run: str) -> Geometry | None:
    """Return the coordinates of a run as they are kept here; None where it has none.

    Raises:
        LedgerError: what was kept cannot be read.
    """
    content = ledger.run_state(plan.study_id, GEOMETRY_STATE + run)
    try:
        return None if content is None else geometry_in(plan, content, "")
    except ProtocolError as error:
        raise LedgerError(f"expected a run's kept coordinates: {error}") from None


def kept_training(ledger: Ledger, study: str, run: str) -> TrainingState | None:
    """Return how far this institution has followed a run's training; None where it has not.

    Raises:
        LedgerError: what was kept cannot be read.
    """
    content = ledger.run_state(study, PROGRESS_STATE + run)
    if content is None:
        return None
    try:
        return TrainingState.from_bytes(content)
    except ProtocolError as error:
        raise LedgerError(f"expected a run's kept progress: {error}") from None


def evaluated_model(ledger: Ledger, study: str, run: str) -> str | None:
    """Return the hash of the model that a run's evaluation bound, once it was paid for here.

    A commitment alone is free: a coordinator can have one to whatever it likes.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    kept = ledger.run_state(study, EVALUATED_STATE + run) or b""
    model, _, asked = kept.decode().partition(":")
    return model if asked and ledger.stored(asked) is not None else None


def recomputed_model(ledger: Ledger, study: Study, run: str) -> NDArray[np.float64] | None:
    """Return float64 (entries,), a run's averaged model as it was recomputed here.

    None where this institution did not stay to the last step, or nothing is recomputed.

    Raises:
        LedgerError: what was kept cannot be read.
    """
    state = kept_training(ledger, study.id, run)
    if state is None or state.step != study.training.steps:
        return None
    return plain_parameters(kept_geometry(ledger, plan_for(study), run), state.model)


def model_evidence(ledger: Ledger, study: Study, delivery: Delivery, card: bytes) -> ModelEvidence:
    """Return this institution's own evidence for a model that is said to be a run's.

    Args:
        ledger: its own.
        study: that was approved here.
        delivery: of the model.
        card: the model's, whose hash was compared.

    Raises:
        PolicyRefusal: NOT_RECOMPUTED: the run that it knows made another one.
        ProtocolError: no card.
        LedgerError: what was kept cannot be read.
    """
    run, model = delivery.run, delivery.model
    evaluated = evaluated_model(ledger, study.id, run)
    if evaluated is None:
        return ModelEvidence.UNVERIFIED
    if evaluated != model:
        raise _refused("expected the model that was evaluated here")
    own = recomputed_model(ledger, study, run)
    if own is None:
        return ModelEvidence.FINISHED
    if parameters_hash(parameters_to_bytes(own)) != model:
        raise _refused("expected the model that was recomputed here")
    measured = ledger.run_state(study.id, MEASURED_STATE + run)
    if measured is None:
        return ModelEvidence.RECOMPUTED
    if not same_metrics(measured.decode(), metrics_of(card)):
        raise _refused("expected a card with the metrics that were read off the sum here")
    return ModelEvidence.MEASURED


def _refused(text: str) -> PolicyRefusal:
    return PolicyRefusal(RefusalCode.NOT_RECOMPUTED, text)

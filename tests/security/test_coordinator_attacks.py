"""A coordinator that lies to one institution, to all of them, or to itself.

The real coordinator runs over real custodians; between them stands somebody who has its key.
Whoever was lied to answers nothing that it did not agree to, pays for nothing, and what the
coordinator writes down afterwards either leaves the lie out or does not fit.

What else of this kind is tested, and where:

| attack | test |
|---|---|
| no token, a wrong one, a node that is not registered, another's key | test_superlink_surface |
| all of these against a whole deployment | deployment/test_attacks |
| anything at a custodian's socket | test_custodian_socket |
| requests, openings and offers with one thing wrong | test_hostile_requests |
| crafted parameters at every step, sums that are none | custodian/release/test_recomputation |
| a bundle that institutions do not list | deployment/nodes/test_nodes |
| a transcript with a byte changed, or a lie that is signed | test_transcript_bytes |
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from flwr.app import Message
from tests.support.attacks.lies import STRANGER, Lie, elsewhere, nudged, with_participants, without
from tests.support.federations.bench import Bench
from tests.support.federations.settings import BANKS, STEPS, Book, MakeSetting, Setting, make_study
from tests.support.homes.institutions import Coordinator, OpenCustody, approve_all, home_study
from tests.support.runs.transcripts import Recorder

from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.home.studies import State, kept_study
from fieldfare.client.oversight.transcript_check import compare_replies, recorded_replies
from fieldfare.server.run.record import Record
from fieldfare.server.run.server_app import Outcome
from fieldfare.server.store.store import run_store
from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.errors import RefusalCode
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD, refusal_in
from fieldfare.shared.protocol.messages import (
    Commitment,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.study.comparison import compare
from fieldfare.shared.transcript.file import Misfit, write_transcript
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind, tree_head
from fieldfare.simulations.federation.federation import FIRST_NODE

VICTIM: Final = "bank-c"
OTHERS: Final = tuple(name for name in BANKS if name != VICTIM)
TRAINING, EVALUATION, REHEARSAL = (
    ReleaseKind.TRAINING,
    ReleaseKind.EVALUATION,
    ReleaseKind.REHEARSAL,
)
MALFORMED: Final = Refusal(RefusalCode.MALFORMED)


# -- lies to one institution -----------------------------------------------------------------


@dataclass
class Liar:
    """On the wire to one institution, with the coordinator's key: lies at one release."""

    setting: Setting
    lie: Lie
    place: tuple[ReleaseKind, int]
    told: list[Request] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)  # what the others were asked then
    said: list[RefusalCode] = field(default_factory=list)
    committed: list[Commitment] = field(default_factory=list)
    answered: list[Reply] = field(default_factory=list)
    before: int = -1  # entries in the victim's ledger when it was lied to

    def __call__(self, message: Message) -> None:
        if not message.has_content():
            return
        record: Any = message.content[RECORD]
        node = FIRST_NODE + BANKS.index(VICTIM)
        if message.metadata.dst_node_id == node and "request" in record:
            self._ask(record)
        if message.metadata.src_node_id == node and self.told:
            self._hear(record)

    def _open(self, content: bytes, body: Any) -> Any:
        return open_envelope(
            content, body, self.setting.federation.identities.roster, Protection.EXACT
        )

    def _ask(self, record: Any) -> None:
        request = self._open(record["request"], Request).body
        if (request.kind, request.step) != self.place:
            return
        told, content = self.lie.told(request, record["parameters"])
        self.asked.append(request)
        self.told.append(told)
        self.before = self.setting.federation.ledgers[VICTIM].position().sequence
        signer = self.setting.federation.identities.coordinator
        record["request"], record["parameters"] = sign_envelope(told, COORDINATOR, signer), content

    def _hear(self, record: Any) -> None:
        refusal = refusal_in(record)
        if refusal is not None:
            self.said.append(refusal.code)
        elif "commitment" in record:
            self.committed.append(self._open(record["commitment"], Commitment).body)
        elif "reply" in record:
            self.answered.append(self._open(record["reply"], Reply).body)


LIES: Final[dict[str, tuple[Lie, tuple[ReleaseKind, int], RefusalCode]]] = {
    "other parameters in the rehearsal": (
        *(Lie(parameters=elsewhere), (REHEARSAL, 0)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "other parameters in the first step": (
        *(Lie(parameters=elsewhere), (TRAINING, 0)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "one bit of one parameter in the second step": (
        *(Lie(parameters=nudged), (TRAINING, 1)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "other parameters in the last step": (
        *(Lie(parameters=elsewhere), (TRAINING, STEPS - 1)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "another model in the evaluation": (
        *(Lie(parameters=nudged), (EVALUATION, STEPS)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "a stranger takes part": (
        *(with_participants(lambda found: [*found, STRANGER]), (TRAINING, 1)),
        RefusalCode.BAD_PARTICIPANTS,
    ),
    "a participant under another answer": (
        with_participants(
            lambda found: [found[0].model_copy(update={"answer": "0" * 64}), *found[1:]]
        ),
        (TRAINING, 1),
        RefusalCode.BAD_PARTICIPANTS,
    ),
    "it does not take part itself": (without(VICTIM), (TRAINING, 1), RefusalCode.BAD_PARTICIPANTS),
    "it is almost alone": (
        *(without("bank-a", "bank-b"), (TRAINING, 1)),
        RefusalCode.TOO_FEW_PARTICIPANTS,
    ),
    "the step before, again, for parameters that came after it": (
        *(Lie(lambda request: {"step": request.step - 1, "attempt": 1}), (TRAINING, 2)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "a step long before, again": (
        *(Lie(lambda _: {"step": 0, "attempt": 1}), (TRAINING, 2)),
        RefusalCode.STEP_CLOSED,
    ),
    "the step after": (
        *(Lie(lambda request: {"step": request.step + 1}), (TRAINING, 1)),
        RefusalCode.NOT_RECOMPUTED,
    ),
    "a step beyond the last": (
        *(Lie(lambda _: {"step": STEPS}), (TRAINING, STEPS - 1)),
        RefusalCode.NOT_IN_PLAN,
    ),
    "an evaluation instead of a step": (
        *(Lie(lambda _: {"kind": EVALUATION}), (TRAINING, 1)),
        RefusalCode.NOT_IN_PLAN,
    ),
    "less noise": (
        *(Lie(lambda request: {"sigma": request.sigma / 2}), (TRAINING, 1)),
        RefusalCode.WRONG_TERMS,
    ),
}


@dataclass
class Scene:
    """A run in which one institution was lied to, and what the coordinator kept of it."""

    setting: Setting
    liar: Liar
    book: Book
    outcome: Outcome

    @property
    def leaves(self) -> list[Leaf]:
        with run_store(self.book.path) as store:
            return list(store.leaves(self.book.run))

    def entries(self, name: str) -> int:
        return self.setting.federation.ledgers[name].position().sequence

    def audit(self, leaves: list[Leaf]) -> AuditReport:
        """What an auditor finds who gets these leaves, under a head that the coordinator signs."""
        identities, study = self.setting.federation.identities, self.setting.federation.study.id
        with run_store(self.book.path) as store:
            blobs = {name: store.blob(name) or b"" for name in store.blob_names(self.book.run)}
        out, head = io.BytesIO(), tree_head(study, self.book.run, [leaf.hash for leaf in leaves])
        write_transcript(
            out,
            study=study,
            run=self.book.run,
            leaves=leaves,
            blobs=blobs,
            head=sign_envelope(head, COORDINATOR, identities.coordinator),
            cosignatures={},
        )
        out.seek(0)
        return audit(out, Trust(identities.roster.roster_key))

    def with_the_lie(self) -> tuple[int, list[Leaf]]:
        """The leaves with what the victim was asked in place of what the others were."""
        signer = self.setting.federation.identities.coordinator
        leaves, asked = self.leaves, sign_envelope(self.liar.asked[0], COORDINATOR, signer)
        at = next(i for i, leaf in enumerate(leaves) if leaf.content == asked)
        leaves[at] = Leaf(LeafKind.REQUEST, sign_envelope(self.liar.told[0], COORDINATOR, signer))
        return at, leaves


@pytest.fixture
def lied_to(make_setting: MakeSetting, tmp_path: Any) -> Callable[..., Scene]:
    def run(lie: Lie, place: tuple[ReleaseKind, int]) -> Scene:
        setting = make_setting(make_study(), Protection.EXACT)
        liar = Liar(setting, lie, place)
        book = Book.begin(setting, tmp_path / "runs.sqlite")
        with book.record() as record:
            kept: Record = record
            job = book.job(kept)
            outcome = job.run(setting.over(setting.federation.grid(tap=liar)))
            record.keep_model(parameters_to_bytes(outcome.parameters))
        return Scene(setting, liar, book, outcome)

    return run


@pytest.mark.parametrize("name", LIES)
def test_who_is_lied_to_refuses_pays_nothing_and_the_others_go_on(
    name: str, lied_to: Callable[..., Scene]
) -> None:
    lie, place, code = LIES[name]
    scene = lied_to(lie, place)
    assert scene.liar.said == [code]
    assert not scene.liar.answered
    assert scene.entries(VICTIM) == scene.liar.before
    assert scene.outcome.participants == OTHERS

    # Written down as it was, the run fits, and the victim's ledger agrees with every reply.
    report = scene.audit(scene.leaves)
    assert report.misfit is None
    assert report.failed_attempts == 1
    assert compared(scene) == ()
    # Written down as the victim saw it, it does not.
    at, leaves = scene.with_the_lie()
    misfit = scene.audit(leaves).misfit
    assert misfit is not None
    assert misfit.leaf is not None
    assert misfit.leaf >= at


def compared(scene: Scene) -> tuple[Any, ...]:
    """What the victim paid for and does not find in the transcript."""
    federation = scene.setting.federation
    held = recorded_replies(federation.ledgers[VICTIM], federation.study.id, scene.book.run)
    return compare_replies(scene.leaves, federation.identities.roster, VICTIM, held, 1).unseen


def test_who_is_told_of_fewer_participants_commits_to_what_nobody_can_use(
    lied_to: Callable[..., Scene],
) -> None:
    """Three are enough by the study: an attempt without a fourth looks like any other."""
    scene = lied_to(without("bank-d"), (TRAINING, 1))
    (told,), (asked,), (committed,) = scene.liar.told, scene.liar.asked, scene.liar.committed
    assert committed.request == told.hash != asked.hash
    assert not scene.liar.answered
    assert scene.entries(VICTIM) == scene.liar.before  # nothing is opened, and nothing paid
    assert scene.outcome.participants == OTHERS

    report = scene.audit(scene.leaves)
    assert report.misfit is None
    assert report.failed_attempts == 1
    assert compared(scene) == ()
    # And shown, it is nobody else's attempt.
    at, leaves = scene.with_the_lie()
    misfit = scene.audit(leaves).misfit
    assert misfit is not None
    assert (misfit.kind, misfit.leaf) == ("commitment", at + 1)


def test_who_answered_another_request_answers_that_attempt_no_more(bench: Bench) -> None:
    """So a coordinator cannot have both: the sum without somebody, and the sum with all."""
    run = bench.open_run()
    fewer = run.request(names=[name for name in bench.names if name != "bank-d"])
    run.answer(VICTIM, fewer)
    before = bench.ledger(VICTIM).position()
    assert run.ask(VICTIM, run.request()) == Refusal(RefusalCode.REPLAY_CHANGED)
    assert bench.ledger(VICTIM).position() == before


# -- two transcripts ---------------------------------------------------------------------------


@dataclass
class Fork:
    """One beginning, and two ways in which it went on."""

    recorder: Recorder
    shared: int  # leaves that both have
    stories: dict[str, list[Leaf]]

    @classmethod
    def of(cls, bench: Bench) -> "Fork":
        recorder = Recorder(bench).open()
        recorder.rehearse()
        recorder.cosign()
        begun = list(recorder.leaves)
        ends = {
            story: EndRecord(state="failed", reason=story).leaf() for story in ("one", "another")
        }
        return cls(recorder, len(begun), {story: [*begun, leaf] for story, leaf in ends.items()})

    def head(self, story: str, size: int | None = None) -> bytes:
        hashes = [leaf.hash for leaf in self.stories[story][:size]]
        bench = self.recorder.bench
        return self.recorder.signed(tree_head(bench.study.id, self.recorder.run, hashes))

    def cosign(self, name: str, story: str, *, size: int | None = None) -> Any:
        log = b"\n".join(leaf.to_bytes() for leaf in self.stories[story][:size])
        custodian = self.recorder.bench.custodian(name)
        shown = ShownLog(self.head(story, size), log)
        return custodian.cosign(self.recorder.bench.study.id, self.recorder.run, shown)

    def misfit(self, story: str, cosignatures: dict[str, bytes]) -> Misfit | None:
        self.recorder.leaves = self.stories[story]
        self.recorder.head, self.recorder.cosignatures = self.head(story), cosignatures
        return self.recorder.audit().misfit


def test_two_institutions_that_are_shown_different_transcripts_give_it_away(bench: Bench) -> None:
    fork = Fork.of(bench)
    signed = {
        "bank-a": fork.cosign("bank-a", "one"),
        "bank-b": fork.cosign("bank-b", "another"),
    }
    assert all(isinstance(envelope, bytes) for envelope in signed.values())
    # Either transcript fits with those who saw it, and neither with the other one.
    for story, sees, other in (("one", "bank-a", "bank-b"), ("another", "bank-b", "bank-a")):
        assert fork.misfit(story, {sees: signed[sees]}) is None
        misfit = fork.misfit(story, signed)
        assert misfit is not None
        assert misfit.kind == "cosignature"
        assert other in misfit.reason


def test_nobody_signs_both_transcripts(bench: Bench) -> None:
    fork = Fork.of(bench)
    assert isinstance(fork.cosign("bank-a", "one"), bytes)
    assert fork.cosign("bank-a", "another") == MALFORMED
    fork.stories["another"] += [EndRecord(state="failed", reason="longer").leaf()] * 3
    assert fork.cosign("bank-a", "another") == MALFORMED
    # It still is where it was: the log that it signed may grow.
    fork.stories["one"].append(EndRecord(state="finished", reason="").leaf())
    assert isinstance(fork.cosign("bank-a", "one"), bytes)


def test_an_old_head_is_not_signed_again(bench: Bench) -> None:
    fork = Fork.of(bench)
    assert isinstance(fork.cosign("bank-a", "one"), bytes)
    for size in (1, fork.shared - 1, fork.shared):
        assert fork.cosign("bank-a", "one", size=size) == MALFORMED
    # Nor does asking make it forget: from the old size another log could grow.
    assert fork.cosign("bank-a", "another") == MALFORMED


def test_a_head_by_somebody_else_or_of_another_run_is_not_signed(bench: Bench) -> None:
    fork = Fork.of(bench)
    recorder, study = fork.recorder, bench.study.id
    hashes = [leaf.hash for leaf in fork.stories["one"]]
    log = b"\n".join(leaf.to_bytes() for leaf in fork.stories["one"])
    for head, code in (
        (recorder.signed_by("bank-b", tree_head(study, "run-1", hashes)), "bad_signature"),
        (recorder.signed(tree_head(study, "run-2", hashes)), "malformed"),
        (recorder.signed(tree_head("0" * 64, "run-1", hashes)), "malformed"),
    ):
        found = bench.custodian("bank-a").cosign(study, "run-1", ShownLog(head, log))
        assert found == Refusal(RefusalCode(code))


# -- a changed study ---------------------------------------------------------------------------


def test_a_study_with_one_number_changed_is_another_study(
    coordinator: Coordinator, custody_of: OpenCustody
) -> None:
    """Same name, less noise for the same price on paper: a person sees which number it was."""
    study = home_study()
    weaker = home_study(privacy__epsilon=study.privacy.epsilon * 2)
    custody = custody_of()
    approve_all(coordinator, [custody], study)
    custodian, home = custody.custodian, custody.institution.home
    assert isinstance(custodian.describe(study.id), HelloAnswer)

    # Under the approved study's signature, with the number changed in place.
    signed = coordinator.signed(study)
    changed = signed.replace(b'\\"epsilon\\":0.5', b'\\"epsilon\\":1')
    assert changed != signed
    bad = Refusal(RefusalCode.BAD_SIGNATURE)
    assert custodian.describe(weaker.id, b"", changed) == bad
    # Signed by a member, and under the approved study's id.
    signer = custody.party.signer
    assert custodian.describe(weaker.id, b"", offer_study(weaker, signer)) == bad
    assert custodian.describe("0" * 64, b"", coordinator.signed(weaker)) == MALFORMED
    assert not home.study(weaker.id).exists()

    # Signed by the coordinator: kept for a person, and nothing is answered for it before.
    unknown = Refusal(RefusalCode.UNKNOWN_STUDY)
    assert custodian.describe(weaker.id, b"", coordinator.signed(weaker)) == unknown
    kept = kept_study(home, weaker.id, coordinator.roster())
    assert kept.decision.state is State.RECEIVED
    shown = {change.key: (change.before, change.after) for change in compare(study, weaker).changes}
    assert list(shown) == ["privacy.epsilon"]
    assert isinstance(custodian.describe(study.id), HelloAnswer)  # the approved one stays approved


def test_a_run_of_a_changed_study_under_the_approved_ones_id_is_answered_by_nobody(
    bench: Bench,
) -> None:
    """Every number that noise, price and masks depend on is computed here, not believed."""
    weaker = bench.study.model_copy(
        update={"privacy": bench.study.privacy.model_copy(update={"epsilon": 8.0})}
    )
    run, terms = bench.open_run(), plan_for(weaker).training
    before = [bench.ledger(name).position() for name in bench.names]
    for name in bench.names:
        request = run.request(sigma=terms.sigma)
        assert run.ask(name, request) == Refusal(RefusalCode.WRONG_TERMS)
        request = run.request(study=weaker.id)
        assert run.ask(name, request) == Refusal(RefusalCode.UNKNOWN_STUDY)
    assert [bench.ledger(name).position() for name in bench.names] == before

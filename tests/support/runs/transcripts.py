"""Real transcripts, for tests that read, break or forge one.

Real custodians answer; what a coordinator does with their answers is done here, openly and
step by step, so that a test can also do it wrong and sign it.
"""

import io
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rfc8785
from tests.support.federations.bench import NAMES, Bench, OpenedVector, make_study, make_sums

from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.server.run.closing import find_untravelled
from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.finished_model.card_writing import CardFacts
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    PROTOCOL_VERSION,
    LastSum,
    MessageBody,
    Participant,
    ReleaseKind,
    Request,
    RunAnswer,
    RunOpening,
    open_envelope,
    parameters_hash,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.run.card_facts import card_facts
from fieldfare.shared.run.kinds.evaluation import read_metrics
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import (
    add_words,
    decoded_sum,
    initial_state,
    model_hash,
    state_hash,
    stepped,
    words_hash,
)
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.file import Misfit, write_transcript
from fieldfare.shared.transcript.heads import ShownLog
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    MetricsRecord,
    ModelRecord,
    ParametersRecord,
    SumRecord,
    tree_head,
)
from fieldfare.simulations.federation.federation import LocalFederation

FORGED_METRICS = MetricsRecord(metrics='{"auroc":0.9991}')


@dataclass
class Recorder:
    """A coordinator that writes down everything; `leaves` and `blobs` may be changed by hand."""

    bench: Bench
    run: str = "run-1"
    leaves: list[Leaf] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    participants: dict[str, Participant] = field(default_factory=dict)
    approvals: dict[str, bytes] = field(default_factory=dict)
    opened: int = 0  # openings so far
    opening: str = ""  # hash of the newest
    present: list[str] = field(default_factory=list)
    state: TrainingState | None = None
    last: LastSum = NO_LAST_SUM
    statements: list[bytes] = field(default_factory=list)  # the commitments of the newest request
    head: bytes = b""
    cosignatures: dict[str, bytes] = field(default_factory=dict)
    cosigned: int = 0  # size of the log at the last head
    spent: dict[str, int] = field(default_factory=dict)  # what ledgers held at the end, pico-mu^2

    @property
    def trust(self) -> Trust:
        """What an auditor knows who compared the coordinator's key."""
        return Trust(self.bench.federation.identities.roster.roster_key)

    # -- a run, part by part ------------------------------------------------------------

    def open(self, names: Sequence[str] | None = None) -> "Recorder":
        """Roster, study, approvals, opening, offers; the custodians agree on their keys."""
        identities, study = self.bench.federation.identities, self.bench.study
        chosen = sorted(names or self.bench.names)
        self._put(LeafKind.ROSTER, offer_roster(identities.roster, identities.roster_key))
        self._put(LeafKind.STUDY, offer_study(study, identities.coordinator))
        found = [self._described(name) for name in chosen]
        self.approvals = {n: each.approval for n, each in zip(chosen, found, strict=True)}
        for envelope in self.approvals.values():
            self._put(LeafKind.APPROVAL, envelope)
        self._open(chosen, [each.answer for each in found])
        self.state, self.present = initial_state(study), chosen
        return self

    def open_anew(self) -> None:
        """Open the run once more with everybody who is left: fresh keys for all pairs."""
        self._open(self.present, [self._described(name).answer for name in self.present])

    def _described(self, name: str) -> HelloAnswer:
        nonce = secrets.token_hex(32)
        return self.bench.described(name, self.run, nonce)

    def _open(self, chosen: Sequence[str], answers: Sequence[bytes]) -> None:
        identities, study = self.bench.federation.identities, self.bench.study
        for name, envelope in zip(chosen, answers, strict=True):
            self._put(LeafKind.HELLO, envelope)
            body = open_envelope(envelope, RunAnswer, identities.roster, Protection.EXACT).body
            self.participants[name] = Participant(institution=name, answer=body.hash)
        signed_for = RunOpening(
            study=study.id,
            roster=identities.roster.hash,
            run=self.run,
            number=self.opened,
            participants=tuple(self.participants[name] for name in chosen),
        )
        self.opened, self.opening = self.opened + 1, signed_for.hash
        opening, approvals = self.signed(signed_for), [self.approvals[name] for name in chosen]
        self._put(LeafKind.OPENING, opening)
        offers = [
            _bytes(self.bench.custodian(name).open_run(opening, answers, approvals))
            for name in chosen
        ]
        for name, offer in zip(chosen, offers, strict=True):
            self._put(LeafKind.OFFER, offer)
            assert self.bench.custodian(name).agree(study.id, self.run, offers) == b""

    def request(
        self, kind: ReleaseKind, step: int, attempt: int, names: Sequence[str] | None = None
    ) -> Request:
        """R as an honest coordinator writes it."""
        terms, privacy = self.bench.plan.terms(kind), self.bench.study.privacy
        chosen = sorted(names or self.present)
        return Request(
            protocol=PROTOCOL_VERSION,
            study=self.bench.study.id,
            roster=self.bench.federation.identities.roster.hash,
            run=self.run,
            opening=self.opening,
            step=step,
            attempt=attempt,
            kind=kind,
            participants=tuple(self.participants[name] for name in chosen),
            n=len(chosen),
            t=privacy.collusion_tolerance,
            multiplicity=privacy.multiplicity,
            clipping_norm=terms.vectors.clipping_norm,
            sigma=terms.sigma,
            gamma_bits=terms.vectors.gamma_bits,
            word_bits=terms.word_bits.value,
            entries=terms.vectors.entries,
            dtype="<u4" if terms.word_bits.value == 32 else "<u8",
            parameters=parameters_hash(self.parameters(kind)),
        )

    def parameters(self, kind: ReleaseKind) -> bytes:
        """What a request of this kind carries now."""
        assert self.state is not None
        is_model = kind is ReleaseKind.EVALUATION
        return parameters_to_bytes(self.state.model if is_model else self.state.parameters)

    def ask(self, request: Request, silent: Sequence[str] = ()) -> dict[str, OpenedVector]:
        """Ask everybody, and all but those who are silent to open; write down what they say."""
        envelope = self.signed(request)
        self._put(LeafKind.REQUEST, envelope)
        names = [named.institution for named in request.participants]
        vectors, commitments = dict[str, bytes](), dict[str, bytes]()
        for name in names:
            found = self.bench.custodian(name).release(
                envelope, self.parameters(request.kind), self.last
            )
            assert isinstance(found, CommitmentReply), found
            self._put(LeafKind.COMMITMENT, found.commitment)
            vectors[name], commitments[name] = found.vector, found.commitment
        self.statements = list(commitments.values())
        answers = {}
        for name in names:
            if name not in silent:
                reply = _bytes(self.bench.custodian(name).reveal(envelope, self.statements))
                answers[name] = OpenedVector(reply, vectors[name], commitments[name])
        for answer in answers.values():
            self._put(LeafKind.REPLY, answer.reply)
        return answers

    def add_up(self, request: Request, answers: Mapping[str, OpenedVector]) -> None:
        """Write the sum down, and the step that it leads to."""
        terms = self.bench.plan.terms(request.kind)
        vectors = [answer.vector for answer in answers.values()]
        seeds = [answer.seed for answer in answers.values()]
        total = add_words(vectors, terms.word_bits, terms.vectors.entries, seeds)
        for answer in answers.values():
            self.blobs[bytes_hash(answer.vector)] = answer.vector
        self.leaves.append(
            SumRecord(
                request=request.hash,
                participants=tuple(answers),
                words=words_hash(total, terms.word_bits),
            ).leaf()
        )
        assert self.state is not None
        values = decoded_sum(total, terms, len(vectors))
        if request.kind is ReleaseKind.EVALUATION:
            metrics = read_metrics(self.bench.plan, values, len(vectors), self.state.model)
            said = "" if metrics is None else rfc8785.dumps(metrics).decode()
            self.leaves.append(MetricsRecord(metrics=said).leaf())
        if request.kind in {ReleaseKind.REHEARSAL, ReleaseKind.TRAINING}:
            self.last = LastSum(
                self.signed(request),
                tuple(answer.reply for answer in answers.values()),
                tuple(vectors),
                tuple(self.statements),
            )
        if request.kind is ReleaseKind.TRAINING:
            self.state = stepped(self.bench.plan, self.state, values, len(vectors))
            record = ParametersRecord(step=self.state.step, parameters=state_hash(self.state))
            self.leaves.append(record.leaf())

    def collect(self, kind: ReleaseKind, step: int, lost: Sequence[str] = ()) -> None:
        """One release; with `lost`, a first attempt that these do not answer.

        Whoever was lost has not seen that step, and stays away.
        """
        if lost:
            self.ask(self.request(kind, step, 0), silent=lost)
            self.present = [name for name in self.present if name not in lost]
        request = self.request(kind, step, int(bool(lost)))
        self.add_up(request, self.ask(request))

    def rehearse(self) -> None:
        """The rehearsal."""
        self.collect(ReleaseKind.REHEARSAL, 0)

    def train(
        self, steps: int | None = None, lost: Mapping[int, Sequence[str]] | None = None
    ) -> None:
        """Training, up to `steps` steps in all."""
        assert self.state is not None
        end = self.bench.study.training.steps if steps is None else steps
        while self.state.step < end:
            step = self.state.step
            self.collect(ReleaseKind.TRAINING, step, (lost or {}).get(step, ()))

    def evaluate(self) -> None:
        """Evaluation, metrics, model."""
        assert self.state is not None
        self.collect(ReleaseKind.EVALUATION, self.bench.study.training.steps)
        self.leaves.append(ModelRecord(model=model_hash(self.state), steps=self.state.step).leaf())

    def end(self, state: str = "finished", reason: str = "") -> None:
        """The end, or the end of a part."""
        self.leaves.append(EndRecord.model_validate({"state": state, "reason": reason}).leaf())

    def cosign(self, names: Sequence[str] | None = None) -> None:
        """Sign a head over everything so far, and have custodians co-sign it."""
        self.sign_head()
        for name in names or self.participants:
            found = self.bench.custodian(name).cosign(self.bench.study.id, self.run, self.shown())
            self.cosignatures[name] = _bytes(found)
        self.cosigned = len(self.leaves)

    def shown(self) -> ShownLog:
        """The log as an honest coordinator shows it."""
        log = b"\n".join(leaf.to_bytes() for leaf in self.leaves)
        vectors = tuple(self.blobs[name] for name in find_untravelled(self.leaves))
        return ShownLog(self.head, log, vectors=vectors)

    def finish(self, lost: Mapping[int, Sequence[str]] | None = None) -> "Recorder":
        """Everything after the opening, to a co-signed end."""
        self.rehearse()
        self.train(lost=lost)
        self.evaluate()
        self.end()
        self.cosign()
        study = self.bench.study.id
        self.spent = {name: self.bench.ledger(name).spent(study) for name in self.bench.names}
        return self

    # -- what a coordinator can sign ----------------------------------------------------

    def signed(self, body: MessageBody) -> bytes:
        """Sign as the coordinator."""
        return sign_envelope(body, COORDINATOR, self.bench.federation.identities.coordinator)

    def signed_by(self, name: str, body: MessageBody) -> bytes:
        """Sign as an institution."""
        return sign_envelope(body, name, self.bench.federation.identities.signers[name])

    def sign_head(self) -> None:
        """Sign a head over the leaves as they are now."""
        hashes = [leaf.hash for leaf in self.leaves]
        self.head = self.signed(tree_head(self.bench.study.id, self.run, hashes))

    def forged(
        self, at: int, body_type: type[MessageBody], signer: str | None = None, **changes: object
    ) -> Leaf:
        """The message at a leaf with other fields, signed again by its signer or by another."""
        roster = self.bench.federation.identities.roster
        opened = open_envelope(self.leaves[at].content, body_type, roster, Protection.EXACT)
        body = opened.body.model_copy(update=changes)
        name = signer or opened.signer
        signed = self.signed(body) if name == COORDINATOR else self.signed_by(name, body)
        return Leaf(self.leaves[at].kind, signed)

    def misfit_with(self, at: int, leaf: Leaf) -> Misfit:
        """What an audit finds where the coordinator put another leaf, and signed that."""

        def put(leaves: list[Leaf]) -> None:
            leaves[at] = leaf

        found = self.audit(self.lie(put)).misfit
        assert found is not None, "the lie was not found"
        return found

    def lie(self, change: Callable[[list[Leaf]], None]) -> bytes:
        """Change leaves, and sign a head over them: a coordinator that lies consistently."""
        leaves, head, cosignatures = list(self.leaves), self.head, self.cosignatures
        try:
            change(self.leaves)
            self.sign_head()
            self.cosignatures = {}
            return self.to_bytes()
        finally:
            self.leaves, self.head, self.cosignatures = leaves, head, cosignatures

    def to_bytes(self, *, purged: bool = False) -> bytes:
        """The exported file."""
        out = io.BytesIO()
        write_transcript(
            out,
            study=self.bench.study.id,
            run=self.run,
            leaves=self.leaves,
            blobs={} if purged else self.blobs,
            head=self.head,
            cosignatures=self.cosignatures,
        )
        return out.getvalue()

    def audit(self, content: bytes | None = None, trust: Trust | None = None) -> AuditReport:
        """Audit the file as it is, or another one."""
        file = io.BytesIO(self.to_bytes() if content is None else content)
        return audit(file, trust or self.trust)

    def facts(self) -> CardFacts:
        """What an honest card says of the run."""
        final, hashes = self.audit().final, [leaf.hash for leaf in self.leaves]
        assert final is not None
        return card_facts(final, size=len(hashes), root=merkle.root(hashes).hex())

    def find(self, kind: LeafKind, number: int = 0) -> int:
        """The index of the `number`-th leaf of a kind."""
        return [i for i, leaf in enumerate(self.leaves) if leaf.kind is kind][number]

    def _put(self, kind: LeafKind, content: bytes) -> None:
        self.leaves.append(Leaf(kind, content))


def _bytes(answer: object) -> bytes:
    assert isinstance(answer, bytes), answer
    return answer


@contextmanager
def bench_in(folder: Path) -> Iterator[Bench]:
    """A bench that outlives one test."""
    study = make_study()
    sums = {name: make_sums(study, 100, seed=index) for index, name in enumerate(NAMES)}
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        yield Bench(federation, sums)


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """A finished run of four banks, one of which was lost at step 1; change copies only."""
    with bench_in(tmp_path_factory.mktemp("recorded")) as bench:
        yield Recorder(bench).open().finish(lost={1: ["bank-c"]})

"""Whole runs written down without any custodian, the same bytes every time.

Keys, key material and vectors follow from a seed. Who signs is made up, and so is what they sum;
everything else is what an honest coordinator does, driven by the run's own state.
"""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.support.runs.asking import asking
from tests.support.runs.started import small_start, starting_at

from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.protocol.messages import (
    PROTOCOL_VERSION,
    Approval,
    Commitment,
    IdentitySigner,
    KeyOffer,
    MessageBody,
    Participant,
    ReleaseKind,
    Reply,
    Request,
    RunAnswer,
    RunOpening,
    encode_key,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import Plan, ReleaseTerms, plan_for
from fieldfare.shared.protocol.roster import COORDINATOR, ROSTER_SIGNER, Member, Roster
from fieldfare.shared.protocol.secure_sum import seed_stream
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.ring import Word, WordBits, add, decode, encode, to_ring
from fieldfare.shared.run.attempt import Attempt
from fieldfare.shared.run.openings import RunOpenings
from fieldfare.shared.run.replay import add_words, words_hash
from fieldfare.shared.run.request_check import AgreedRun
from fieldfare.shared.run.state import RunState
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.file import write_transcript
from fieldfare.shared.transcript.leaves import (
    EndRecord,
    Leaf,
    LeafKind,
    ModelRecord,
    QuestionsRecord,
    SumRecord,
    tree_head,
)

NAMES: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
RUN: Final = "run-1"
NOON: Final = 1_700_000_000  # seconds since 1970, of a first opening
LATER: Final = ({"name": "later", "kind": "count"},)
COUNTED: Final = frozenset(
    {ReleaseKind.GUARD, ReleaseKind.EVALUATION, ReleaseKind.FAIRNESS, ReleaseKind.QUERY}
)
BASE: Final[dict[str, Any]] = {
    "records": {"label": "reported", "units": 4000, "prevalence": 0.3, "unit": "id"},
    "training": {"steps": 3},
    "evaluation": {"score_bins": 8},
    "privacy": {"epsilon": 4.0, "delta": 1e-5},
    "aggregation": {"minimum_institutions": 3, "deadline_seconds": 5, "participants": "any"},
}
FEATURES: Final = (
    {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
    {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
)
GROUP: Final = {"column": "age_band", "levels": ["18-24", "25-64"]}
SPREAD: Final = {"name": "spread", "kind": "quantiles", "column": "amount", "bins": 8}
COUNT: Final = {"name": "units", "kind": "count"}
ALLOWANCE: Final = {"kinds": ["count"], "columns": ["flagged"], "groups": 2}
KNOTS: Final = (
    {"name": "amount", "kind": "numeric", "lower": 0, "upper": 100, "knots_from": "spread"},
    {"name": "channel", "kind": "categorical", "levels": ["branch", "online", "post"]},
)


def base(**changes: Any) -> Study:
    """A small study that trains; keyword arguments change its sections."""
    content: dict[str, Any] = {"name": "base", "purpose": "tests", "features": FEATURES, **BASE}
    for name, section in changes.items():
        old = content.get(name)
        content[name] = old | section if isinstance(old, dict) else section
    return Study.model_validate(content)


STUDIES: Final[Mapping[str, Callable[[], Study]]] = {
    "training": base,
    "local": lambda: base(training={"mode": "local", "steps": 2, "local_steps": 2}),
    "start": lambda: base(training=starting_at(small_start())),
    "groups": lambda: base(evaluation={"groups": [GROUP]}),
    "whitened": lambda: base(geometry={"kind": "whitened"}),
    "centred": lambda: base(geometry={"kind": "centred"}, evaluation={"groups": [GROUP]}),
    "questions": lambda: asking(COUNT, names=NAMES, allowance=ALLOWANCE),
    "training-and-questions": lambda: asking(COUNT, names=NAMES, steps=2, allowance=ALLOWANCE),
    "knots": lambda: asking(
        SPREAD, COUNT, names=NAMES, steps=2, features=list(KNOTS), allowance=ALLOWANCE
    ),
    "whitened-knots": lambda: asking(
        SPREAD, COUNT, names=NAMES, steps=2, features=list(KNOTS), geometry={"kind": "whitened"}
    ),
}


@dataclass
class WrittenRun:
    """A run that one hand writes down, from the roster to the head."""

    study: Study
    names: Sequence[str] = NAMES
    leaves: list[Leaf] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    ledgers: dict[str, tuple[int, SideCosts]] = field(default_factory=dict)  # entries, costs
    left: set[str] = field(default_factory=set)  # who did not answer once is gone
    summed: set[str] = field(default_factory=set)  # the vectors that are in sums

    def __post_init__(self) -> None:
        """Write the opening."""
        self.plan: Plan = plan_for(self.study)
        self._random = np.random.default_rng(int(self.study.id[:8], 16))
        members = tuple(Member(id=name, key=self.public(name)) for name in self.names)
        self.roster = Roster(
            version=1,
            multiplicity=self.study.privacy.multiplicity,
            coordinator=self.public(COORDINATOR),
            members=members,
            roster_key=self.public(ROSTER_SIGNER),
        )
        self.begun = self.state = self._opened()

    # -- who signs ----------------------------------------------------------------------

    def signer(self, name: str) -> IdentitySigner:
        """Return a party's key: a hash of its name."""
        return IdentitySigner(Ed25519PrivateKey.from_private_bytes(_bytes(f"key of {name}", 32)))

    def public(self, name: str) -> str:
        """Return a party's public key, hex."""
        return self.signer(name).key.public_key().public_bytes_raw().hex()

    def signed(self, body: MessageBody, name: str = COORDINATOR) -> bytes:
        """Sign a message."""
        return sign_envelope(body, name, self.signer(name))

    # -- how it begins ------------------------------------------------------------------

    def _opened(self) -> RunState:
        signer = self.signer(COORDINATOR)
        approvals = {name: self._approval(name) for name in self.names}
        self.approvals = {name: body.hash for name, body in approvals.items()}
        openings = RunOpenings(
            study=self.study.id,
            run=RUN,
            roster=self.roster,
            protection=Protection.EXACT,
            least=self.study.aggregation.minimum_institutions,
            approvals=self.approvals,
        )
        opening = self.opening(0, self.names)
        for leaf in opening:
            openings = openings.after(leaf)
        self.leaves += [
            Leaf(LeafKind.ROSTER, offer_roster(self.roster, self.signer(ROSTER_SIGNER))),
            Leaf(LeafKind.STUDY, offer_study(self.study, signer)),
            *(Leaf(LeafKind.APPROVAL, self.signed(b, name)) for name, b in approvals.items()),
            *opening,
        ]
        assert openings.agreed is not None
        run = AgreedRun(plan=self.plan, roster_hash=self.roster.hash, opening=openings.agreed)
        return RunState.begin(run, self.roster, Protection.EXACT, openings)

    def open_anew(self) -> None:
        """Open the run anew with everybody who is left."""
        openings = self.state.openings
        assert openings is not None
        for leaf in self.opening(openings.number, [n for n in self.names if n not in self.left]):
            self.put(leaf)

    def opening(self, number: int, names: Sequence[str], **changes: object) -> list[Leaf]:
        """The leaves of one opening: answers, the opening itself, offers; `changes` are its own."""
        answers = [self._answer(name, number) for name in names]
        opening = RunOpening(
            study=self.study.id,
            roster=self.roster.hash,
            run=RUN,
            number=number,
            participants=tuple(
                Participant(institution=body.institution, answer=body.hash) for body in answers
            ),
        ).model_copy(update=changes)
        return [
            *(Leaf(LeafKind.HELLO, self.signed(b, b.institution)) for b in answers),
            Leaf(LeafKind.OPENING, self.signed(opening)),
            *(Leaf(LeafKind.OFFER, self._offer(name, names, opening)) for name in names),
        ]

    def _approval(self, name: str) -> Approval:
        return Approval(
            study=self.study.id, roster=self.roster.hash, institution=name, number=1, epoch=1
        )

    def _answer(self, name: str, number: int) -> RunAnswer:
        told = f"{name}, opening {number}"
        return RunAnswer(
            approval=self.approvals[name],
            study=self.study.id,
            roster=self.roster.hash,
            run=RUN,
            institution=name,
            nonce=_bytes(f"nonce of {told}", 32).hex(),
            boot=_bytes(f"boot of {told}", 32).hex(),
            x25519=encode_key(_bytes(f"x25519 of {told}", 31) + b"\0"),
            mlkem768=encode_key(_bytes(f"mlkem of {told}", 1184)),
        )

    def _offer(self, name: str, names: Sequence[str], opening: RunOpening) -> bytes:
        higher = [other for other in names if other > name]
        told = f"opening {opening.number}"
        texts = {o: encode_key(_bytes(f"{name} to {o}, {told}", 1088)) for o in higher}
        offer = KeyOffer(
            institution=name, opening=opening.hash, ciphertexts=texts, time=NOON + opening.number
        )
        return self.signed(offer, name)

    # -- what is asked and answered -----------------------------------------------------

    def put(self, leaf: Leaf) -> None:
        """Write a leaf down that has to come next."""
        self.state = self.state.after(leaf, self.added)
        self.leaves.append(leaf)

    def added(self, attempt: Attempt, terms: ReleaseTerms) -> Word:
        """Add an attempt's vectors up."""
        vectors = [self.blobs[reply.body.vector] for reply in attempt.replies.values()]
        return add_words(vectors, terms.word_bits, terms.vectors.entries, attempt.seeds)

    def request(self, names: Sequence[str] | None = None, **changes: object) -> Request:
        """R for what is due, as an honest coordinator writes it; then changed."""
        release, privacy = self.state.release, self.study.privacy
        terms = release.terms
        present = [name for name in names or self.names if name not in self.left]
        chosen = [p for p in self.state.run.opening.participants if p.institution in present]
        return Request(
            protocol=PROTOCOL_VERSION,
            study=self.study.id,
            roster=self.roster.hash,
            run=RUN,
            opening=self.state.run.opening_hash,
            step=release.step,
            attempt=self.state.attempts,
            kind=release.kind.release,
            participants=tuple(chosen),
            n=len(chosen),
            t=privacy.collusion_tolerance,
            multiplicity=privacy.multiplicity,
            clipping_norm=terms.vectors.clipping_norm,
            sigma=terms.sigma,
            gamma_bits=terms.vectors.gamma_bits,
            word_bits=terms.word_bits.value,
            entries=terms.vectors.entries,
            dtype="<u4" if terms.word_bits is WordBits.K32 else "<u8",
            parameters=self.state.content.hash,
            geometry=release.kind.geometry(self.plan, self.state.results),
        ).model_copy(update=changes)

    def ask(self, request: Request, silent: Sequence[str] = ()) -> None:
        """Write a request down, and the replies of everybody but those who are silent."""
        self.put(Leaf(LeafKind.REQUEST, self.signed(request)))
        names = [p.institution for p in request.participants]
        sent = self._hidden(request, dict(zip(names, self._vectors(len(names)), strict=True)))
        for name, vector in sent.items():
            self.put(self.commitment(name, request, vector))
        for name, vector in sent.items():
            if name not in silent:
                self.put(self.reply(name, request, vector))

    def commitment(self, name: str, asked: Request, content: bytes, **changes: object) -> Leaf:
        """Return what an institution commits to."""
        named = {p.institution: p.answer for p in asked.participants}
        body = Commitment(
            request=asked.hash,
            institution=name,
            answer=named.get(name, "0" * 64),
            vector=bytes_hash(content),
            seed=bytes_hash(self.seed(name, asked)),
        ).model_copy(update=changes)
        return Leaf(LeafKind.COMMITMENT, self.signed(body, name))

    def seed(self, name: str, asked: Request) -> bytes:
        """Return what opens an institution's vector."""
        return _bytes(f"seed of {name} for {asked.hash}", 32)

    def reply(self, name: str, asked: Request, content: bytes, **changes: object) -> Leaf:
        """Return what an institution answers, its ledger a debit further."""
        attempt, terms = self.state.attempt, self.state.release.terms
        entries, before = self.ledgers.get(name, (0, SideCosts()))
        cost, costs = terms.cost, before.plus(terms.side, terms.cost)
        self.ledgers[name] = position = (entries + int(cost > 0), costs)
        self.blobs[bytes_hash(content)] = content
        named = {p.institution: p.answer for p in asked.participants}
        body = Reply(
            request=asked.hash,
            institution=name,
            answer=named.get(name, "0" * 64),
            vector=bytes_hash(content),
            statements=attempt.statements if attempt else "",
            seed=self.seed(name, asked).hex(),
            debit=cost,
            ledger_sequence=position[0],
            ledger_head=bytes_hash(f"{name} {position}".encode()),
            cumulative=costs.total,
            debited=costs.all + costs.training + costs.holdout,
            epoch=1,
        ).model_copy(update=changes)
        return Leaf(LeafKind.REPLY, self.signed(body, name))

    def _vectors(self, count: int) -> list[bytes]:
        """Return masked vectors: uniform words that add up to a sum within range.

        What opens them is put on by `_hidden`.
        """
        terms = self.state.release.terms
        bits, entries = terms.word_bits, terms.vectors.entries
        whole = to_ring(self._total(terms), bits)
        words = [
            self._random.integers(0, 2**bits.value, entries, dtype=np.uint64, endpoint=False)
            if bits is WordBits.K32
            else self._random.integers(0, 2**64 - 1, entries, dtype=np.uint64, endpoint=True)
            for _ in range(count - 1)
        ]
        rest = whole
        for vector in words:
            rest = add(rest, (np.uint64(0) - vector) & np.uint64(2**bits.value - 1), bits)
        return [encode(vector, bits) for vector in [*words, rest]]

    def _hidden(self, asked: Request, vectors: Mapping[str, bytes]) -> dict[str, bytes]:
        """Hide vectors by their seeds."""
        terms = self.state.release.terms
        bits, entries = terms.word_bits, terms.vectors.entries
        return {
            name: encode(
                add(
                    decode(vector, bits, entries),
                    seed_stream(self.seed(name, asked), entries, bits),
                    bits,
                ),
                bits,
            )
            for name, vector in vectors.items()
        }

    def _total(self, terms: ReleaseTerms) -> Any:
        entries, one = terms.vectors.entries, 1 << terms.vectors.gamma_bits
        if terms.kind is ReleaseKind.REHEARSAL:
            return np.zeros(entries, dtype=np.int64)
        noise = self._random.integers(-one, one, entries)
        if terms.kind in COUNTED:
            return self._random.integers(20, 100, entries) * one + noise
        return noise

    def collect(self, lost: Sequence[str] = ()) -> None:
        """One release; with `lost`, a first attempt that these do not answer."""
        if lost:
            self.ask(self.request(), silent=lost)
            self.left |= set(lost)
        self.ask(self.request())
        self.add_up()

    def add_up(self) -> None:
        """Write the sum down, and what follows from it."""
        attempt, terms = self.state.attempt, self.state.release.terms
        assert attempt is not None
        words = self.added(attempt, terms)
        self.summed |= {reply.body.vector for reply in attempt.replies.values()}
        record = SumRecord(
            request=attempt.hash,
            participants=tuple(attempt.replies),
            words=words_hash(words, terms.word_bits),
        )
        self.put(record.leaf())
        follows = self.state.record(encode(words, terms.word_bits))
        if follows is not None:
            self.put(follows.leaf())

    def finish(
        self, lost: Mapping[int, Sequence[str]] | None = None, later: Sequence[Any] = ()
    ) -> "WrittenRun":
        """Everything to the end; `lost` by how many sums there were."""
        if later:
            self.collect()
        for group in later:
            self.put(QuestionsRecord.of(group).leaf())
            self.collect()
        while not later and self.state.expected() is not None:
            self.collect((lost or {}).get(self.state.sums, ()))
        self.close()
        return self

    def close(self) -> None:
        """Write the model, where there is one, and the end."""
        results = self.state.results
        if not self.state.done:
            self.put(ModelRecord(model=results.model, steps=results.steps).leaf())
        self.put(EndRecord(state="finished", reason="").leaf())

    # -- what an auditor gets -----------------------------------------------------------

    def to_bytes(self, leaves: Sequence[Leaf] | None = None, *, purged: bool = False) -> bytes:
        """The exported file, of these leaves or others."""
        chosen, out = list(self.leaves if leaves is None else leaves), io.BytesIO()
        head = self.signed(tree_head(self.study.id, RUN, [leaf.hash for leaf in chosen]))
        blobs = {name: self.blobs[name] for name in sorted(self.summed)}
        write_transcript(
            out,
            study=self.study.id,
            run=RUN,
            leaves=chosen,
            blobs={} if purged else blobs,
            head=head,
            cosignatures={},
        )
        return out.getvalue()

    def audit(self, leaves: Sequence[Leaf] | None = None, *, purged: bool = False) -> AuditReport:
        """Audit it."""
        content = self.to_bytes(leaves, purged=purged)
        return audit(io.BytesIO(content), Trust(self.public(ROSTER_SIGNER)))


def group_of(*questions: Mapping[str, Any]) -> QuestionGroup:
    """A group of questions."""
    study = asking(*questions)
    assert study.questions is not None
    return study.questions


def _bytes(text: str, size: int) -> bytes:
    return hashlib.shake_256(text.encode()).digest(size)

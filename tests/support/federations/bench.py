"""A whole federation with real custodians, for tests that attack or break one of its parts.

Real identities, signatures, masks and ledgers on disk. The coordinator's side is at hand, so
that a test can ask for anything that a coordinator could ask for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.federations.debits import commit_release
from tests.support.runs.steps import open_federation, replay_step

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.key_agreement import HeldKeys
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import CommitmentReply, HelloAnswer
from fieldfare.client.ledger.budget import Debit
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.run_states import EVALUATED_STATE
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.opening import Opener
from fieldfare.server.run.record import Record
from fieldfare.server.run.rounds import Federation, SecureSums
from fieldfare.shared.canonical import bytes_hash, claimed
from fieldfare.shared.features.basis import EncodedUnits, encode_categorical, encode_numeric
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    Commitment,
    LastSum,
    Participant,
    Refusal,
    ReleaseKind,
    Request,
    Signer,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.secure_sum import RunKeys
from fieldfare.shared.run.optimizer import TrainingState
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.study import Study
from fieldfare.simulations.federation.federation import LocalFederation

NAMES: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
STEPS: Final = 3


def make_study(**sections: Any) -> Study:
    """A small study; keyword arguments change sections of it."""
    data: dict[str, Any] = {
        "name": "small",
        "purpose": "tests",
        "records": {"label": "reported", "units": 400, "prevalence": 0.2},
        "features": (
            {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
            {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
        ),
        "training": {"steps": STEPS},
        "evaluation": {"score_bins": 8},
        "privacy": {"epsilon": 4.0, "delta": 1e-5, "spare_releases": 3 * STEPS},
        "aggregation": {"deadline_seconds": 5, "opening": "on", "participants": "any"},
    }
    for name, section in sections.items():
        old = data.get(name)
        data[name] = old | dict(section) if isinstance(old, dict) else section
    return Study.model_validate(data)


def make_sums(study: Study, units: int, *, seed: int = 0, label: int | None = None) -> StudySums:
    """Sums over made-up units of `make_study`; with `label`, of one class only."""
    random = np.random.default_rng(seed)
    amounts = random.uniform(-1, 11, units)
    positions = np.stack(
        [
            encode_numeric(study.features[0], amounts),  # type: ignore[arg-type]
            encode_categorical(study.features[1], random.integers(-1, 4, units)),  # type: ignore[arg-type]
        ]
    )
    labels = (random.uniform(0, 10, units) < amounts).astype(np.uint8)
    if label is not None:
        labels[:] = label
    holdout = random.uniform(size=units) < study.evaluation.holdout
    return StudySums.prepare(study, EncodedUnits(positions, labels), holdout)


def seeds_in(last: LastSum) -> tuple[str, ...]:
    """The seeds that open a sum's vectors."""
    return tuple(claimed(reply, "seed") or "" for reply in last.replies)


def hear(*custodians: Custodian) -> None:
    """As where a witness elsewhere vouches for the ledger: nobody has to be asked."""
    for custodian in custodians:
        custodian._held.hearing.settled = custodian._ledger.position()


def evaluate(ledger: Ledger, study: str, run: str, model: str) -> None:
    """Leave in a ledger what a paid evaluation of a model does."""
    debit = Debit(
        study=study,
        run=run,
        step=STEPS,
        attempt=0,
        kind=ReleaseKind.EVALUATION.value,
        request=bytes_hash(run.encode()),
        cost=1,
    )
    state = {EVALUATED_STATE + run: f"{model}:{debit.request}".encode()}
    commit_release(
        ledger,
        debit,
        vector=b"vector",
        study_limit=10**12,
        max_attempts=1,
        sign=lambda _: b"reply",
        run_states=state,
    )


@dataclass(frozen=True)
class OpenedVector:
    """What left an institution in two messages: its vector, and the reply with what opens it."""

    reply: bytes
    vector: bytes
    commitment: bytes

    @property
    def seed(self) -> str:
        """The seed that opens the vector, hex."""
        return claimed(self.reply, "seed") or ""


@dataclass
class Poison:
    """Noise with one huge entry: whoever adds it signs everything that is asked for."""

    honest: NoiseSource
    size: int

    @property
    def protection(self) -> Protection:
        return self.honest.protection

    def sample(self, entries: int, scale: float) -> NDArray[np.int64]:
        drawn = self.honest.sample(entries, scale)
        drawn[0] += self.size
        return drawn


@dataclass
class Run:
    """A run that was opened and agreed on, seen from a coordinator that may lie."""

    bench: "Bench"
    federation: Federation
    tag: str = ""  # tells apart what several tellers of one story make
    states: dict[int, TrainingState] = field(default_factory=dict)  # before each step
    lasts: dict[int, LastSum] = field(default_factory=dict)  # the sum that led to each step
    answered: dict[int, Request] = field(default_factory=dict)  # the last one, by training step
    rehearsed: LastSum = NO_LAST_SUM  # everybody's answers to the last rehearsal
    contents: dict[str, bytes] = field(default_factory=dict)  # parameters by their hash
    rehearsals: dict[str, dict[str, OpenedVector]] = field(default_factory=dict)  # by R's hash

    def request(
        self,
        kind: ReleaseKind = ReleaseKind.TRAINING,
        step: int = 0,
        attempt: int = 0,
        *,
        parameters: bytes | None = None,
        names: Sequence[str] | None = None,
        **changes: object,
    ) -> Request:
        """R as an honest coordinator writes it, then changed without any check.

        Without `parameters`, those that follow from the steps before: everybody answers these
        first, where that has not happened yet.
        """
        sums = SecureSums(GridChannel(self.bench.federation.grid()), self.federation)
        sums.present = sorted(names or sums.present)
        content = self.parameters(kind, step) if parameters is None else parameters
        request = sums._request(self._plan.terms(kind), step, attempt, content)
        self.contents[request.parameters] = content
        return request.model_copy(update=changes)

    def promise(
        self,
        name: str,
        request: Request,
        parameters: bytes | None = None,
        last: LastSum | None = None,
    ) -> CommitmentReply | Refusal:
        """Send R, signed by the coordinator, to one custodian, with what it follows from."""
        if parameters is None:
            parameters = self.contents.get(request.parameters, self.bench.parameters())
        if last is None:
            last = self.lasts.get(request.step, self.rehearsed)
        found = self.bench.custodian(name).release(self.bench.sign(request), parameters, last)
        if isinstance(found, CommitmentReply) and request.kind is ReleaseKind.TRAINING:
            self.answered[request.step] = request
        return found

    def ask(
        self,
        name: str,
        request: Request,
        parameters: bytes | None = None,
        last: LastSum | None = None,
    ) -> OpenedVector | Refusal:
        """Ask one custodian in both messages; all others commit as well, and do not open."""
        own = self.promise(name, request, parameters, last)
        if isinstance(own, Refusal):
            return own
        names = [named.institution for named in request.participants]
        others = {one: self.promise(one, request, parameters, last) for one in names if one != name}
        found = self.opened(name, request, own, others)
        if request.kind is ReleaseKind.REHEARSAL and isinstance(found, OpenedVector):
            answers = self.rehearsals.setdefault(request.hash, {})
            answers[name] = found
            if sorted(answers) == names:
                self.rehearsed = self.as_last(request, [answers[one] for one in names])
        return found

    def alone(
        self,
        name: str,
        request: Request,
        parameters: bytes | None = None,
        last: LastSum | None = None,
    ) -> OpenedVector | Refusal:
        """Ask one custodian in both messages; all others collude, and sign whatever it takes."""
        own = self.promise(name, request, parameters, last)
        return own if isinstance(own, Refusal) else self.opened(name, request, own, {})

    def opened(
        self,
        name: str,
        request: Request,
        own: CommitmentReply,
        others: Mapping[str, CommitmentReply | Refusal],
    ) -> OpenedVector | Refusal:
        """Have one custodian open its vector; who did not commit has a commitment invented."""
        sent = {**others, name: own}
        found = {
            one: each.commitment for one, each in sent.items() if isinstance(each, CommitmentReply)
        }
        names = [named.institution for named in request.participants]
        reply = self.reveal(
            name, request, [found.get(one) or self.invented(one, request) for one in names]
        )
        return (
            reply if isinstance(reply, Refusal) else OpenedVector(reply, own.vector, own.commitment)
        )

    def as_last(self, request: Request, answers: Sequence[OpenedVector]) -> LastSum:
        """A sum as it travels with the next request."""
        return LastSum(
            self.bench.sign(request),
            tuple(one.reply for one in answers),
            tuple(one.vector for one in answers),
            tuple(one.commitment for one in answers),
        )

    def invented(self, name: str, request: Request) -> bytes:
        """A commitment to R that a member's key signs, whatever its custodian says."""
        named = {one.institution: one.answer for one in request.participants}
        body = Commitment(
            request=request.hash,
            institution=name,
            answer=named[name],
            vector=bytes_hash(name.encode()),
            seed=bytes_hash(request.hash.encode()),
        )
        return sign_envelope(body, name, self.bench.federation.identities.signers[name])

    def answer(
        self,
        name: str,
        request: Request,
        parameters: bytes | None = None,
        last: LastSum | None = None,
    ) -> OpenedVector:
        """Ask one custodian in both messages, which must answer."""
        answer = self.ask(name, request, parameters, last)
        assert isinstance(answer, OpenedVector), answer
        return answer

    def commit(self, name: str, request: Request, last: LastSum | None = None) -> CommitmentReply:
        """Have one custodian commit to its answer to R."""
        answer = self.promise(name, request, last=last)
        assert isinstance(answer, CommitmentReply), answer
        return answer

    def reveal(self, name: str, request: Request, statements: Sequence[bytes]) -> bytes | Refusal:
        """Have one custodian open its answer to R."""
        return self.bench.custodian(name).reveal(self.bench.sign(request), list(statements))

    def everybody(self, request: Request) -> LastSum:
        """Have everybody in R commit to its answer, and then open it."""
        names = [p.institution for p in request.participants]
        signed = self.bench.sign(request)
        promised = [self.commit(name, request) for name in names]
        statements = tuple(one.commitment for one in promised)
        opened = []
        for name in names:
            reply = self.reveal(name, request, statements)
            assert isinstance(reply, bytes), reply
            opened.append(reply)
        sent = tuple(one.vector for one in promised)
        last = LastSum(signed, tuple(opened), sent, statements)
        if request.kind is ReleaseKind.REHEARSAL:
            self.rehearsed = last
        return last

    def parameters(self, kind: ReleaseKind, step: int) -> bytes:
        """The honest ones; the start's for a release that no plan has."""
        steps = self._plan.study.training.steps
        if not 0 <= step <= steps - int(kind is not ReleaseKind.EVALUATION):
            return parameters_to_bytes(self.state(0).parameters)
        state = self.state(step)
        return parameters_to_bytes(
            state.model if kind is ReleaseKind.EVALUATION else state.parameters
        )

    def best_guess(self, kind: ReleaseKind, step: int) -> bytes:
        """The honest ones; the start's where somebody refuses a step before."""
        try:
            return self.parameters(kind, step)
        except AssertionError:
            return self.bench.parameters()

    def state(self, step: int) -> TrainingState:
        """Where an honest run stands before `step`; walks there."""
        if step not in self.states:
            self.states[step] = (
                initial_state(self._plan.study) if step == 0 else self._collect(step - 1)
            )
        return self.states[step]

    def last(self, step: int) -> LastSum:
        """The sum that led to `step`; walks there."""
        self.state(step)
        return self.lasts[step]

    def _collect(self, step: int) -> TrainingState:
        """Have everybody answer what anybody answered last of a step, and take the step."""
        before = self.state(step)
        request = self.answered.get(step) or self.request(step=step)
        self.lasts[step + 1] = last = self.everybody(request)
        plan, seeds = self._plan, seeds_in(last)
        return replay_step(plan, before, plan.training, last.vectors, seeds)

    @property
    def _plan(self) -> Plan:
        return self.federation.plan

    def participant(self, name: str) -> Participant:
        """An institution with its answer to `hello`."""
        return self.federation.participants[name]

    def moved(self, request: Request) -> Request:
        """A request of another run, as if it had been written for this one."""
        opening = self.federation.agreed
        asked = {named.institution for named in request.participants}
        named = [p for p in opening.opening.participants if p.institution in asked]
        return request.model_copy(
            update={
                "run": self.federation.run,
                "opening": opening.opening_hash,
                "participants": tuple(named),
            }
        )

    def open_anew(self, names: Sequence[str] = ()) -> None:
        """Open the run anew, as the real coordinator does: fresh keys for all pairs."""
        job = self.bench.federation.job(self.federation.run)
        opener = Opener(GridChannel(self.bench.federation.grid()), job.terms, Record())
        self.federation = opener.anew(self.federation, names or self.bench.names)


@dataclass
class Bench:
    """Custodians of one study on disk, and the keys to play any party."""

    federation: LocalFederation
    sums: Mapping[str, StudySums]
    runs: int = 0
    signers: Mapping[str, Signer] = field(default_factory=dict)

    @property
    def study(self) -> Study:
        return self.federation.study

    @property
    def plan(self) -> Plan:
        return self.federation.plan

    @property
    def names(self) -> list[str]:
        return sorted(self.federation.custodians)

    def custodian(self, name: str) -> Custodian:
        return self.federation.custodians[name]

    def ledger(self, name: str) -> Ledger:
        return self.federation.ledgers[name]

    def party(self, name: str) -> Party:
        return self.custodian(name)._party

    def path(self, name: str) -> Path:
        """The ledger's file."""
        directory = self.federation._directory
        assert directory is not None
        return directory / f"ledger-{self.names.index(name)}.sqlite"

    def parameters(self, bias: float | None = None) -> bytes:
        """Where every run starts; crafted ones with `bias`."""
        if bias is None:
            return parameters_to_bytes(initial_state(self.study).parameters)
        return parameters_to_bytes(model_for(self.study).initial(bias))

    def sign(self, request: Request, signer: Signer | None = None) -> bytes:
        return sign_envelope(request, COORDINATOR, signer or self.federation.identities.coordinator)

    def open_run(self, run: str | None = None) -> Run:
        """Open a run as the real coordinator does: hello, approvals, offers."""
        self.runs += 1
        job = self.federation.job(run or f"run-{self.runs}")
        return Run(self, open_federation(GridChannel(self.federation.grid()), job.terms))

    def described(self, name: str, run: str, nonce: str) -> HelloAnswer:
        """An institution's answer to `hello` for a run."""
        found = self.custodian(name).describe(self.study.id, run=run, nonce=nonce)
        assert isinstance(found, HelloAnswer), found
        if found.question:
            self.relay(name, found.question)
        return found

    def relay(self, name: str, question: bytes, asked: Sequence[str] = ()) -> Sequence[bytes]:
        """Take a started custodian's question to others, and their answers back; returns these."""
        memories = list[bytes]()
        for other in asked or self.names:
            answer = self.custodian(other).recall([question], [])
            memories += () if isinstance(answer, Refusal) else answer
        self.custodian(name).recall([question], memories)
        return memories

    def held(self, name: str) -> HeldKeys:
        """The keys that a custodian has in its memory."""
        return self.custodian(name)._held

    def run_keys(self, name: str, run: Run) -> RunKeys:
        """The pair keys of a run, at the step that they have reached."""
        opening = run.federation.agreed.opening_hash
        return self.held(name).run_keys(self.study.id, run.federation.run, opening)

    def remembers(self, name: str, custodian: Custodian) -> None:
        """Put a custodian in place of one, with what that one has in its memory."""
        custodian._hold(self.held(name))
        self.federation.custodians[name] = custodian

    def files(self, name: str) -> bytes:
        """Everything that a custodian has on disk."""
        path = self.path(name)
        return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))

    def restart(
        self, name: str, *, approve: bool = True, busy_timeout: float = 5.0, heard: bool = True
    ) -> Custodian:
        """A new process, as far as the custodian can tell: nothing is left but the disk.

        Unless it is not `heard`, as one that a witness elsewhere vouches for.
        """
        party, old = self.party(name), self.ledger(name)
        old.close()
        ledger = Ledger.open(
            self.path(name),
            population=name,
            limits=old._limits,
            clock=old._clock,
            busy_timeout=busy_timeout,
        )
        self.federation.ledgers[name] = ledger
        custodian = Custodian(party, ledger, ExactNoise())
        self.federation.custodians[name] = custodian
        if heard:
            hear(custodian)
        if approve:
            custodian.approve(self.study, lambda: self.sums[name])
        return custodian


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    """Build federations on disk with exact noise; they are closed when the test ends."""
    built: list[Bench] = []

    def make(study: Study | None = None, sums: Mapping[str, StudySums] | None = None) -> Bench:
        chosen = study or make_study()
        parts = sums or {
            name: make_sums(chosen, 100, seed=index) for index, name in enumerate(NAMES)
        }
        folder = tmp_path / f"ledgers-{len(built)}"
        folder.mkdir()
        federation = LocalFederation(chosen, parts, Protection.EXACT, seed=0, directory=folder)
        hear(*federation.custodians.values())
        built.append(Bench(federation, parts))
        return built[-1]

    yield make
    for bench in built:
        bench.federation.__exit__()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    return make_bench()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One federation for all tests of a module that spend nothing, or have a run of their own."""
    study = make_study()
    sums = {name: make_sums(study, 100, seed=index) for index, name in enumerate(NAMES)}
    folder = tmp_path_factory.mktemp("ledgers")
    with LocalFederation(study, sums, Protection.EXACT, seed=0, directory=folder) as federation:
        yield Bench(federation, sums)

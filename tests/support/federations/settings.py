"""Federations for tests of the coordinator: real custodians, a clock that a test moves.

The nodes, custodians, doors and ledgers are those of a simulation; what a test breaks is a
message on its way or what one institution answers.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pytest
from flwr.app import ConfigRecord, Message
from tests.support.federations.bench import hear

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.record import DecodedSum, Record
from fieldfare.server.run.rounds import SecureSums
from fieldfare.server.run.server_app import Job, Outcome
from fieldfare.server.run.store_record import RunFacts, RunRecord
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import run_store
from fieldfare.shared.audit.audit import AuditReport, audit
from fieldfare.shared.audit.opening import Trust
from fieldfare.shared.canonical import claimed
from fieldfare.shared.features.basis import EncodedUnits
from fieldfare.shared.models import model_for
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.flower_record import RECORD, Call
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    LastSum,
    ReleaseKind,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.protocol.signed_files import offer_roster, offer_study
from fieldfare.shared.run.kinds import KINDS, Release
from fieldfare.shared.run.optimizer import TrainingState, next_state
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study
from fieldfare.shared.transcript.file import write_transcript
from fieldfare.shared.transcript.leaves import LeafKind, tree_head
from fieldfare.simulations.federation.federation import FIRST_NODE, LocalFederation
from fieldfare.simulations.federation.grid import InProcessGrid, Tap

BANKS: Final = ("bank-a", "bank-b", "bank-c", "bank-d")
UNITS: Final = 100  # of each
STEPS: Final = 3
SECTIONS: Final[dict[str, dict[str, Any]]] = {
    "records": {"label": "reported", "units": 400, "prevalence": 0.3},
    "training": {"steps": STEPS},
    "evaluation": {"score_bins": 8},
    "privacy": {"epsilon": 4.0, "delta": 1e-5},
    "aggregation": {
        "minimum_institutions": 3,
        "deadline_seconds": 5,
        "opening": "on",
        "participants": "any",
    },
}
FEATURES: Final = (
    {"name": "amount", "kind": "numeric", "lower": 0, "upper": 10, "knots": [0, 2, 5, 10]},
    {"name": "channel", "kind": "categorical", "levels": ["branch", "online"]},
)


def make_study(**sections: dict[str, Any]) -> Study:
    """A small study; keyword arguments change values inside its sections."""
    content = {name: section | sections.get(name, {}) for name, section in SECTIONS.items()}
    return Study.model_validate(
        {"name": "small", "purpose": "tests", "features": FEATURES, **content}
    )


def make_sums(study: Study, units: int, *, seed: int) -> StudySums:
    """Sums over made-up units whose label follows the first feature."""
    random = np.random.default_rng(seed)
    positions = random.integers(0, [[3 * 256 + 2], [4]], (2, units)).astype(np.uint16)
    labels = (random.uniform(0, 3 * 256, units) < positions[0]).astype(np.uint8)
    holdout = random.uniform(size=units) < study.evaluation.holdout
    return StudySums.prepare(study, EncodedUnits(positions, labels), holdout)


def exact_gradient(setting: "Setting", names: tuple[str, ...], parameters: Any) -> Any:
    """What a training sum would be without noise (float64, the sum's own unit)."""
    bits = model_for(setting.federation.study).vectors.gamma_bits
    parts = [setting.sums[name].training.gradient_sum(parameters) for name in names]
    return np.ldexp(np.sum(parts, axis=0).astype(np.float64), -bits)


@dataclass
class Clock:
    """A clock that moves only while somebody sleeps."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def collect(
    sums: SecureSums, kind: ReleaseKind, step: int, values: Any, last: LastSum = NO_LAST_SUM
) -> DecodedSum:
    """One sum of a kind at a step, whether it is due or not."""
    release = Release(KINDS[kind], step, sums.federation.plan.terms(kind))
    return sums.collect(release, parameters_to_bytes(values), last)


def rehearse(sums: SecureSums, values: Any) -> DecodedSum:
    return collect(sums, ReleaseKind.REHEARSAL, 0, values)


def ask(
    sums: SecureSums, questions: QuestionGroup, step: int, last: LastSum = NO_LAST_SUM
) -> DecodedSum:
    """The answers to questions, whether they are due or not."""
    terms = sums.federation.plan.question_terms(step, questions)
    return sums.collect(Release(KINDS[ReleaseKind.QUERY], step, terms), questions.to_bytes(), last)


@dataclass
class Walk:
    """An honest coordinator's steps, one at a time."""

    sums: SecureSums
    state: TrainingState
    last: LastSum = NO_LAST_SUM

    def step(self) -> DecodedSum:
        """Collect the next step's sum and take the step."""
        plan, state = self.sums.federation.plan, self.state
        total = collect(self.sums, ReleaseKind.TRAINING, state.step, state.parameters, self.last)
        self.state, self.last = next_state(plan, state, total.values), total.as_last
        return total


class Crooked:
    """A custodian whose answers to some calls are changed before they leave."""

    def __init__(self, honest: Custodian, **changes: Callable[[Any], Any]) -> None:
        self._honest = honest
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        method, change = getattr(self._honest, name), self._changes.get(name)
        if change is None:
            return method
        return lambda *given, **named: change(method(*given, **named))


def hostile_node(node: int, call: Call, content: dict[str, Any]) -> Tap:
    """Put other content into what a node sends back, whatever its custodian answered."""

    def replace_content(message: Message) -> None:
        metadata = message.metadata
        if metadata.src_node_id == node and metadata.message_type == call.message_type:
            message.content[RECORD] = ConfigRecord(content)

    return replace_content


@dataclass
class Setting:
    """One federation, its Grid and its clock."""

    federation: LocalFederation
    sums: dict[str, StudySums]
    clock: Clock

    def channel(
        self, drop: Callable[[Message], bool] | None = None, tap: Tap | None = None
    ) -> GridChannel:
        return self.over(self.federation.grid(drop=drop, tap=tap))

    def over(self, grid: InProcessGrid) -> GridChannel:
        return GridChannel(grid, self.clock.monotonic, self.clock.sleep)

    def run(self, job: Job, drop: Callable[[Message], bool] | None = None) -> Outcome:
        return job.run(self.channel(drop))

    def bend(self, name: str, **changes: Callable[[Any], Any]) -> None:
        """Let an institution answer something else than its custodian would."""
        crooked = Crooked(self.federation.custodians[name], **changes)
        self.federation.custodians[name] = cast("Custodian", crooked)

    def walk(self, sums: SecureSums) -> Walk:
        return Walk(sums, initial_state(self.federation.study))

    def debits(self) -> dict[str, int]:
        """How many releases each institution has paid for."""
        ledgers = self.federation.ledgers
        return {name: ledger.position().sequence for name, ledger in ledgers.items()}


@dataclass(frozen=True)
class Book:
    """A run store on disk with one run of a setting in it."""

    setting: Setting
    path: Path
    run: str = "run"
    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    @classmethod
    def begin(cls, setting: Setting, path: Path) -> "Book":
        book = cls(setting, path)
        with run_store(path) as store:
            store.create(book.run, setting.federation.study.id, book.now)
            store.set_state(book.run, RunStatus.RUNNING, "", book.now)
        return book

    @property
    def facts(self) -> RunFacts:
        federation = self.setting.federation
        identities = federation.identities
        return RunFacts(
            self.run,
            federation.plan,
            identities.roster,
            offer_roster(identities.roster, identities.roster_key),
            offer_study(federation.study, identities.coordinator),
        )

    @contextmanager
    def record(self) -> Iterator[RunRecord]:
        """The run's record, as a fresh process opens it."""
        with run_store(self.path) as store:
            yield RunRecord(store, self.facts, lambda: self.now, self.setting.clock.monotonic)

    def job(self, record: Record) -> Job:
        job = self.setting.federation.job(self.run)
        job.record = record
        return job

    def audited(
        self, *, purged: bool = False, change: Callable[[bytes], bytes] = bytes
    ) -> AuditReport:
        """What an audit finds in the run's transcript, as a file whose vectors were changed."""
        federation, out = self.setting.federation, io.BytesIO()
        identities, study = federation.identities, federation.study
        with run_store(self.path) as store:
            leaves = store.leaves(self.run)
            replies = [leaf.content for leaf in leaves if leaf.kind is LeafKind.REPLY]
            names = sorted({claimed(reply, "vector") or "" for reply in replies})
            kept = {name: store.blob(name) for name in names}
        blobs = {name: change(blob) for name, blob in kept.items() if blob is not None}
        head = tree_head(study.id, self.run, [leaf.hash for leaf in leaves])
        write_transcript(
            out,
            study=study.id,
            run=self.run,
            leaves=leaves,
            blobs={} if purged else blobs,
            head=sign_envelope(head, COORDINATOR, identities.coordinator),
            cosignatures={},
        )
        return audit(io.BytesIO(out.getvalue()), Trust(identities.roster.roster_key))

    def carry_on(self, drop: Callable[[Message], bool] | None = None) -> Outcome:
        """Go on from where the run stands, as a fresh process does."""
        with self.record() as record:
            return self.setting.run(self.job(record), drop)


MakeSetting = Callable[..., Setting]


@pytest.fixture
def make_setting(tmp_path: Path) -> Iterator[MakeSetting]:
    built: list[LocalFederation] = []

    def make(
        study: Study | None = None,
        protection: Protection = Protection.SIMULATED,
        *,
        banks: tuple[str, ...] = BANKS,
        seed: int = 0,
    ) -> Setting:
        chosen = study or make_study()
        sums = {name: make_sums(chosen, UNITS, seed=i) for i, name in enumerate(banks)}
        folder = tmp_path / f"federation-{len(built)}"
        folder.mkdir()
        built.append(LocalFederation(chosen, sums, protection, seed=seed, directory=folder))
        hear(*built[-1].custodians.values())
        return Setting(built[-1], sums, Clock())

    yield make
    for federation in built:
        federation.__exit__()


@pytest.fixture
def setting(make_setting: MakeSetting) -> Setting:
    return make_setting()


def to_bank(
    name: str, *, after: int = 0, times: int = 10**9, call: str = "release"
) -> Callable[[Message], bool]:
    """Say which messages to lose: a call to `name`, from the `after`-th on, so often."""
    node = FIRST_NODE + BANKS.index(name)
    seen = 0

    def lost(message: Message) -> bool:
        nonlocal seen
        metadata = message.metadata
        if metadata.dst_node_id != node or metadata.message_type != f"query.{call}":
            return False
        seen += 1
        return after < seen <= after + times

    return lost

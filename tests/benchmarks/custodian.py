"""The cost of a custodian's process beside its sum: one training step over gRPC.

    python -m tests.benchmarks.custodian [--units N] [--steps N] [--json]

Two custodians in processes of their own, each with its records, keys, exact noise and a ledger
on disk that syncs, answer the same requests at the same time over their unix sockets. The sum
is timed inside, both calls of the step outside; what lies between is checks, noise, masks,
commitments, signatures, the ledger's transactions and the socket. Both share this machine's cores
with the asker.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from tests.benchmarks.harness import Bench
from tests.benchmarks.inputs import study_toml
from tests.support.network.calling import Caller, connected
from tests.support.network.served import serving
from tests.support.runs.steps import open_federation, replay_step

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import CommitmentReply
from fieldfare.client.home.company import CompanyRules
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.node.client_app import client_app
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.server.run.channel import GridChannel
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.rounds import Federation
from fieldfare.shared.errors import RunError
from fieldfare.shared.features.basis import EncodedUnits, table_size
from fieldfare.shared.models.interface import UnitSums
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import (
    NO_LAST_SUM,
    PROTOCOL_VERSION,
    IdentitySigner,
    LastSum,
    Refusal,
    ReleaseKind,
    Reply,
    Request,
    open_envelope,
    parameters_hash,
    parameters_to_bytes,
    sign_envelope,
)
from fieldfare.shared.protocol.plan import plan_for
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.run.replay import initial_state
from fieldfare.shared.study.file import load_study
from fieldfare.shared.study.study import Study
from fieldfare.shared.system.sockets import UnixSocket
from fieldfare.simulations.federation.federation import FIRST_NODE, made_here
from fieldfare.simulations.federation.grid import InProcessGrid

FEATURES: Final = 40
MEASURED: Final = ("bank-1", "bank-2")
# A third one, small, so that there is a sum that two may be part of.
NAMES: Final = (*MEASURED, "bank-3")
FEW_UNITS: Final = 1000
WARM_UP: Final = 2  # the first touch of memory is no step
LIMIT_MILLISECONDS: Final = 20.0


@dataclass(frozen=True)
class BenchInstitution:
    """The inputs of a custodian's process."""

    name: str
    study: Path
    offer: bytes
    roster: Roster
    key: bytes
    units: int
    folder: Path

    @property
    def socket(self) -> Path:
        """The path of its socket."""
        return self.folder / self.name / "s"


@dataclass(frozen=True)
class TimedSums:
    """Unit sums that remember how many seconds each took."""

    sums: UnitSums
    seconds: list[float]

    def gradient_sum(self, parameters: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the sum, timed."""
        started = time.perf_counter()
        found = self.sums.gradient_sum(parameters)
        self.seconds.append(time.perf_counter() - started)
        return found

    def plain_gradient(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sum without clipping."""
        return self.sums.plain_gradient(parameters)


def made_up(study: Study, units: int, seed: int) -> StudySums:
    """Return sums over seeded units of any study."""
    generator = np.random.default_rng(seed)
    positions = np.stack(
        [generator.integers(0, table_size(f), units, dtype=np.uint16) for f in study.features]
    )
    labels = (generator.uniform(size=units) < study.records.prevalence).astype(np.uint8)
    holdout = generator.uniform(size=units) < study.evaluation.holdout
    return StudySums.prepare(study, EncodedUnits(positions, labels), holdout)


def serve(institution: BenchInstitution, pipe: Connection) -> None:
    """Serve one custodian until the other end of the pipe asks for the sums' seconds."""
    study, limit = (
        load_study(institution.study),
        plan_for(load_study(institution.study)).study_limit,
    )
    sums = made_up(study, institution.units, seed=len(institution.name))
    timed = TimedSums(sums.training, [])
    ledger = Ledger.open(
        institution.folder / f"{institution.name}.sqlite",
        population=institution.name,
        limits=Limits(yearly_picomu2=limit, lifetime_picomu2=limit),
        clock=partial(datetime.now, UTC),
    )
    signer = IdentitySigner(Ed25519PrivateKey.from_private_bytes(institution.key))
    roster = institution.roster
    party = Party(
        institution.name, roster, signer, Protection.EXACT, CompanyRules(made_here(roster))
    )
    custodian = Custodian(party, ledger, ExactNoise())
    custodian.accept(institution.offer, lambda _: replace(sums, training=timed))
    with serving(custodian, UnixSocket(institution.socket)):
        pipe.send("serving")
        pipe.recv()
        pipe.send(timed.seconds)
    ledger.close()


def institutions(
    folder: Path, units: int, steps: int
) -> tuple[list[BenchInstitution], IdentitySigner]:
    """Make identities, a study and its offer."""
    file = folder / "study.toml"
    file.write_text(study_toml(units=2 * units, features=FEATURES, steps=steps), encoding="utf-8")
    keys = {name: Ed25519PrivateKey.generate() for name in (*NAMES, COORDINATOR)}
    public = {name: key.public_key().public_bytes_raw().hex() for name, key in keys.items()}
    roster = Roster(
        version=1,
        multiplicity=1,
        coordinator=public[COORDINATOR],
        members=tuple(Member(id=name, key=public[name]) for name in NAMES),
    )
    coordinator = IdentitySigner(keys[COORDINATOR])
    offer = offer_study(load_study(file), coordinator)
    made = [
        BenchInstitution(
            name,
            file,
            offer,
            roster,
            keys[name].private_bytes_raw(),
            units if name in MEASURED else FEW_UNITS,
            folder,
        )
        for name in NAMES
    ]
    return made, coordinator


@contextmanager
def started(all_of_them: list[BenchInstitution]) -> Iterator[dict[str, Connection]]:
    """Start a process for each; gives the pipes to them once all serve."""
    spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    processes, pipes = [], {}
    for institution in all_of_them:
        pipes[institution.name], far_end = spawn.Pipe()
        process = spawn.Process(target=serve, args=(institution, far_end), daemon=True)
        process.start()
        processes.append(process)
    for name, pipe in pipes.items():
        if pipe.recv() != "serving":
            raise RunError(f"expected a custodian of {name} that serves, found none")
    yield pipes
    for process in processes:
        process.join(10)


def opened(
    ports: Mapping[str, Caller], first: BenchInstitution, coordinator: IdentitySigner
) -> Federation:
    """Open a run with all of them over their sockets, as the coordinator does."""
    nodes = {name: FIRST_NODE + index for index, name in enumerate(sorted(ports))}
    app = client_app(lambda context: ports[str(context.node_config["institution"])].port)
    plan = plan_for(load_study(first.study))
    terms = RunTerms(plan, first.roster, coordinator, Protection.EXACT, "bench", last_replies={})
    return open_federation(GridChannel(InProcessGrid(app, nodes)), terms)


def signed_request(federation: Federation, step: int, parameters: bytes) -> bytes:
    """Return R for a training step of all institutions."""
    terms, privacy = federation.plan.training, federation.plan.study.privacy
    request = Request(
        protocol=PROTOCOL_VERSION,
        study=federation.plan.study.id,
        roster=federation.roster.hash,
        run=federation.run,
        opening=federation.agreed.opening_hash,
        step=step,
        attempt=0,
        kind=ReleaseKind.TRAINING,
        participants=tuple(federation.participants.values()),
        n=len(federation.participants),
        t=privacy.collusion_tolerance,
        multiplicity=privacy.multiplicity,
        clipping_norm=terms.vectors.clipping_norm,
        sigma=terms.sigma,
        gamma_bits=terms.vectors.gamma_bits,
        word_bits=terms.word_bits.value,
        entries=terms.vectors.entries,
        dtype="<u4" if terms.word_bits.value == 32 else "<u8",
        parameters=parameters_hash(parameters),
    )
    return sign_envelope(request, COORDINATOR, federation.signer)


def timed_release(
    port: Caller, request: bytes, parameters: bytes, last: LastSum
) -> tuple[float, CommitmentReply]:
    """Ask for the first message of a release; returns how long it took, and the message.

    Raises:
        RunError: a refusal.
    """
    started_at = time.perf_counter()
    answer = port.release(request, parameters, last)
    seconds = time.perf_counter() - started_at
    if not isinstance(answer, CommitmentReply):
        raise RunError(f"expected a commitment, found {answer}")
    return seconds, answer


def timed_reveal(port: Caller, request: bytes, statements: Sequence[bytes]) -> tuple[float, bytes]:
    """Ask for the second message of a release; returns how long it took, and the signed reply.

    Raises:
        RunError: a refusal.
    """
    started_at = time.perf_counter()
    answer = port.reveal(request, statements)
    seconds = time.perf_counter() - started_at
    if isinstance(answer, Refusal):
        raise RunError(f"expected a reply, found {answer}")
    return seconds, answer


def measure_in(folder: Path, *, units: int, steps: int) -> dict[str, float]:
    """Time training steps of two custodians that are asked at once.

    Returns:
        Milliseconds: medians of a step's two calls together and of the sum, and of what the calls
        take longer (median, 95th percentile, most), over both custodians and all steps.
    """
    made, coordinator = institutions(folder, units, steps)
    calls: dict[str, list[float]] = {name: [] for name in MEASURED}
    with ExitStack() as stack:
        pipes = stack.enter_context(started(made))
        ports = {i.name: stack.enter_context(connected(i.socket)) for i in made}
        federation = opened(ports, made[0], coordinator)
        pool = stack.enter_context(ThreadPoolExecutor(len(MEASURED)))
        plan, terms = federation.plan, federation.plan.training
        state, last = initial_state(plan.study), NO_LAST_SUM
        for step in range(steps):
            content = parameters_to_bytes(state.parameters)
            request = signed_request(federation, step, content)
            ask = partial(timed_release, request=request, parameters=content, last=last)
            found = [*pool.map(ask, (ports[n] for n in MEASURED)), ask(ports[NAMES[-1]])]
            vectors = tuple(answer.vector for _, answer in found)
            statements = tuple(answer.commitment for _, answer in found)
            show = partial(timed_reveal, request=request, statements=statements)
            shown = [*pool.map(show, (ports[n] for n in MEASURED)), show(ports[NAMES[-1]])]
            for name, (first, _), (second, _) in zip(MEASURED, found, shown, strict=False):
                calls[name].append(first + second)
            replies = tuple(reply for _, reply in shown)
            last = LastSum(request, replies, vectors, statements)
            seeds = [_seed_in(reply, federation) for reply in replies]
            state = replay_step(plan, state, terms, vectors, seeds)
        sums = {name: _asked(pipe) for name, pipe in pipes.items()}
    return _figures(
        [c for name in MEASURED for c in calls[name][WARM_UP:]],
        [s for name in MEASURED for s in sums[name][WARM_UP:]],
    )


def _seed_in(reply: bytes, federation: Federation) -> str:
    return open_envelope(reply, Reply, federation.roster, federation.protection).body.seed


def _asked(pipe: Connection) -> list[float]:
    pipe.send("seconds")
    found: list[float] = pipe.recv()
    return found


def _figures(calls: list[float], sums: list[float]) -> dict[str, float]:
    beside = [1000 * (call - total) for call, total in zip(calls, sums, strict=True)]
    return {
        "call_milliseconds": 1000 * statistics.median(calls),
        "sum_milliseconds": 1000 * statistics.median(sums),
        "beside_milliseconds": statistics.median(beside),
        "beside_milliseconds_95": statistics.quantiles(beside, n=20)[-1],
        "beside_milliseconds_most": max(beside),
        "limit": LIMIT_MILLISECONDS,
    }


def measure(
    units: Annotated[int, typer.Option(min=1000, help="Units of each custodian.")] = 1_000_000,
    steps: Annotated[int, typer.Option(min=4, help="Training steps.")] = 60,
) -> dict[str, float]:
    """Measure what a custodian's process costs beside its sum."""
    with tempfile.TemporaryDirectory(prefix="ff-") as folder:  # short: it holds sockets
        return measure_in(Path(folder), units=units, steps=steps)


def words(found: dict[str, float]) -> list[str]:
    """Return a line for each figure."""
    return [f"{name:26}{value:10.2f}" for name, value in found.items()]


BENCH: Final = Bench(measure, words=words)

if __name__ == "__main__":
    BENCH.app()()

"""A whole federation in one process: custodians, nodes, coordinator.

The same custodians, door, ledger and rounds that a deployment runs. With exact noise
they run in full: identities, signatures, masks, a ledger on disk. With simulated noise
nothing is signed or masked, and every result says so.
"""

import hashlib
import math
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp

from fieldfare.client.custodian.answering import answer
from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.party import Party
from fieldfare.client.home.company import CompanyRules
from fieldfare.client.ledger.budget import Limits
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.node.client_app import client_app
from fieldfare.client.sums.study_sums import StudySums
from fieldfare.client.wire.calls import CustodianPort
from fieldfare.server.run.hello import RunTerms
from fieldfare.server.run.server_app import Job, Outcome, server_app
from fieldfare.shared.errors import RunError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise, NoiseSource, SimulatedNoise
from fieldfare.shared.protocol.comparison import Company, KnownKeys
from fieldfare.shared.protocol.messages import IdentitySigner, NoSigner, Signer
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.protocol.roster import Member, Roster
from fieldfare.shared.protocol.signed_files import offer_study
from fieldfare.shared.study.questions import QuestionGroup
from fieldfare.shared.study.study import Study
from fieldfare.simulations.beside import SideProcess
from fieldfare.simulations.federation.grid import Drop, InProcessGrid, Tap

if TYPE_CHECKING:  # it fits models: a run's own process loads nothing of that
    from fieldfare.client.own_model.tuning import TuningOutcome

FIRST_NODE: Final = 101

F = TypeVar("F")
G = TypeVar("G", bound=InProcessGrid)


@dataclass(frozen=True)
class Identities:
    """Keys of a simulated federation; none when nothing is signed."""

    roster: Roster
    signers: Mapping[str, Signer]
    coordinator: Signer
    roster_key: Signer

    @classmethod
    def make(
        cls,
        names: list[str],
        multiplicity: int,
        protection: Protection,
        own: Mapping[str, Ed25519PrivateKey] | None = None,
    ) -> "Identities":
        """Make fresh identities from operating-system entropy, or none; `own` are there already."""
        if protection is Protection.SIMULATED:
            members = tuple(Member(id=name, key="") for name in sorted(names))
            roster = Roster(version=1, multiplicity=multiplicity, coordinator="", members=members)
            return cls(roster, {name: NoSigner() for name in names}, NoSigner(), NoSigner())
        own = own or {}
        keys = {name: own.get(name) or Ed25519PrivateKey.generate() for name in sorted(names)}
        coordinator_key, roster_key = (Ed25519PrivateKey.generate() for _ in range(2))
        roster = Roster(
            version=1,
            multiplicity=multiplicity,
            coordinator=_public(coordinator_key),
            members=tuple(Member(id=name, key=_public(key)) for name, key in keys.items()),
            roster_key=_public(roster_key),
        )
        signers = {name: IdentitySigner(key) for name, key in keys.items()}
        return cls(roster, signers, IdentitySigner(coordinator_key), IdentitySigner(roster_key))


def _public(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes_raw().hex()


class HomedInstitution(Protocol):
    """An institution that takes part from a home of its own, and uses the model there."""

    name: str

    def founded(self, folder: Path) -> AbstractContextManager[Ed25519PrivateKey]:
        """Make the home in a folder, for as long as a run lasts; gives the identity's key."""

    def custodian(
        self, folder: Path, identities: Identities, study: Study, sums: StudySums
    ) -> Custodian:
        """Return the home's custodian, which has approved the study."""

    def delivered(self, job: Job, identities: Identities) -> None:
        """Take the model of a run that has ended."""

    def used(self, tuned: "TuningOutcome", both: SideProcess) -> Callable[[], dict[str, Any]]:
        """Begin to use the model as it was fitted here; the result is for results.json."""

    def say(self, found: str) -> None:
        """Keep what the run found, in words, for whoever opens the home's console."""


@dataclass(frozen=True)
class HomeInRun:
    """An institution with a home, its identity's key, and the folder that both are in."""

    institution: HomedInstitution
    key: Ed25519PrivateKey
    folder: Path


class LocalFederation:
    """Custodians of one study in this process, ready for a run.

    Use as a context manager: closing it closes the ledgers.
    """

    def __init__(
        self,
        study: Study,
        sums: Mapping[str, StudySums],
        protection: Protection,
        *,
        seed: int,
        directory: Path | None = None,
        sources: Mapping[str, NoiseSource] | None = None,
        home: HomeInRun | None = None,
    ) -> None:
        """Build one custodian for each institution.

        Args:
            study: the study that all approve.
            sums: prepared sums by institution.
            protection: exact or simulated.
            seed: of simulated noise; exact noise has none.
            directory: where exact ledgers live.
            sources: noise by institution, of the same kind, for audits that put in a defect.
            home: of the one that brings its own custodian, which whoever opened it closes.

        Raises:
            StudyError, AccountingError: the study cannot be approved.
            RunError: exact without a directory.
        """
        if protection is Protection.EXACT and directory is None:
            raise RunError("expected a directory for the ledgers for exact noise, found none")
        self.study, self.protection = study, protection
        self.plan: Plan = plan_for(study)
        self._directory = directory
        names = sorted(sums)
        own = {} if home is None else {home.institution.name: home.key}
        self.identities = Identities.make(names, study.privacy.multiplicity, protection, own)
        offer = offer_study(study, self.identities.coordinator)
        self.ledgers: dict[str, Ledger] = {}
        self.custodians: dict[str, Custodian] = {}
        for index, name in enumerate(names):
            if home is not None and name in own:
                self.custodians[name] = home.institution.custodian(
                    home.folder, self.identities, study, sums[name]
                )
                continue
            signer = self.identities.signers[name]
            company = CompanyRules(made_here(self.identities.roster))
            party = Party(name, self.identities.roster, signer, protection, company)
            self.ledgers[name] = self._open_ledger(index, name)
            noise = (
                noise_source(protection, seed=seed, stream=index)
                if sources is None
                else sources[name]
            )
            self.custodians[name] = Custodian(party, self.ledgers[name], noise)
            self.custodians[name].accept(offer, partial(_give_sums, sums[name]))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the ledgers."""
        for ledger in self.ledgers.values():
            ledger.close()

    def job(self, run: str | None = None, later: tuple[QuestionGroup, ...] = ()) -> Job:
        """Return a run of the study, or of later questions, for the coordinator to carry out."""
        run = run or secrets.token_hex(8)
        terms = RunTerms(
            self.plan,
            self.identities.roster,
            self.identities.coordinator,
            self.protection,
            run,
            last_replies={},
        )
        return Job(terms, later=later)

    @property
    def nodes(self) -> dict[str, int]:
        """The node id of each institution."""
        return {name: FIRST_NODE + index for index, name in enumerate(sorted(self.custodians))}

    def grid(
        self, *, drop: Drop | None = None, tap: Tap | None = None, lose: Drop | None = None
    ) -> InProcessGrid:
        """Return a Grid with one node for each institution."""
        app = client_app(self._custodian_of)
        return InProcessGrid(app, self.nodes, drop=drop, tap=tap, lose=lose)

    def grid_of(self, kind: Callable[[ClientApp, Mapping[str, int], F], G], faults: F) -> G:
        """Return a Grid of another kind, that loses messages by `faults`."""
        return kind(client_app(self._custodian_of), self.nodes, faults)

    def run(self, job: Job, grid: InProcessGrid | None = None) -> Outcome:
        """Carry out a job with the real ServerApp and ClientApps.

        Raises:
            RunError: the run could not be finished.
        """
        grid = grid or self.grid()
        context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
        server_app(job)(grid, context)
        if job.outcome is None:
            raise RunError(
                "expected a finished run, found a ServerApp that ended without an outcome"
            )
        return job.outcome

    def _custodian_of(self, context: Context) -> CustodianPort:
        return partial(answer, self.custodians[str(context.node_config["institution"])])

    def _open_ledger(self, index: int, name: str) -> Ledger:
        limits = Limits(
            yearly_picomu2=self.plan.study_limit, lifetime_picomu2=self.plan.study_limit
        )
        path = None
        if self._directory is not None and self.protection is Protection.EXACT:
            path = self._directory / f"ledger-{index}.sqlite"
        return Ledger.open(path, population=name, limits=limits, clock=partial(datetime.now, UTC))


def made_here(roster: Roster) -> Company:
    """Return the company of keys that one process made: there is nobody to compare them with."""
    keys = frozenset((member.id, member.key) for member in roster.members)
    return Company(KnownKeys(compared=keys), epsilon_if_masks_fail=math.inf)


def noise_source(protection: Protection, *, seed: int, stream: int) -> NoiseSource:
    """Return the noise of one institution: exact takes no seed, simulated its own stream."""
    if protection is Protection.EXACT:
        return ExactNoise()
    return SimulatedNoise(noise_stream(seed, stream))


def noise_stream(seed: int, stream: int) -> np.random.Generator:
    """Return one institution's seeded stream of simulated noise."""
    return np.random.default_rng([seed, stream])


def holdout_key(seed: int) -> bytes:
    """Return the key that splits units into training and hold-out in a simulation."""
    return hashlib.blake2b(seed.to_bytes(8), person=b"fieldfare-hold").digest()


def _give_sums(sums: StudySums, study: Study) -> StudySums:
    del study  # the custodian checks that the sums are this study's
    return sums

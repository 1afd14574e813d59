"""Runs of a coordinator's homes, recorded as transcripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from tests.support.federations.bench import Bench
from tests.support.homes.institutions import Coordinator, approve_all
from tests.support.runs.transcripts import Recorder

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.ports import HelloAnswer
from fieldfare.client.institution.open import Custody
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.protocol.plan import Plan, plan_for
from fieldfare.shared.study.study import Study


@dataclass
class HomesBench:
    """What a `Recorder` needs of a bench, from homes on disk."""

    coordinator: Coordinator
    custodies: Sequence[Custody]
    study: Study

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(custody.party.institution for custody in self.custodies)

    @property
    def plan(self) -> Plan:
        return plan_for(self.study)

    @property
    def federation(self) -> Any:
        identities = SimpleNamespace(
            roster=self.coordinator.roster(),
            coordinator=self.coordinator.signer,
            roster_key=self.coordinator.roster_signer,
            signers={custody.party.institution: custody.party.signer for custody in self.custodies},
        )
        return SimpleNamespace(identities=identities)

    def custodian(self, name: str) -> Custodian:
        return next(c.custodian for c in self.custodies if c.party.institution == name)

    def described(self, name: str, run: str, nonce: str) -> HelloAnswer:
        return Bench.described(cast("Bench", self), name, run, nonce)

    def relay(self, name: str, question: bytes) -> None:
        """As where a witness elsewhere answers: some rosters name members that nobody plays."""
        del question
        self.custodian(name)._held.hearing.settled = self.ledger(name).position()

    def ledger(self, name: str) -> Ledger:
        return next(c.ledger for c in self.custodies if c.party.institution == name)


def finished_run(coordinator: Coordinator, custodies: Sequence[Custody], study: Study) -> Recorder:
    """A finished, co-signed run of approved homes."""
    approve_all(coordinator, custodies, study)
    return Recorder(cast("Bench", HomesBench(coordinator, custodies, study))).open().finish()

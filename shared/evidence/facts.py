"""The facts that a pack of evidence is written from; whoever has a home or a transcript fills them.

What one party alone says stands apart from what others can recompute: `report` follows from a
transcript, `times` and `logs` are the word of whoever made the pack.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from fieldfare.shared.audit.audit import AuditReport
from fieldfare.shared.audit.verdict import AuditVerdict
from fieldfare.shared.finished_model.card import ModelCard
from fieldfare.shared.protocol.plan import Plan
from fieldfare.shared.protocol.roster import Roster


class MakerRole(Enum):
    """Whose home a pack is made in; an auditor has none, and signs nothing."""

    COORDINATOR = "coordinator"
    INSTITUTION = "institution"
    AUDITOR = "auditor"


@dataclass(frozen=True)
class LogMark:
    """One log of the maker, as far as it goes.

    Attributes:
        name: of the log.
        holds: what is written there, in words.
        entries: how many; None where that is not counted.
        head: hash of its end, hex; empty where it has none.
        kept: how long, in words.
    """

    name: str
    holds: str
    entries: int | None
    head: str
    kept: str


@dataclass(frozen=True)
class RunTimes:
    """When a run was asked for, and when it ended, by the maker's own clock.

    Attributes:
        run: its id.
        began, ended: to an institution, its first and its last release.
        releases: that this institution debited in it; 0 where a ledger does not say.
    """

    run: str
    began: datetime
    ended: datetime | None
    releases: int = 0


@dataclass(frozen=True)
class PersonDecision:
    """A decision that a log holds: who, what, when; `person`: `who` is an account's name."""

    who: str
    what: str
    time: str
    person: bool = True


@dataclass(frozen=True, kw_only=True)
class OwnBudget:
    """An institution's policy, and its ledger over all studies.

    Attributes:
        policy: SHA-256 of policy.toml, hex.
        delta: at which the policy's three epsilons hold.
        study_epsilon, yearly_epsilon, lifetime_epsilon: its limits.
        two_persons: two persons have to approve a study.
        minimum_units: fewest units at which it takes part at all.
        yearly, lifetime: spent, in 1e-12 mu^2.
        ledger_entries, ledger_epoch, ledger_head: where the ledger ends.
    """

    policy: str
    delta: float
    study_epsilon: float
    yearly_epsilon: float
    lifetime_epsilon: float
    two_persons: bool
    minimum_units: int
    yearly: int
    lifetime: int
    ledger_entries: int
    ledger_epoch: int
    ledger_head: str


@dataclass(frozen=True)
class Package:
    """One installed package: its name, version and licence as its own metadata say them."""

    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class SoftwareFacts:
    """The software that made the pack.

    Attributes:
        version: of Fieldfare.
        python: version of the interpreter.
        packages: everything that is installed beside it, by name.
        digest: SHA-256 over its own installed files, hex; empty where nothing was written down.
        bill: the same packages as a CycloneDX document, JSON.
    """

    version: str
    python: str
    packages: tuple[Package, ...]
    digest: str
    bill: bytes


@dataclass(frozen=True, kw_only=True)
class EvidenceFacts:
    """Everything that the nine parts are written from.

    Attributes:
        role, maker: whose home, and its name on the roster; the role again where there is none.
        made: when, with a time zone.
        plan: of the study.
        roster: under which the study is run.
        run: its id; empty where the pack is of a study.
        participants: of the run, or the institutions that the study was first answered with.
        report: the audit of the run's transcript; None without one.
        verdict: of that audit.
        root: of the transcript's log, hex; empty without one.
        transcript: SHA-256 of the transcript's file, hex; empty without one.
        spent: 1e-12 mu^2 of the institution that spent most, or of the maker itself; by a
            transcript with every attempt that opened, also where an answer is not in it.
        spent_by: of each institution that is known, as its replies or its ledger say.
        asked_by: the same by a transcript, with every attempt that opened.
        releases_by: how many releases of each a transcript holds; a repeat counts once.
        card: of the finished model; None without one.
        figures: what the card's metrics rest on, in words; empty: the coordinator's word.
        times: of runs, by the maker's clock.
        retention_days: how long the coordinator keeps masked vectors; None where not known.
        own: an institution's policy and ledger; None for others.
        lost: its ledger counts releases of the study as spent that it has no entry of.
        decisions: of persons, oldest first.
        names_people: they are shown by the names of their accounts; else numbered.
        logs: of the maker.
        papers: files that travel in the pack, by name.
    """

    role: MakerRole
    maker: str
    made: datetime
    plan: Plan
    roster: Roster
    software: SoftwareFacts
    run: str = ""
    participants: tuple[str, ...] = ()
    report: AuditReport | None = None
    verdict: AuditVerdict | None = None
    root: str = ""
    transcript: str = ""
    spent: int = 0
    spent_by: Mapping[str, int] = field(default_factory=dict)
    asked_by: Mapping[str, int] = field(default_factory=dict)
    releases_by: Mapping[str, int] = field(default_factory=dict)
    card: ModelCard | None = None
    figures: str = ""
    times: tuple[RunTimes, ...] = ()
    retention_days: int | None = None
    own: OwnBudget | None = None
    lost: bool = False
    decisions: tuple[PersonDecision, ...] = ()
    names_people: bool = False
    logs: tuple[LogMark, ...] = ()
    papers: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def institutions(self) -> int:
        """How many take part: of the run where that is known, else the fewest of the study."""
        return len(self.participants) or self.plan.study.aggregation.minimum_institutions

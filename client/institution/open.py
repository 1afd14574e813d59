"""From a home to its running parts: the institution, its ledger, its log and its custodian.

Everything is checked on the way up: the modes of the home, the pinned coordinator and
roster, that this institution is on it with its own key, the ledger's chain and witness.
Nothing here can choose weaker noise: a deployed custodian has exact noise alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fieldfare.client.custodian.custodian import Custodian
from fieldfare.client.custodian.party import Party
from fieldfare.client.custodian.ports import DecisionLog
from fieldfare.client.home.company import CompanyRules
from fieldfare.client.home.inbox import HomeInbox
from fieldfare.client.home.keys import load_holdout_key, load_identity
from fieldfare.client.home.roster import (
    first_multiplicity,
    last_answers,
    pinned_ever,
)
from fieldfare.client.institution.institution import Clock, Institution, ledger_of, open_journal
from fieldfare.client.institution.ledger_checks import check_against_log, check_clock
from fieldfare.client.journal.decisions import CUSTODIAN, JournalDecisions
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.journal.releases import last_release
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.records.encoding.holdout import holdout_mask, split_name
from fieldfare.client.records.encoding.id_sketch import IdSketch
from fieldfare.client.records.encoding.problems import RecordProblem, zero_words
from fieldfare.client.records.encoding.units import NO_ROWS, RowsPerUnit
from fieldfare.client.records.settings import check_unit
from fieldfare.client.sums.run_sums import RunSums
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.privacy.samplers import ExactNoise
from fieldfare.shared.protocol.messages import IdentitySigner
from fieldfare.shared.protocol.signed_files import read_roster
from fieldfare.shared.study.study import Study, check_deployable
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import os_user


@dataclass(frozen=True)
class LoadedSums:
    """An institution's records, ready for one study.

    Attributes:
        sums: what the custodian sums.
        units: how many of the institution's are in them; never leaves.
        rows: that were read.
        zero: of those, how many count as zero.
        findings: everything that did not fit; for people here, never for an answer.
        each: how many rows a unit has.
    """

    sums: RunSums
    units: int
    rows: int = 0
    zero: int = 0
    findings: tuple[RecordProblem, ...] = ()
    each: RowsPerUnit = NO_ROWS

    @property
    def words(self) -> str:
        """How many rows count as zero; empty where none does."""
        return zero_words(self.rows, self.zero)


Loader = Callable[[Study], LoadedSums]


@dataclass(frozen=True)
class Custody:
    """A custodian and everything that it stands on, open.

    Attributes:
        institution: what the home says.
        party: who it is to its peers, with the identity's key.
        ledger: of its population, within the policy's limits.
        journal: its own log.
        inbox: where the studies and models that arrive are kept.
        custodian: built from these.
        bound: what the ledger was bound to at this opening, a line to be told; may be empty.
    """

    institution: Institution
    party: Party
    ledger: Ledger
    journal: Journal
    inbox: HomeInbox
    custodian: Custodian
    bound: str = ""


def open_institution_ledger(institution: Institution, clock: Clock) -> Ledger:
    """Open the ledger of the institution's population, within the policy's limits.

    Raises:
        LedgerError: it cannot be trusted or written, or was spent on other units.
    """
    ledger = ledger_of(institution.home, institution.settings, institution.policy, clock)
    roster, before = (
        institution.roster,
        first_multiplicity(institution.home, institution.roster_key),
    )
    try:
        ledger.check_unit()
        ledger.recount(
            roster.multiplicity,
            before=before or roster.multiplicity,
            user=os_user(),
            reason=f"roster version {roster.version}",
        )
    except LedgerError:
        ledger.close()
        raise
    return ledger


def party_of(institution: Institution, passphrase: bytes | None) -> Party:
    """Return the institution as a party to runs, with its identity's key.

    Raises:
        KeysError: the identity cannot be loaded.
        UsageError: a roster that was kept is damaged.
    """
    home = institution.home
    ever = list(pinned_ever(home, institution.roster_key))
    return Party(
        institution.settings.id,
        institution.roster,
        IdentitySigner(load_identity(home, passphrase)),
        Protection.EXACT,
        CompanyRules(institution.company),
        rosters=tuple(roster for _, roster in ever),
        roster_offer=read_roster(home.roster),
        last_answers=tuple({one: None for path, _ in ever for one in last_answers(path)}),
    )


@contextmanager
def open_custody(
    institution: Institution,
    passphrase: bytes | None,
    clock: Clock,
    decisions: DecisionLog | None = None,
) -> Iterator[Custody]:
    """Build the custodian of a home; the ledger is closed at the end.

    Args:
        institution: as `open_institution` returns it.
        passphrase: of the identity, or None.
        clock: returns the present with a time zone.
        decisions: where the custodian's decisions are written; None: into the log.

    Raises:
        KeysError: the identity cannot be loaded.
        LedgerError: ledger or log cannot be trusted or written, or the ledger is the older one.
    """
    party = party_of(institution, passphrase)
    with (
        open_journal(institution.home, clock) as journal,
        open_institution_ledger(institution, clock) as ledger,
    ):
        check_against_log(ledger, last_release(journal))
        check_clock(journal, clock())
        written = decisions or JournalDecisions(journal)
        inbox = HomeInbox(institution.home, institution.roster, journal, clock)
        custodian = Custodian(party, ledger, ExactNoise(), written, inbox)
        bound = _bound(institution, ledger, journal)
        yield Custody(institution, party, ledger, journal, inbox, custodian, bound)


def _bound(institution: Institution, ledger: Ledger, journal: Journal) -> str:
    """Bind a ledger of an earlier version to its unit, once; return a line that says so."""
    if not ledger.adopt_unit():
        return ""
    line = f"the ledger is bound to the unit {institution.settings.unit}, as institution.toml says"
    journal.append(Event.LEDGER, CUSTODIAN, rule=line)
    return line


def records_loader(institution: Institution, environment: Mapping[str, str]) -> Loader:
    """Return the loader of the institution's records for a study: encoded, split, prepared.

    Args:
        institution: whose `[[records]]` are read.
        environment: variables that may hold a database's address.
    """

    def load(study: Study) -> LoadedSums:
        """Read the records that a study's sums are made of."""
        check_deployable(study)  # also one that an earlier version approved
        if institution.settings.records:  # else reading says so
            check_unit(study, institution.settings.unit)
        # Whoever opens an institution for another reason loads nothing that reads records.
        from fieldfare.client.records import Spool, read_sources  # noqa: PLC0415
        from fieldfare.client.records.kept_parts import parts_kept  # noqa: PLC0415
        from fieldfare.client.sums.partitioned_sums import Workplace, sums_of  # noqa: PLC0415

        spill, asks = institution.home.spill, bool(study.asks or study.groups)
        resume = institution.settings.partitions.resume
        with parts_kept(spill, study.id, utc_now(), resume=resume) as kept:
            records = read_sources(
                institution.settings.records,
                study,
                folder=institution.home.path,
                environment=environment,
                spool=Spool(spill),
                kept=kept,
            )
        key = load_holdout_key(institution.home)
        share, counts = study.evaluation.holdout, records.counts
        mask, split = (
            holdout_mask(records.units, key=key, share=share),
            split_name(key=key, share=share),
        )
        asked = records.asked_units(institution.settings.id, key=key) if asks else None
        own, packages = institution.settings.partitions, institution.policy.models.packages
        at = Workplace(spill, own.workers, own.memory, packages)
        ids = IdSketch.of(records.units, key=key)
        sums = sums_of(study, records, mask, asked, split=split, at=at, ids=ids)
        return LoadedSums(
            sums, len(records), counts.rows, counts.zero, records.findings, counts.each
        )

    return load

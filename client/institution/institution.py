"""A home's settings, policy and roster, read and checked; its ledger and its log, opened."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fieldfare.client.home.comparisons import Comparisons, read_comparisons
from fieldfare.client.home.keys import public_identity
from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import Policy, limits, load_policy, pinned_coordinator
from fieldfare.client.home.roster import KnownSigners, check_member, pinned_roster
from fieldfare.client.home.settings import HomeSettings, load_settings, witness_path
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.shared.protocol.comparison import Company
from fieldfare.shared.protocol.roster import Roster
from fieldfare.shared.study.allowed_packages import permit

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Institution:
    """A home's settings, read and checked; it holds no secret.

    Attributes:
        roster_key: the coordinator's, pinned, hex.
        roster: the pinned one; this institution is on it under its present key.
        comparisons: whose keys people here compared, and what members say.
    """

    home: Home
    settings: HomeSettings
    policy: Policy
    roster_key: str
    roster: Roster
    comparisons: Comparisons

    @property
    def signers_ever(self) -> KnownSigners:
        """Who signed what is kept here.

        Raises:
            UsageError: a roster that was kept is damaged.
        """
        return KnownSigners.of(self.home, self.roster)

    @property
    def company(self) -> Company:
        """In whose company its sums may leave."""
        rules = self.policy.participants
        return Company(self.comparisons.known, rules.minimum_tolerance, rules.epsilon_if_masks_fail)


def open_institution(path: Path) -> Institution:
    """Read and check a home whose roster was accepted.

    Raises:
        UsageError: no home, one that others can reach, or no roster with this institution.
        StudyError: a mistake in institution.toml or policy.toml.
        KeysError: no coordinator's key is pinned, or identity.pub or what was compared cannot be
            read.
    """
    home = Home.open(path)
    settings, policy = load_settings(home), load_policy(home)
    permit(policy.models.packages)  # whatever the command line says
    coordinator = pinned_coordinator(home, policy)
    roster = pinned_roster(home, coordinator)
    # The identity may have been replaced since the roster was pinned.
    check_member(roster, str(home.roster), settings.id, public_identity(home))
    return Institution(home, settings, policy, coordinator, roster, read_comparisons(home))


def ledger_of(home: Home, settings: HomeSettings, policy: Policy, clock: Clock) -> Ledger:
    """Open a home's ledger without regard to its roster: a withdrawal must always be possible.

    Raises:
        LedgerError: it cannot be trusted or written.
    """
    return Ledger.open(
        home.ledger,
        population=settings.population,
        limits=limits(policy),
        clock=clock,
        witness=witness_path(home, settings),
        unit=settings.unit,
    )


def open_journal(home: Home, clock: Clock) -> Journal:
    """Open the institution's own log.

    Raises:
        LedgerError: it cannot be trusted or written.
    """
    return Journal.open(home.log_folder, clock=clock)

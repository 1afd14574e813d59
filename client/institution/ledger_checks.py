"""A home's ledger, opened to look at it, and held against its log, its clock and shown replies."""

from datetime import datetime, timedelta
from typing import Final

from fieldfare.client.home.layout import Home
from fieldfare.client.home.policy import limits, load_policy
from fieldfare.client.home.settings import load_settings, witness_path
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.journal.releases import last_release
from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.kept_states import (
    RecallDecision,
    RecallStanding,
    decision_in,
    shown_position,
    standing_in,
)
from fieldfare.client.ledger.ledger import ACCEPT, Ledger
from fieldfare.client.ledger.run_states import (
    DECISION_STATE,
    LEDGER_STATE,
    RECALL_STATE,
    SHOWN_REPLY,
)
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.system.clock import LARGEST_STEP, utc_now

LONGEST_IDLE: Final = timedelta(days=100)  # between two releases, without a person's word


def open_ledger(home: Home) -> Ledger:
    """Open the ledger of a home; where none was ever begun, an empty one in memory.

    Raises:
        LedgerError: it cannot be trusted, read or written.
        StudyError: a mistake in institution.toml or policy.toml.
    """
    settings = load_settings(home)
    witness = witness_path(home, settings)
    begun = home.ledger.exists() or witness.exists()
    return Ledger.open(
        home.ledger if begun else None,  # to look at a ledger does not begin one
        population=settings.population,
        limits=limits(load_policy(home)),
        clock=utc_now,
        witness=witness,
        unit=settings.unit,
    )


def check_against_log(ledger: Ledger, released: Position | None) -> None:
    """Refuse a ledger that lacks the release which the institution's own log says was last.

    Raises:
        LedgerError: says what to do.
    """
    if released is not None and not ledger.accounts_for(released):
        raise LedgerError(
            f"expected a history with entry {released.sequence} of epoch {released.epoch}, which "
            f"this institution's own log says was released, found one that ends at entry "
            f"{ledger.position().sequence} without it: the ledger was restored from an older copy, "
            "and nothing is answered; bring the newest copy of the ledger and its witness back, or "
            f"accept this one: {ACCEPT}"
        )


def check_clock(journal: Journal, now: datetime) -> None:
    """Refuse a clock that is far from the last release, or from when a person compared it.

    A budget's window follows the clock; the first start has nothing to compare it with.

    Raises:
        LedgerError: says what to do.
    """
    last = journal.newest(Event.RELEASE, Event.CLOCK)
    if last is not None and not -LARGEST_STEP <= now - last.time <= LONGEST_IDLE:
        raise LedgerError(
            f"expected a clock at most {LONGEST_IDLE.days} days after the last release, "
            f"{last.time:%Y-%m-%d %H:%M} UTC, and not before it, found {now:%Y-%m-%d %H:%M}: "
            "budgets are measured by it; set it right, or say that it is: fieldfare institution "
            "ledger clock"
        )


def check_not_behind(ledger: Ledger, home: Home) -> None:
    """Refuse a ledger that lacks a release of the home's log, or a reply that was shown to it.

    Raises:
        LedgerError: says what to do.
    """
    if home.log.exists():
        with Journal.open(home.log_folder, clock=utc_now) as journal:
            check_against_log(ledger, last_release(journal))
    shown = shown_position(ledger.run_state(LEDGER_STATE, SHOWN_REPLY))
    if shown is not None and not ledger.accounts_for(shown):
        raise LedgerError(
            f"expected a history with entry {shown.sequence} of epoch {shown.epoch}, which a "
            "signed reply names that was shown, found one without it: bring the newer ledger back, "
            f"or accept this one: {ACCEPT}"
        )


def recall_of(ledger: Ledger) -> tuple[RecallStanding, RecallDecision] | None:
    """Return whom the last start asked, and what a person decided for it; None: nobody was asked.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    standing = standing_in(ledger.run_state(LEDGER_STATE, RECALL_STATE))
    if standing is None:
        return None
    decided = ledger.run_state(LEDGER_STATE, DECISION_STATE)
    return standing, decision_in(decided, standing.boot)

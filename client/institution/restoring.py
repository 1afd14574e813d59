"""The owner's two statements in a ledger, each written into the institution's log as well."""

from fieldfare.client.custodian.custodian import LEDGER_STATE, SHOWN_REPLY, shown_position
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.ledger import Ledger
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.client.ledger.split import SplitPopulation
from fieldfare.client.policy.policy import limits, load_policy
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.system.clock import utc_now


def open_ledger(home: Home) -> Ledger:
    """Open the ledger of a home; where none was ever begun, an empty one in memory.

    Raises:
        LedgerError: it cannot be trusted, read or written.
        StudyError: a mistake in institution.toml or policy.toml.
    """
    witness = home.ledger.with_name(home.ledger.name + ".witness")
    begun = home.ledger.exists() or witness.exists()
    return Ledger.open(
        home.ledger if begun else None,  # to look at a ledger does not begin one
        population=load_settings(home).population,
        limits=limits(load_policy(home)),
        clock=utc_now,
    )


def check_not_behind(ledger: Ledger) -> None:
    """Refuse a ledger that lacks a signed reply which was shown to its custodian.

    Raises:
        LedgerError: says what to do.
    """
    shown = shown_position(ledger.run_state(LEDGER_STATE, SHOWN_REPLY))
    if shown is not None and not ledger.accounts_for(shown):
        raise LedgerError(
            f"expected a history with entry {shown.sequence} of epoch {shown.epoch}, which a "
            "signed reply names that was shown, found one without it: bring the newer ledger back, "
            "or accept this one: fieldfare institution ledger accept-restore"
        )


def accept_restore(home: Home, terms: Acceptance) -> Statement:
    """Accept a restored ledger as a new epoch; every key and approval of before is gone.

    Raises:
        UsageError: the study that the owner names never arrived here.
        LedgerError: there is nothing to accept, something must be stated, or the log or the
            ledger cannot be written.
    """
    # A mistyped id would take the lost spend out of every study's limit.
    if terms.study and not home.study(terms.study).exists():
        raise UsageError(
            f"--study: expected a study whose offer is in {home.studies}, found another: leave it "
            "out, and what was lost counts against every study"
        )
    population = load_settings(home).population
    with (
        Journal.open(home.log_folder, clock=utc_now) as journal,
        RestoredLedger.open(home.ledger, population=population, clock=utc_now) as restored,
    ):
        shown = shown_position(restored.run_state(LEDGER_STATE, SHOWN_REPLY))
        # Logged first: the log may say more than happened, never less.
        _log(journal, terms.user, terms.reason, "to accept a restored ledger was asked")
        statement = restored.accept(terms, shown=shown, keep=LEDGER_STATE)
        position = statement.position
        journal.append(
            Event.LEDGER,
            terms.user,
            rule=f"a restored ledger was accepted as epoch {position.epoch}",
            user=terms.user,
            reason=terms.reason,
            head=position.head,
            cumulative=position.cumulative,
        )
    return statement


def split_off(home: Home, into: Home, *, user: str, reason: str) -> SplitPopulation:
    """Give the population of another home a ledger that begins with this one's whole history.

    Raises:
        UsageError: both homes keep the same population's budget.
        LedgerError: it was split off before, has a ledger, or one cannot be written.
    """
    name = load_settings(into).population
    if name == load_settings(home).population:
        raise UsageError(
            f"{into.settings}: expected another population than {name!r}, found the same: give the "
            "part its own name there"
        )
    part = SplitPopulation(name, into.ledger)
    with Journal.open(home.log_folder, clock=utc_now) as journal, open_ledger(home) as ledger:
        check_not_behind(ledger)
        _log(journal, user, reason, f"to split off population {name} was asked"[:500])
        ledger.split(part, user=user, reason=reason)
        _log(journal, user, reason, f"population {name} was split off"[:500])
    return part


def _log(journal: Journal, user: str, reason: str, rule: str) -> None:
    journal.append(Event.LEDGER, user, rule=rule, user=user, reason=reason)

"""Ledger, log and clock held against each other, and the owner's statements where they differ.

Each statement is written into the institution's log as well.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from fieldfare.client.custodian.cosigning import LEDGER_STATE
from fieldfare.client.custodian.openings import Openings
from fieldfare.client.custodian.peers import SHOWN_REPLY, shown_position
from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.custodian.recall import (
    DECISION_STATE,
    RECALL_STATE,
    RecallDecision,
    RecallStanding,
    decision_in,
    standing_in,
)
from fieldfare.client.home.keys import create_holdout_key, load_holdout_key
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings, witness_path
from fieldfare.client.journal.decisions import last_release
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.ledger import ACCEPT, Ledger
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.client.ledger.split import SplitPopulation
from fieldfare.client.policy.policy import limits, load_policy
from fieldfare.shared.errors import LedgerError, UsageError
from fieldfare.shared.system.clock import LARGEST_STEP, utc_now
from fieldfare.shared.system.private_files import replace_private

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


def accept_clock(home: Home, user: str) -> None:
    """Write down that a person compared the clock with another one: it is right from now on.

    Openings that were counted on a day ahead of it are counted anew.

    Raises:
        LedgerError: the ledger cannot be trusted, or it or the log not be written.
    """
    with open_ledger(home) as ledger:
        Openings(ledger, NoLog()).renew()
    with Journal.open(home.log_folder, clock=utc_now) as journal:
        journal.append(Event.CLOCK, user, user=user)


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


def accept_restore(
    home: Home, terms: Acceptance, clock: Callable[[], datetime] = utc_now, *, anyway: bool = False
) -> Statement:
    """Accept a restored ledger as a new epoch; every key and approval of before is gone.

    Args:
        home: whose ledger.
        terms: what its owner says.
        clock: returns the present with a time zone.
        anyway: it came from a backup for sure, whatever was lost since.

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
    settings = load_settings(home)
    with (
        Journal.open(home.log_folder, clock=clock) as journal,
        RestoredLedger.open(
            home.ledger,
            population=settings.population,
            clock=clock,
            witness=witness_path(home, settings),
        ) as restored,
    ):
        shown = shown_position(restored.run_state(LEDGER_STATE, SHOWN_REPLY))
        # Logged first: the log may say more than happened, never less.
        log_statement(journal, terms.user, terms.reason, "to accept a restored ledger was asked")
        logged = last_release(journal)
        statement = restored.accept(
            terms, shown=shown, logged=logged, keep=LEDGER_STATE, anyway=anyway
        )
        position = statement.position
        journal.append(
            Event.LEDGER,
            terms.user,
            rule=f"a restored ledger was accepted as epoch {position.epoch}",
            user=terms.user,
            reason=terms.reason,
            head=position.head,
            cumulative=position.cumulative,
            debited=position.debited,
        )
    return statement


def split_off(home: Home, into: Home, *, user: str, reason: str) -> SplitPopulation:
    """Give the population of another home a ledger that begins with this one's whole history.

    The part takes over the key by which units are in training or held out: its ledger counts what
    was released of them, and none may change its side within a study.

    Raises:
        UsageError: both homes keep the same population's budget.
        KeysError: this home's hold-out key is missing or damaged.
        LedgerError: it was split off before, has a ledger, or one cannot be written; the part's
            home stays as it is.
    """
    settings = load_settings(into)
    name = settings.population
    if name == load_settings(home).population:
        raise UsageError(
            f"{into.settings}: expected another population than {name!r}, found the same: give the "
            "part its own name there"
        )
    part = SplitPopulation(name, into.ledger, witness_path(into, settings))
    with Journal.open(home.log_folder, clock=utc_now) as journal, open_ledger(home) as ledger:
        check_not_behind(ledger, home)
        log_statement(journal, user, reason, f"to split off population {name} was asked"[:500])
        key = load_holdout_key(home)
        take_over = partial(replace_private, into.holdout_key, key)
        ledger.split(part, take_over, user=user, reason=reason)
        log_statement(journal, user, reason, f"population {name} was split off"[:500])
    return part


def renew_holdout_key(home: Home, *, user: str, reason: str) -> list[Statement]:
    """Go on with other sides, where the hold-out key that studies are bound to is lost.

    So it is where people have other ids, under the same key. A key that lies in its place becomes
    the studies', as after a home that was made anew; where none does, one is made. What
    their other sides cost is stated first (`ledger.resplit`), so a crash between leaves a ledger
    that has paid, and the same call finishes it.

    Returns:
        One statement for each study that was bound to the lost key; none where none was.

    Raises:
        KeysError: a key is there that is open to others or damaged.
        LedgerError: the ledger is behind, or it or the log cannot be written.
    """
    if home.holdout_key.exists():
        load_holdout_key(home)
    with Journal.open(home.log_folder, clock=utc_now) as journal, open_ledger(home) as ledger:
        check_not_behind(ledger, home)
        log_statement(journal, user, reason, "to go on under another hold-out key was asked")
        with ledger.splits() as splits:
            found = splits.forget(user=user, reason=reason)
        if not home.holdout_key.exists():
            create_holdout_key(home)
        log_statement(
            journal, user, reason, f"another hold-out key from here on, for {len(found)} studies"
        )
    return found


def log_statement(journal: Journal, user: str, reason: str, rule: str) -> None:
    """Write a person's statement about the ledger into the log.

    Raises:
        LedgerError: the log cannot be written.
    """
    journal.append(Event.LEDGER, user, rule=rule, user=user, reason=reason)

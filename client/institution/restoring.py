"""Ledger, log and clock held against each other, and the owner's statements where they differ.

Each statement is written into the institution's log as well.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from fieldfare.client.custodian.openings import Openings
from fieldfare.client.custodian.ports import NoLog
from fieldfare.client.home.keys import create_holdout_key, load_holdout_key
from fieldfare.client.home.layout import Home
from fieldfare.client.home.settings import load_settings, witness_path
from fieldfare.client.institution.ledger_checks import check_not_behind, open_ledger
from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal
from fieldfare.client.journal.releases import last_release
from fieldfare.client.ledger.chain import Statement
from fieldfare.client.ledger.kept_states import shown_position
from fieldfare.client.ledger.restore import Acceptance, RestoredLedger
from fieldfare.client.ledger.run_states import LEDGER_STATE, SHOWN_REPLY
from fieldfare.client.ledger.split import SplitPopulation
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.clock import utc_now
from fieldfare.shared.system.private_files import replace_private


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


def accept_restore(
    home: Home, terms: Acceptance, clock: Callable[[], datetime] = utc_now, *, anyway: bool = False
) -> Statement:
    """Accept a restored ledger as a new epoch; every earlier key and approval is gone.

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

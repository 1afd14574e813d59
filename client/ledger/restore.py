"""Accepting a restored copy of a ledger: a new epoch that counts the lost entries' spend.

`Ledger.open` refuses a copy that is behind its witness, and a custodian works no more once a signed
reply was shown that its ledger does not hold (docs/design.md, "The ledger"). An owner who cannot
bring the newer ledger back opens the copy here, where the only possible act is to accept it: every
run's keys are destroyed, keys and approvals of earlier epochs no longer count, and no budget comes
back.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from fieldfare.client.ledger.budget import Position, check_count, from_picomu2
from fieldfare.client.ledger.chain import (
    EVERY_STUDY,
    Statement,
    StatementDraft,
    StatementKind,
    check_chain,
    lost_cost,
)
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.client.ledger.rows import Store
from fieldfare.client.ledger.schema import erase_log, open_database, whereabouts
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.sqlite.database import Database


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """The owner's statement when a copy is accepted.

    Attributes:
        user, reason: who accepts it, and why.
        kept: the last entry that was in the copy when it was restored. None where that is sure:
            a ledger behind its witness cannot have grown since. Too small a number counts
            entries twice, too large a one would forget some.
        spent: sum of all that was ever debited, in picomu2, as the owner knows it; needed without
            a witness, and never below what the ledger shows.
        study: whose spend the lost entries were; empty: they count against every study.
    """

    user: str
    reason: str
    kept: int | None = None
    spent: int | None = None
    study: str = EVERY_STUDY


def position_in(path: Path, population: str, clock: Callable[[], datetime]) -> Position:
    """Return where the ledger in a copied file ends; its tables become the newest version's.

    Raises:
        LedgerError: damaged, or another population's.
    """
    with open_database(path, busy_timeout=0.0) as database:
        return Store(database, population, clock).tip().position


def begin_ledger(path: Path) -> None:
    """Make an empty ledger where a backup had none: nothing had been released then.

    Raises:
        LedgerError: it cannot be written.
    """
    open_database(path, busy_timeout=0.0).close()


class RestoredLedger:
    """A ledger that was opened to be accepted, and for nothing else."""

    def __init__(
        self, database: Database, store: Store, witness: Witness, clock: Callable[[], datetime]
    ) -> None:
        """Use `RestoredLedger.open`."""
        self._database = database
        self._store = store
        self._witness = witness
        self._clock = clock

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        population: str,
        clock: Callable[[], datetime],
        busy_timeout: float = 5.0,
        witness: Path | None = None,
    ) -> Self:
        """Open the ledger at `path`, which may be lost where its witness is not.

        Raises:
            LedgerError: locked, read-only, damaged, another population's, or never there.
        """
        file = whereabouts(path)
        seen = Witness(file, population, witness)
        if not file.exists() and seen.read() is None:
            raise LedgerError(f"expected a ledger or a witness at {file}, found neither")
        with ExitStack() as stack:
            database = stack.enter_context(open_database(file, busy_timeout=busy_timeout))
            store = Store(database, population, clock)
            check_chain(store.start, store.history())
            stack.pop_all()
        return cls(database, store, seen, clock)

    def __enter__(self) -> Self:
        """Return the open ledger."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the ledger."""
        self._database.close()

    def position(self) -> Position:
        """Return where the copy ends.

        Raises:
            LedgerError: it cannot be read.
        """
        return self._store.tip().position

    def costs(self, study: str) -> SideCosts:
        """Return what a study had spent in the copy, in picomu2 by side.

        Raises:
            LedgerError: it cannot be read.
        """
        return self._store.study_costs(study)

    def run_state(self, study: str, run: str) -> bytes | None:
        """Return the opaque state of a run, to find a signed reply that was shown.

        Raises:
            LedgerError: it cannot be read.
        """
        return self._store.run_state(study, run)

    def accept(
        self,
        terms: Acceptance,
        *,
        shown: Position | None = None,
        logged: Position | None = None,
        keep: str | None = None,
        anyway: bool = False,
    ) -> Statement:
        """Begin a new epoch on this copy.

        Args:
            terms: what the owner says.
            shown: position in a signed reply of this institution that was shown, if any.
            logged: position of the last release in the institution's own log, if any.
            keep: the name whose states are no run's and stay; all others are destroyed.
            anyway: it came from a backup for sure, whatever was lost since.

        *Formal Guarantees.* Afterwards the sum of debits is at least the one of every position
        that was seen, and what is carried over counts on every side, in the window from now on:
        so no limit of the population admits more than before. Every epoch that was seen has
        ended. It is possible only where `Ledger.open` or a custodian refuses, or `anyway`.

        Raises:
            LedgerError: nothing is lost, or something that only the owner knows is not said.
        """
        with self._database.transaction():
            seen = self._witness.read()
            known = dict.fromkeys((seen, shown, logged))  # one position counts once
            lost = [p for p in known if p and not self._store.accounts_for(p)]
            unseen = seen is None and (anyway or self.position().sequence > 0)
            if not lost and not unseen and not anyway:
                raise LedgerError(
                    "expected a restored copy that lacks entries, found a ledger that lacks none: "
                    "there is nothing to accept"
                )
            if unseen and terms.spent is None:
                raise LedgerError(
                    f"expected the witness {self._witness.path}, found none, so nobody knows what "
                    "was spent: bring it back, or state the mu^2 that was ever debited "
                    "(--spent; debited in the last signed reply, or the institution's log)"
                )
            kept = self._kept(terms, lost, seen)
            statement = self._store.state(self._stated(terms, lost, kept), self._clock())
            self._store.forget_all_runs(except_of=keep)
        erase_log(self._database)
        with self._database.transaction():  # its lock keeps a slower process from going back
            self._witness.write(self.position())
        return statement

    def _kept(self, terms: Acceptance, lost: list[Position], seen: Position | None) -> int:
        last = self.position().sequence
        if terms.kept is not None:
            check_count("the last entry kept", terms.kept)
            if terms.kept > last:
                raise LedgerError(
                    f"expected an entry from 0 to {last} as the last one kept, found {terms.kept}"
                )
            return terms.kept
        epoch = self.position().epoch
        for position in lost:
            behind = position is seen and position.sequence > last
            if position.epoch >= epoch and not behind and last > 0:
                raise LedgerError(
                    "expected the number of the last entry that was in the restored copy (--kept), "
                    f"found none: entries after it and the lost ones both count. If nothing was "
                    f"released since, it is {last}; if that is not known, 0 is safe, and counts "
                    "everything twice"
                )
        return last

    def _stated(self, terms: Acceptance, lost: list[Position], kept: int) -> StatementDraft:
        tip = self.position()
        carried = lost_cost(
            lost, self._store.statements(), epoch=tip.epoch, kept=self._store.debited_at(kept)
        )
        if terms.spent is not None:
            check_count("the sum of debits in picomu2", terms.spent)
            if terms.spent < tip.debited:
                raise LedgerError(
                    f"expected debits of mu^2 of at least {from_picomu2(tip.debited)!r}, which "
                    f"this copy shows, found {from_picomu2(terms.spent)!r}"
                )
            carried = max(carried, terms.spent - tip.debited)
        return StatementDraft(
            kind=StatementKind.EPOCH,
            user=terms.user,
            reason=terms.reason,
            carried=carried,
            study=terms.study,
            kept=kept,
            lost=tuple(lost),
        )

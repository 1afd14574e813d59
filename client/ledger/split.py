"""The ledger of a part that is split off a population: it starts as a copy of the history.

`ledger_statements` says which conditions keep a split from giving budget back. The part is
written whole beside its place, then the split is stated in the old ledger, then the part is put
in its place: a crash leaves either no split, or one that the same call finishes. What the part's
home takes over from the whole's (its hold-out key) is written in between: not where the split is
refused, and never later than the ledger that holds units to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fieldfare.client.ledger.chain import StatementDraft, StatementKind
from fieldfare.client.ledger.rollback_check import Witness
from fieldfare.client.ledger.rows import Store
from fieldfare.client.ledger.schema import erase_log, open_database
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.system.private_files import sync_folder

BUSY_TIMEOUT: Final = 5.0  # seconds; nobody else knows the file


@dataclass(frozen=True)
class SplitPopulation:
    """A population that is split off.

    Attributes:
        name: its own, new name.
        path: where its ledger goes, in an existing folder.
        witness: where its witness goes; None: beside it.
    """

    name: str
    path: Path
    witness: Path | None = None

    @property
    def draft(self) -> Path:
        """Return where the ledger is written before it is whole."""
        return self.path.with_name(self.path.name + ".part")

    def is_new(self, store: Store) -> bool:
        """Say whether the part must be written; False: it is, and only its place is missing.

        Raises:
            LedgerError: its name or its place is taken.
        """
        if self.name == store.population:
            raise LedgerError(
                f"expected another name for a part of population {self.name!r}, found the same"
            )
        if self.path.exists():
            raise LedgerError(
                f"expected no ledger at {self.path} yet, found one: a part begins with the "
                "history of the whole; if nothing was ever released by it, move it away with its "
                "witness"
            )
        stated = [s.stated for s in store.statements() if s.stated.kind is StatementKind.SPLIT]
        if self.name not in {split.population for split in stated}:
            Witness(self.path, self.name, self.witness).check_ledger_exists()
            return True
        if not self.draft.exists():
            raise LedgerError(
                f"expected a population that was not split off before, found {self.name!r}: a "
                "second ledger of it would hand its budget out again"
            )
        return False


def state_split(
    part: SplitPopulation, database: Database, store: Store, user: str, reason: str, now: datetime
) -> None:
    """Write the part beside its place and state the split; inside a transaction of the whole.

    Raises:
        LedgerError: it cannot be written, or the whole is in memory.
    """
    stated = StatementDraft(
        kind=StatementKind.SPLIT, user=user, reason=reason, population=part.name
    )
    discard_draft(part)
    database.copy_to(part.draft)
    write_part(part, store.population, stated, now)
    store.state(stated, now)


def write_part(part: SplitPopulation, whole: str, split: StatementDraft, now: datetime) -> None:
    """Turn the copy of the ledger of `whole` into the part's: a new epoch, without any keys.

    Raises:
        LedgerError: it cannot be written.
    """
    with open_database(part.draft, busy_timeout=BUSY_TIMEOUT) as database:
        store = Store(database, whole, lambda: now)
        with database.transaction():
            store.state(split, now)  # the same entry as in the other ledger, with the same head
            own = StatementDraft(
                kind=StatementKind.PART, user=split.user, reason=split.reason, population=part.name
            )
            store.state(own, now)
            store.forget_all_runs()
        erase_log(database)


def discard_draft(part: SplitPopulation) -> None:
    """Remove a crash's draft of a part that no split names.

    Raises:
        LedgerError: it cannot be removed.
    """
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{part.draft}{suffix}").unlink(missing_ok=True)
    except OSError as error:
        raise LedgerError(
            f"expected to remove {part.draft}, found: {error.strerror}; remove it by hand"
        ) from error


def publish_part(part: SplitPopulation, take_over: Callable[[], None]) -> None:
    """Put the part's ledger and its witness in their place.

    The witness comes first: without its ledger it prevents an empty one. `take_over` is called
    before the ledger is there, and again where a crash came between.

    Raises:
        LedgerError: a file cannot be written.
    """
    with open_database(part.draft, busy_timeout=BUSY_TIMEOUT) as database:
        store = Store(database, part.name, _no_clock)
        Witness(part.path, part.name, part.witness).write(store.tip().position)
    take_over()
    try:
        part.draft.replace(part.path)
        sync_folder(part.path.parent)
    except OSError as error:
        raise LedgerError(
            f"expected to write {part.path}, found: {error.strerror}; repeat the split"
        ) from error


def _no_clock() -> datetime:
    raise LedgerError("expected a part that was written whole, found an empty one")

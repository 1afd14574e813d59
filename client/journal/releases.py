"""The newest release that an institution's own log knows of."""

from dataclasses import dataclass, fields
from datetime import datetime

from fieldfare.client.journal.journal import Journal
from fieldfare.client.ledger.budget import Position
from fieldfare.client.ledger.chain import read_position


def last_release(journal: Journal) -> Position | None:
    """Return how far in the ledger this log knows of a release; None where it says of none.

    Raises:
        LedgerError: the log cannot be read.
    """
    entry = journal.last_release()
    if entry is None:
        return None
    names = [field.name for field in fields(Position)]
    return read_position({name: entry.details[name] for name in names if name in entry.details})


@dataclass(frozen=True, kw_only=True)
class LastRelease:
    """The newest answer that left; a repeat of it counts too."""

    time: datetime
    study: str
    run: str
    kind: str
    step: int

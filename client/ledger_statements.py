"""Statements of a person in a ledger: entries that are no debits, in the same hash chain.

epoch  a restored copy was accepted; what the lost entries had cost is carried over as spent
split  from here on some units are a population of their own, and none is in both
part   this copy of the history is the ledger of such a population from here on

*A restored copy* lacks entries whose replies have left. Their cost is known from a later position
of the lost history (the witness's, or one in a signed reply that was shown), or the owner states
it. It is dated to the day of acceptance, so it stays in the 365-day window longer than the debits
would have. Which study it was spent by is not known: unless the owner names one, it counts against
every study's limit, later ones too. Another reply of the lost history that is shown later is
accounted for up to the total that was carried over. That takes it to be on the same lost branch: of
two copies that both went on unnoticed in one epoch and both were lost, only the one that had spent
more is counted.

*A split.* The part's ledger is a copy of the whole history up to that entry, so whatever was
spent on all units is spent for both (nobody regains budget), and it begins a new epoch without
any run's keys. Afterwards each debits its own releases only. That is right because a unit is in
one of the two alone (parallel composition), so these must hold and are the owner's to answer
for: no unit is ever in both, under whatever id; a unit never moves from one to the other; and
which of the two it belongs to does not depend on other units.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

import rfc8785

from fieldfare.client.ledger_terms import (
    MAX_NAME,
    Position,
    check_count,
    check_sha256,
    check_text,
)
from fieldfare.shared.errors import LedgerError

MAX_REASON: Final = 500  # characters, as in the institution's log
EVERY_STUDY: Final = ""  # no study's id is empty

_KEPT_APART: Final = {"kept", "lost", "population", "reason", "user"}


class StatementKind(Enum):
    """The kind of statement; the value is the entry's type in the chain."""

    EPOCH = "epoch"
    SPLIT = "split"
    PART = "part"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """One statement, before it becomes an entry.

    Attributes:
        kind: of the statement.
        user, reason: who states it, and why.
        population: of a split or a part, the part's name.
        carried: picomu2 that count as spent from here on; 0 except for an epoch.
        study: whose spend `carried` is; empty: it counts against every study's limit.
        kept: of an epoch, the last entry that was in the copy that was restored.
        lost: of an epoch, positions that were seen and are not in this history.

    Raises:
        LedgerError: a field cannot stand in the ledger.
    """

    kind: StatementKind
    user: str
    reason: str
    population: str = ""
    carried: int = 0
    study: str = EVERY_STUDY
    kept: int = 0
    lost: tuple[Position, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what the chain could not hold exactly."""
        check_text("user", self.user, MAX_NAME)
        check_text("reason", self.reason, MAX_REASON)
        check_count("what is carried over in picomu2", self.carried)
        check_count("the last entry kept", self.kept)
        of_epoch = self.kind is StatementKind.EPOCH
        if not of_epoch or self.population:
            check_text("population", self.population, MAX_NAME)
        if self.study:
            check_text("study", self.study, MAX_NAME)
        if of_epoch == bool(self.population) or (
            not of_epoch and (self.carried or self.study or self.kept or self.lost)
        ):
            raise LedgerError(f"expected the terms of a statement of kind {self.kind.value}")
        for position in self.lost:
            check_position(position)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement as it stands in the ledger.

    `study_total` is the picomu2 of its study up to and with this entry; `time` is in UTC and
    never before the previous entry's.
    """

    position: Position
    time: datetime
    stated: Stated
    study_total: int


def chained(stated: Stated) -> dict[str, Any]:
    """Return the part of an entry's content that the statement gives."""
    content = _apart(stated) | {"carried": stated.carried, "study": stated.study}
    return content | {"type": stated.kind.value}


def to_text(stated: Stated) -> str:
    """Return what stands in the table of statements; kind, study and sum stand beside it."""
    return rfc8785.dumps(_apart(stated)).decode()


def from_text(text: object, *, kind: str, study: str, carried: int) -> Stated:
    """Return the statement that `to_text` wrote.

    Raises:
        LedgerError: it is damaged.
    """
    try:
        found = _parsed(text)
        found["lost"] = tuple(Position(**position) for position in found["lost"])
        return Stated(kind=StatementKind(kind), study=study, carried=carried, **found)
    except (ValueError, TypeError, RecursionError):
        raise LedgerError(
            f"expected a statement of kind {kind!r}, found a damaged one: restore the newest copy"
        ) from None


def covered(statements: Sequence[Statement], epoch: int) -> int:
    """Return up to which total of a former epoch the history that was lost is carried over.

    -1 for an epoch that has not ended here.
    """
    lost = [
        position.cumulative
        for statement in statements
        for position in statement.stated.lost
        if position.epoch == epoch
    ]
    if lost:
        return max(lost)
    ended = [s.position.cumulative for s in statements if s.position.epoch > epoch]
    return ended[0] if ended else -1


def lost_cost(
    lost: Sequence[Position], statements: Sequence[Statement], *, epoch: int, kept: int
) -> int:
    """Return what entries that are not in this history have cost, in picomu2, never too little.

    `epoch` is the present one, `kept` the total when the copy was made. Entries after the copy
    are on another branch than the lost ones, so both count. Losses to several positions are
    added up, since they may be on different branches as well.
    """
    return sum(
        max(0, p.cumulative - (covered(statements, p.epoch) if p.epoch < epoch else kept))
        for p in lost
    )


def check_position(position: Position) -> None:
    """Refuse a position that no ledger has.

    Raises:
        LedgerError: says which part is wrong.
    """
    check_count("a position's sequence", position.sequence)
    check_count("a position's total", position.cumulative)
    check_count("a position's epoch", position.epoch, least=1)
    check_sha256("a position's head", position.head)


def _parsed(text: object) -> dict[str, Any]:
    found = json.loads(text) if isinstance(text, str) else None
    if not isinstance(found, dict) or set(found) != _KEPT_APART:
        raise ValueError("expected the fields of a statement")
    return found


def _apart(stated: Stated) -> dict[str, Any]:
    return {
        "kept": stated.kept,
        "lost": [asdict(position) for position in stated.lost],
        "population": stated.population,
        "reason": stated.reason,
        "user": stated.user,
    }

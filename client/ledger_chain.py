"""The hash chain over a ledger's entries. Pure: entries in, heads out.

Each head is the SHA-256 (FIPS 180-4) of the head before it and the entry's canonical bytes
(RFC 8785), so the head in one signed reply fixes everything that was debited until then.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import rfc8785

from fieldfare.client.ledger_statements import (
    EVERY_STUDY,
    Stated,
    Statement,
    StatementKind,
    chained,
)
from fieldfare.client.ledger_terms import (
    GENESIS_EPOCH,
    MAX_PICOMU2,
    Debit,
    Entry,
    Position,
    check_count,
    check_sha256,
)
from fieldfare.shared.errors import LedgerError

FORMAT: Final = 1
_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Tip:
    """The end of a chain: the next entry starts here."""

    position: Position
    time: datetime


def to_micros(instant: datetime) -> int:
    """Return microseconds since 1970 in UTC, exactly.

    Raises:
        LedgerError: no time zone, before 1970, or after 2255 (not exact in RFC 8785).
    """
    if instant.tzinfo is None:
        raise LedgerError("expected a time with a time zone, found none: use a clock in UTC")
    micros = (instant - _UNIX_EPOCH) // timedelta(microseconds=1)
    if not 0 <= micros <= MAX_PICOMU2:
        raise LedgerError(f"expected a year from 1970 to 2255, found {instant}: set the clock")
    return micros


def from_micros(micros: int) -> datetime:
    """Return the instant in UTC.

    Raises:
        LedgerError: not an integer that `to_micros` returns.
    """
    check_count("a time in microseconds", micros)
    return _UNIX_EPOCH + timedelta(microseconds=micros)


def genesis(population: str, created: datetime) -> Tip:
    """Return where a ledger of `population` starts; the time of creation tells two starts apart."""
    start: dict[str, Any] = {
        "created": to_micros(created),
        "format": FORMAT,
        "population": population,
        "type": "genesis",
    }
    head = hashlib.sha256(rfc8785.dumps(start)).hexdigest()
    return Tip(
        position=Position(sequence=0, head=head, cumulative=0, epoch=GENESIS_EPOCH), time=created
    )


def next_entry(tip: Tip, debit: Debit, *, vector: str, study_total: int, time: datetime) -> Entry:
    """Return the entry that follows `tip`: one debit, the sha256 of what left, and new totals.

    `study_total` is the total of the debit's study before this entry, in picomu2.
    """
    content: dict[str, Any] = asdict(debit) | {
        "cumulative": tip.position.cumulative + debit.cost,
        "epoch": tip.position.epoch,
        "format": FORMAT,
        "sequence": tip.position.sequence + 1,
        "study_total": study_total + debit.cost,
        "time": to_micros(time),
        "type": "debit",
        "vector": vector,
    }
    position = _position(tip, content)
    return Entry(
        position=position,
        time=time,
        debit=debit,
        vector=vector,
        study_total=content["study_total"],
    )


def next_statement(tip: Tip, stated: Stated, *, study_total: int, time: datetime) -> Statement:
    """Return the entry that follows `tip` and states something.

    `study_total` is the total of the statement's study before this entry, in picomu2.

    *Formal Guarantees.* A new epoch stands at no smaller total than any history that was seen,
    so accepting a restored copy never regains budget; it follows every epoch that was seen, so
    no key or approval counts again.

    Raises:
        LedgerError: less is carried over than was seen, or more entries kept than there are.
    """
    content = chained(stated) | {
        "cumulative": tip.position.cumulative + stated.carried,
        "epoch": _epoch_after(tip, stated),
        "format": FORMAT,
        "sequence": tip.position.sequence + 1,
        "study_total": study_total + stated.carried,
        "time": to_micros(time),
    }
    check_count("the total after a statement", content["cumulative"])
    seen = max((position.cumulative for position in stated.lost), default=0)
    if content["cumulative"] < seen or stated.kept > tip.position.sequence:
        raise LedgerError(
            f"expected entry {content['sequence']} to carry over what was lost, up to a total of "
            f"{seen} picomu2 or more, found one that leads to {content['cumulative']}"
        )
    return Statement(
        position=_position(tip, content),
        time=time,
        stated=stated,
        study_total=content["study_total"],
    )


def _epoch_after(tip: Tip, stated: Stated) -> int:
    if stated.kind is StatementKind.SPLIT:
        return tip.position.epoch
    return max([tip.position.epoch, *(position.epoch for position in stated.lost)]) + 1


def _position(tip: Tip, content: dict[str, Any]) -> Position:
    linked = bytes.fromhex(tip.position.head) + rfc8785.dumps(content)
    return Position(
        sequence=content["sequence"],
        head=hashlib.sha256(linked).hexdigest(),
        cumulative=content["cumulative"],
        epoch=content["epoch"],
    )


def check_chain(start: Tip, history: Iterable[Entry | Statement]) -> None:
    """Recompute a whole history.

    Raises:
        LedgerError: the first entry that does not fit.
    """
    check = ChainCheck(start)
    for entry in history:
        check.add(entry)


class ChainCheck:
    """Recomputes a chain from its start, entry by entry, with all its totals."""

    def __init__(self, start: Tip) -> None:
        """Begin at the genesis of the ledger."""
        self.tip = start
        self._study_totals: dict[str, int] = {}  # without what counts against every study
        self._everyones = 0

    def add(self, entry: Entry | Statement) -> None:
        """Accept the next entry if it is exactly what the chain says.

        Raises:
            LedgerError: an entry is missing, changed, out of order or wrongly summed.
        """
        number = self.tip.position.sequence + 1
        if entry.time < self.tip.time:
            raise LedgerError(f"expected entry {number} after {self.tip.time}, found {entry.time}")
        study = entry.debit.study if isinstance(entry, Entry) else entry.stated.study
        expected = self._expected(entry, self._study_totals.get(study, 0) + self._everyones)
        if entry != expected:
            raise LedgerError(
                f"expected entry {number} with head {expected.position.head}, found entry "
                f"{entry.position.sequence} with head {entry.position.head}: the ledger was "
                "changed; restore the newest copy"
            )
        if study == EVERY_STUDY:
            self._everyones = expected.study_total
        else:
            self._study_totals[study] = expected.study_total - self._everyones
        self.tip = Tip(position=expected.position, time=expected.time)

    def _expected(self, entry: Entry | Statement, study_total: int) -> Entry | Statement:
        if isinstance(entry, Statement):
            return next_statement(self.tip, entry.stated, study_total=study_total, time=entry.time)
        check_sha256("the vector's hash in an entry", entry.vector)
        return next_entry(
            self.tip,
            entry.debit,
            vector=entry.vector,
            study_total=study_total,
            time=entry.time,
        )

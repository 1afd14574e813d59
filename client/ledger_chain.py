"""The hash chain over a ledger's entries. Pure: entries in, heads out.

Each head is the SHA-256 (FIPS 180-4) of the head before it and the entry's canonical bytes
(RFC 8785), so the head in one signed reply fixes everything that was debited until then.
"""

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import rfc8785

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
    chained = bytes.fromhex(tip.position.head) + rfc8785.dumps(content)
    position = Position(
        sequence=content["sequence"],
        head=hashlib.sha256(chained).hexdigest(),
        cumulative=content["cumulative"],
        epoch=content["epoch"],
    )
    return Entry(
        position=position,
        time=time,
        debit=debit,
        vector=vector,
        study_total=content["study_total"],
    )


class ChainCheck:
    """Recomputes a chain from its start, entry by entry, with all its totals."""

    def __init__(self, start: Tip) -> None:
        """Begin at the genesis of the ledger."""
        self.tip = start
        self._study_totals: dict[str, int] = {}

    def add(self, entry: Entry) -> None:
        """Accept the next entry if it is exactly what the chain says.

        Raises:
            LedgerError: an entry is missing, changed, out of order or wrongly summed.
        """
        number = self.tip.position.sequence + 1
        check_sha256(f"the vector's hash in entry {number}", entry.vector)
        if entry.time < self.tip.time:
            raise LedgerError(f"expected entry {number} after {self.tip.time}, found {entry.time}")
        expected = next_entry(
            self.tip,
            entry.debit,
            vector=entry.vector,
            study_total=self._study_totals.get(entry.debit.study, 0),
            time=entry.time,
        )
        if entry != expected:
            raise LedgerError(
                f"expected entry {number} with head {expected.position.head}, found entry "
                f"{entry.position.sequence} with head {entry.position.head}: the ledger was "
                "changed; restore the newest copy"
            )
        self._study_totals[entry.debit.study] = expected.study_total
        self.tip = Tip(position=expected.position, time=expected.time)

"""The hash chain over a ledger's debits and people's statements. Pure: entries in, heads out.

Each head is the SHA-256 (FIPS 180-4) of the head before it and the entry's canonical bytes
(RFC 8785), so the head in one signed reply fixes everything that was debited until then.

Entries that are no debits:

epoch  a restored copy was accepted; what the lost entries had cost is carried over as spent
split  from here on some units are a population of their own, and none is in both
part   this copy of the history is the ledger of such a population from here on
unit   what the population's members are counted by, since its first release and for good
multiplicity  from here on one person may be known to so many institutions (M)
holdout  the hold-out key is lost, or ids are new: a study's units change their sides from here on
ids    other ids than a study's first answer knew are of other people: nobody's was changed
peers  others opened a request that names this institution and that no entry here was for
silence  a person goes on without what some members remember; all that limits allow is spent

*A restored copy* lacks entries whose replies have left. Their cost is known from a later position
of the lost history (the witness's, or one in a signed reply that was shown), or the owner states
it. It is dated to the day of acceptance, so it stays in the 365-day window longer than the debits
would have. Which study it was spent by is not known: unless the owner names one, it counts against
every study's limit, later ones too. Another reply of the lost history that is shown later is
accounted for up to the total that was carried over. That takes it to be on the same lost branch: of
two copies that both went on unnoticed in one epoch and both were lost, only the one that had spent
more is counted.

*Another M.* A debit is what one person with M memberships may lose. Where M rises to M', such a
person has lost (M'/M)^2 times as much by what was released before, and so it counts from then on,
in the window and for life; entries keep their cost and their M. Where M falls, by a person's
decision, what was spent counts as before.

*What peers opened.* A copy of this ledger may have answered a request that this one knows nothing
of. Where peers show it (`peers.py`), its cost is spent here as well: as if it had read all units,
since nobody here sees by which key that copy split them. The same holds for what a restored copy
carries over, of which the ledger does not know what it read.

*Which side of a study.* `split` has it: releases that read training units and releases that read
hold-out units cost a unit the larger of the two sums. Entries of an earlier version name no side.

*A lost hold-out key.* `resplit.py` says what a study's other sides cost and why.

*A split.* The part's ledger is a copy of the whole history up to that entry, so whatever was
spent on all units is spent for both (nobody regains budget), and it begins a new epoch without
any run's keys. Afterwards each debits its own releases only. That is right because a unit is in
one of the two alone (parallel composition), so these must hold and are the owner's to answer
for: no unit is ever in both, under whatever id; a unit never moves from one to the other; and
which of the two it belongs to does not depend on other units.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

import rfc8785

from fieldfare.client.ledger.budget import (
    GENESIS_EPOCH,
    MAX_NAME,
    MAX_PICOMU2,
    Debit,
    LedgerEntry,
    Position,
    check_count,
    check_sha256,
    check_text,
)
from fieldfare.shared.canonical import chained_hash
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.sides import Side, SideCosts

MAX_REASON: Final = 500  # characters, as in the institution's log
EVERY_STUDY: Final = ""  # no study's id is empty

_KEPT_APART: Final = {"kept", "lost", "population", "reason", "user"}
_MAY_BE_LEFT_OUT: Final = {"debit", "multiplicity", "unit"}


class StatementKind(Enum):
    """The kind of statement; the value is the entry's type in the chain."""

    EPOCH = "epoch"
    SPLIT = "split"
    PART = "part"
    UNIT = "unit"
    MULTIPLICITY = "multiplicity"
    PEERS = "peers"
    HOLDOUT = "holdout"
    SILENCE = "silence"
    IDS = "ids"


_OF_POPULATION: Final = {StatementKind.SPLIT, StatementKind.PART, StatementKind.UNIT}


@dataclass(frozen=True, kw_only=True)
class StatementDraft:
    """One statement, before it becomes an entry.

    Attributes:
        kind: of the statement.
        user, reason: who states it, and why.
        population: of a split or a part, the part's name; of a unit, whose it is.
        carried: picomu2 that count as spent from here on; 0 except for an epoch, for peers,
            for silent ones and for a lost hold-out key.
        study: whose spend `carried` is; empty: it counts against every study's limit.
        kept: of an epoch, the last entry that was in the copy that was restored.
        lost: of an epoch, positions that were seen and are not in this history.
        unit: of a unit, the column of its ids by the studies' name.
        multiplicity: of another M, what it was and what it is from here on; else zeros.
        debit: of peers, what they opened and what it costs; `carried` is less where an epoch
            carried it over before, or the study's limit is reached.

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
    unit: str = ""
    multiplicity: tuple[int, int] = (0, 0)
    debit: Debit | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that the chain could not hold exactly."""
        check_text("user", self.user, MAX_NAME)
        check_text("reason", self.reason, MAX_REASON)
        check_count("what is carried over in picomu2", self.carried)
        check_count("the last entry kept", self.kept)
        of_epoch = self.kind is StatementKind.EPOCH
        of_multiplicity = self.kind is StatementKind.MULTIPLICITY
        if of_multiplicity is not all(self.multiplicity):
            raise LedgerError("expected what M was and is in a statement of another M alone")
        for known_to in self.multiplicity:
            check_count("how many institutions know a person", known_to)
        named = self.kind in _OF_POPULATION
        if named or self.population:
            check_text("population", self.population, MAX_NAME)
        if self.study:
            check_text("study", self.study, MAX_NAME)
        of_split = self.study and (
            self.kind is StatementKind.HOLDOUT
            or (self.kind is StatementKind.IDS and not self.carried)
        )
        of_silence = self.kind is StatementKind.SILENCE and not self.study
        spends = (self.carried or self.study) and not (of_split or of_silence)
        if named != bool(self.population) or (
            not of_epoch and ((spends and self.debit is None) or self.kept or self.lost)
        ):
            raise LedgerError(f"expected the terms of a statement of kind {self.kind.value}")
        self._check_debit()
        if self.unit:
            check_text("unit", self.unit, MAX_NAME)
        if (self.kind is StatementKind.UNIT) != bool(self.unit):
            raise LedgerError("expected a unit in a statement of a unit, and in no other")
        for position in self.lost:
            check_position(position)

    def _check_debit(self) -> None:
        debit = self.debit
        fits = debit is None or (debit.study == self.study and self.carried <= debit.cost)
        if (self.kind is StatementKind.PEERS) != (debit is not None) or not fits:
            raise LedgerError("expected a debit in a statement of what peers opened, and no other")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement as it stands in the ledger.

    `study_total` is the picomu2 of its study up to and with this entry; `time` is in UTC and
    never before the previous entry's.
    """

    position: Position
    time: datetime
    stated: StatementDraft
    study_total: int


def chained(stated: StatementDraft) -> dict[str, Any]:
    """Return the part of an entry's content that the statement gives."""
    content = _apart(stated) | {"carried": stated.carried, "study": stated.study}
    return content | {"type": stated.kind.value}


def to_text(stated: StatementDraft) -> str:
    """Return the text for the table of statements; kind, study and sum have their own columns."""
    return rfc8785.dumps(_apart(stated)).decode()


def from_text(text: object, *, kind: str, study: str, carried: int) -> StatementDraft:
    """Return the statement that `to_text` wrote.

    Raises:
        LedgerError: it is damaged.
    """
    try:
        found = _parsed(text)
        found["lost"] = tuple(read_position(position) for position in found["lost"])
        found["multiplicity"] = tuple(found.get("multiplicity", (0, 0)))
        found["debit"] = Debit(**found["debit"]) if "debit" in found else None
        return StatementDraft(kind=StatementKind(kind), study=study, carried=carried, **found)
    except (ValueError, TypeError, RecursionError):
        raise LedgerError(
            f"expected a statement of kind {kind!r}, found a damaged one: restore the newest copy"
        ) from None


def covered(statements: Sequence[Statement], epoch: int) -> int:
    """Return up to which sum of debits of a former epoch the lost history is carried over.

    -1 for an epoch that has not ended here.
    """
    lost = [
        position.debited
        for statement in statements
        for position in statement.stated.lost
        if position.epoch == epoch
    ]
    if lost:
        return max(lost)
    ended = [s.position.debited for s in statements if s.position.epoch > epoch]
    return ended[0] if ended else -1


def lost_cost(
    lost: Sequence[Position], statements: Sequence[Statement], *, epoch: int, kept: int
) -> int:
    """Return the cost of entries that are not in this history, in picomu2, never too little.

    `epoch` is the present one, `kept` the sum of debits when the copy was made. Entries after the
    copy are on another branch than the lost ones, so both count. Losses to several positions are
    added up, since they may be on different branches as well. Sums of debits are compared, not
    totals: whose units the lost entries read is not known, so each counts in full.
    """
    return sum(
        max(0, p.debited - (covered(statements, p.epoch) if p.epoch < epoch else kept))
        for p in lost
    )


def counts_as(costs: Sequence[tuple[int, int]]) -> list[int]:
    """Return present costs, in picomu2, rounded up: each at the highest M since.

    Args:
        costs: (cost, M) of each part of a history, oldest first, the present M last.

    *Formal Guarantees.* What one person adds has at most M times the norm of what one unit adds,
    so mu^2 goes by M^2. No cost ever counts for less than it did: the highest M since its part
    never falls.
    """
    found, highest = [], 0
    for cost, then in reversed(costs):
        highest = max(highest, then)
        found.append(cost if highest == then else -(-cost * highest**2 // then**2))
    return found[::-1]


def check_position(position: Position) -> None:
    """Refuse a position that no ledger has.

    Raises:
        LedgerError: says which part is wrong.
    """
    check_count("a position's sequence", position.sequence)
    check_count("a position's total", position.cumulative)
    check_count("a position's sum of debits", position.debited, least=position.cumulative)
    check_count("a position's epoch", position.epoch, least=1)
    check_sha256("a position's head", position.head)


def read_position(found: dict[str, Any]) -> Position:
    """Return a position as it was written, also before there were sides.

    Every debit raised the total then, so that total is the sum of debits.
    """
    fields = dict(found)
    fields.setdefault("debited", fields.get("cumulative"))
    return Position(**fields)


def _parsed(text: object) -> dict[str, Any]:
    found = json.loads(text) if isinstance(text, str) else None
    if not isinstance(found, dict) or set(found) - _MAY_BE_LEFT_OUT != _KEPT_APART:
        raise ValueError("expected the fields of a statement")
    return found


def _apart(stated: StatementDraft) -> dict[str, Any]:
    known_to = {"multiplicity": list(stated.multiplicity)} if all(stated.multiplicity) else {}
    return known_to | {
        "kept": stated.kept,
        "lost": [_written(position) for position in stated.lost],
        "population": stated.population,
        "reason": stated.reason,
        "user": stated.user,
        # Left out where there is none: the heads of other statements stay as they were.
        **({"unit": stated.unit} if stated.unit else {}),
        **({"debit": stated.debit.content()} if stated.debit else {}),
    }


def _written(position: Position) -> dict[str, Any]:
    found = asdict(position)
    if position.debited == position.cumulative:
        del found["debited"]  # as before there were sides: the heads of statements stay
    return found


# -- ledger chain ---------------------------------------------------------------------------------

FORMAT: Final = 1
SIDED_FORMAT: Final = 2  # of a debit that names a side: totals may rise by less than its cost
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
    head = chained_hash(b"", start)
    return Tip(
        position=Position(sequence=0, head=head, cumulative=0, epoch=GENESIS_EPOCH, debited=0),
        time=created,
    )


def next_entry(
    tip: Tip, debit: Debit, *, vector: str, before: SideCosts, time: datetime
) -> LedgerEntry:
    """Return the entry after `tip`: one debit, the sha256 of the answer, and new totals.

    `before` is what the debit's study cost before this entry, in picomu2. On the smaller side of
    it a debit raises the totals by 0.
    """
    added = before.added(debit.side, debit.cost)
    content: dict[str, Any] = debit.content() | {
        "cumulative": tip.position.cumulative + added,
        "epoch": tip.position.epoch,
        "format": FORMAT if debit.side is Side.ALL else SIDED_FORMAT,
        "sequence": tip.position.sequence + 1,
        "study_total": before.total + added,
        "time": to_micros(time),
        "type": "debit",
        "vector": vector,
    }
    position = _position(tip, content, debit.cost)
    return LedgerEntry(
        position=position, time=time, debit=debit, vector=vector, study_total=content["study_total"]
    )


def next_statement(
    tip: Tip, stated: StatementDraft, *, before: SideCosts, time: datetime
) -> Statement:
    """Return the entry that follows `tip` and states something.

    `before` is what the statement's study cost before this entry, in picomu2. What is carried over
    counts as if it had read all units.

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
        "study_total": before.total + stated.carried,
        "time": to_micros(time),
    }
    position = _position(tip, content, stated.carried)
    check_count("the sum of debits after a statement", position.debited)
    seen = max((one.debited for one in stated.lost), default=0)
    if position.debited < seen or stated.kept > tip.position.sequence:
        raise LedgerError(
            f"expected entry {content['sequence']} to carry over what was lost, up to a sum of "
            f"{seen} picomu2 or more, found one that leads to {position.debited}"
        )
    return Statement(
        position=position, time=time, stated=stated, study_total=content["study_total"]
    )


_SAME_EPOCH: Final = {
    StatementKind.SPLIT,
    StatementKind.UNIT,
    StatementKind.MULTIPLICITY,
    StatementKind.PEERS,
    StatementKind.HOLDOUT,
    StatementKind.IDS,
}


def _epoch_after(tip: Tip, stated: StatementDraft) -> int:
    if stated.kind in _SAME_EPOCH:
        return tip.position.epoch
    return max([tip.position.epoch, *(position.epoch for position in stated.lost)]) + 1


def _position(tip: Tip, content: dict[str, Any], cost: int) -> Position:
    return Position(
        sequence=content["sequence"],
        head=chained_hash(bytes.fromhex(tip.position.head), content),
        cumulative=content["cumulative"],
        epoch=content["epoch"],
        debited=tip.position.debited + cost,
    )


def costs_of(entry: LedgerEntry | Statement) -> tuple[str, Side, int]:
    """Return whose cost an entry is, whose units it read, and the cost in picomu2."""
    if isinstance(entry, Statement):
        return entry.stated.study, Side.ALL, entry.stated.carried
    return entry.debit.study, entry.debit.side, entry.debit.cost


def check_chain(start: Tip, history: Iterable[LedgerEntry | Statement]) -> None:
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
        self._studies: dict[str, SideCosts] = {}  # what counts against every study is apart

    def add(self, entry: LedgerEntry | Statement) -> None:
        """Accept the next entry if it continues the chain exactly.

        Raises:
            LedgerError: an entry is missing, changed, out of order or wrongly summed.
        """
        number = self.tip.position.sequence + 1
        if entry.time < self.tip.time:
            raise LedgerError(f"expected entry {number} after {self.tip.time}, found {entry.time}")
        study, side, cost = costs_of(entry)
        own = self._studies.get(study, SideCosts())
        everyones = self._studies.get(EVERY_STUDY, SideCosts()) if study else SideCosts()
        expected = self._expected(entry, own.and_also(everyones))
        if entry != expected:
            raise LedgerError(
                f"expected entry {number} with head {expected.position.head}, found entry "
                f"{entry.position.sequence} with head {entry.position.head}: the ledger was "
                "changed; restore the newest copy"
            )
        self._studies[study] = own.plus(side, cost)
        self.tip = Tip(position=expected.position, time=expected.time)

    def _expected(
        self, entry: LedgerEntry | Statement, before: SideCosts
    ) -> LedgerEntry | Statement:
        if isinstance(entry, Statement):
            return next_statement(self.tip, entry.stated, before=before, time=entry.time)
        check_sha256("the vector's hash in an entry", entry.vector)
        return next_entry(
            self.tip, entry.debit, vector=entry.vector, before=before, time=entry.time
        )

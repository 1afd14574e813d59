"""The ledger's statements: each reads or writes rows of one open database, nothing else.

No locks and no transactions here; `ledger.Ledger` holds both around these calls.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fieldfare.client.ledger.budget import (
    WINDOW,
    Debit,
    LedgerBalance,
    LedgerEntry,
    Portion,
    Position,
    StoredReply,
)
from fieldfare.client.ledger.chain import (
    EVERY_STUDY,
    Statement,
    StatementDraft,
    StatementKind,
    Tip,
    counts_as,
    covered,
    from_micros,
    from_text,
    genesis,
    next_statement,
    to_micros,
    to_text,
)
from fieldfare.client.ledger.pending import PendingAnswers, Split
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.sides import Side, SideCosts, total_of
from fieldfare.shared.sqlite.database import Database

BATCH: Final = 500  # rows per read, so that no reader holds the log open for long

_MICROSECOND: Final = timedelta(microseconds=1)
_COLUMNS: Final = (
    "sequence, head, cumulative, epoch, debited, time, study, run, step, attempt, kind, request, "
    "cost, side, vector, study_total, type"
)
# As it is read: every entry from before there were sides raised the total.
_POSITION: Final = "sequence, head, cumulative, epoch, coalesce(debited, cumulative)"
_READ: Final = _COLUMNS.replace("sequence, head, cumulative, epoch, debited", _POSITION)
_DEBIT: Final = "debit"
# What is stated counts on every side, whatever its row says: its hash holds no side.
_SIDE: Final = f"CASE type WHEN '{_DEBIT}' THEN side ELSE '{Side.ALL.value}' END"
_STATEMENT_COLUMNS: Final = f"{_POSITION}, time, study, cost, study_total, type, content"


class Store:
    """Entries, replies and run states of one population. Every failure is a LedgerError."""

    def __init__(self, database: Database, population: str, clock: Callable[[], datetime]) -> None:
        """Read an open database; `clock` dates the start of a new ledger.

        Raises:
            LedgerError: the ledger belongs to another population.
        """
        self._database = database
        self.pending = PendingAnswers(database)
        if not database.rows("SELECT 1 FROM ledger"):
            database.rows(
                "INSERT INTO ledger VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
                population,
                to_micros(clock()),
            )
        ((first, created),) = database.rows("SELECT population, created FROM ledger")
        self.start = genesis(first, from_micros(created))
        parts = [s.stated for s in self.statements() if s.stated.kind is StatementKind.PART]
        self.population = parts[-1].population if parts else first
        if self.population != population:
            raise LedgerError(
                f"expected the ledger of population {population!r}, found that of "
                f"{self.population!r}: "
                "a budget belongs to its units; open the right file"
            )

    def tip(self) -> Tip:
        """Return the end of the chain."""
        found = self._database.rows(
            f"SELECT {_POSITION}, time FROM entries ORDER BY sequence DESC LIMIT 1"
        )
        return (
            Tip(position=_position(found[0]), time=from_micros(found[0][5]))
            if found
            else (self.start)
        )

    def entries_after(self, sequence: int, limit: int) -> list[LedgerEntry | Statement]:
        """Return the next entries in order, at most `limit`."""
        rows = self._database.rows(
            f"SELECT {_READ} FROM entries WHERE sequence > ? ORDER BY sequence LIMIT ?",
            *(sequence, limit),
        )
        if all(row[-1] == _DEBIT for row in rows):
            return [_entry(row) for row in rows]
        stated = {s.position.sequence: s for s in self.statements()}
        return [stated.get(row[0]) or _entry(row) for row in rows]

    def history(self) -> Iterator[LedgerEntry | Statement]:
        """Yield every entry, oldest first, a batch at a time."""
        after, batch = 0, self.entries_after(0, BATCH)
        while batch:
            yield from batch
            after = batch[-1].position.sequence
            batch = self.entries_after(after, BATCH)

    def statements(self) -> list[Statement]:
        """Return every statement, oldest first.

        Raises:
            LedgerError: one is damaged.
        """
        rows = self._database.rows(
            f"SELECT {_STATEMENT_COLUMNS} FROM entries JOIN statements USING (sequence)"
            " ORDER BY sequence"
        )
        return [_statement(row) for row in rows]

    def unit(self) -> str | None:
        """Return the population's unit, or None before anything was spent.

        Raises:
            LedgerError: the statement is damaged.
        """
        stated = (s.stated for s in self.statements())
        return next((one.unit for one in stated if one.kind is StatementKind.UNIT), None)

    def any_debit(self) -> bool:
        """Say whether anything was ever released."""
        return bool(self._database.rows("SELECT 1 FROM entries WHERE type = 'debit' LIMIT 1"))

    def accounts_for(self, position: Position) -> bool:
        """Say whether the history has this position, or carries over a lost one that reaches it.

        A position of an ended epoch that is not in the history was on the branch that was lost.
        """
        if self.contains(position):
            return True
        ended = position.epoch < self.tip().position.epoch
        return ended and position.debited <= covered(self.statements(), position.epoch)

    def debited_at(self, sequence: int) -> int:
        """Return the picomu2 that the first `sequence` entries debited, whatever they read.

        Raises:
            LedgerError: there are fewer.
        """
        if sequence == 0:
            return 0
        found = self._database.rows(
            "SELECT coalesce(debited, cumulative) FROM entries WHERE sequence = ?", sequence
        )
        if not found:
            raise LedgerError(f"expected a ledger with an entry {sequence}, found a shorter one")
        return int(found[0][0])

    def contains(self, position: Position) -> bool:
        """Say whether the history has this sequence with this head and epoch."""
        if position.sequence == 0:
            known = self.start.position
            return (position.head, position.epoch) == (known.head, known.epoch)
        found = self._database.rows(
            "SELECT head, epoch FROM entries WHERE sequence = ?", position.sequence
        )
        return found == [(position.head, position.epoch)]

    def study_costs(self, study: str, *, everyones: bool = True) -> SideCosts:
        """Return what a study cost over all its runs, by whose units were read, in picomu2.

        With `everyones` also what counts against every study.
        """
        rows = self._database.rows(
            f"SELECT {_SIDE}, sum(cost) FROM entries WHERE study IN (?, ?) GROUP BY 1",
            *(study, EVERY_STUDY if everyones else study),
        )
        return SideCosts.of((_side(side), int(cost)) for side, cost in rows)

    def spent_since(self, micros: int) -> int:
        """Return the picomu2 of entries at `micros` (since 1970) or later, as they count now."""
        return total_of(self.costs_since(micros))

    def costs_since(self, micros: int) -> dict[str, SideCosts]:
        """Return what each study cost at `micros` (since 1970) or later, as it counts now.

        What counts against every study stands under `EVERY_STUDY`, once.
        """
        return self._costs_in(micros)[0]

    def _costs_in(self, micros: int) -> tuple[dict[str, SideCosts], dict[str, SideCosts]]:
        """Return what each study cost at `micros` or later, and ever, in one reading."""
        changes = self.multiplicities()
        # Entries up to a change were made under the M that it says there was before.
        parts = [(sequence, then) for sequence, then, _ in changes]
        parts.append((self.tip().position.sequence, changes[-1][2] if changes else 1))
        known_to = [then for _, then in parts]
        costs: dict[tuple[str, Side], list[tuple[int, int]]] = {}
        after = 0
        for part, (last, _) in enumerate(parts):
            for study, side, late, ever in self._costs_between(micros, after, last):
                by_part = costs.setdefault((study, _side(side)), [(0, 0)] * len(parts))
                by_part[part] = int(late), int(ever)
            after = last
        found: tuple[dict[str, SideCosts], dict[str, SideCosts]] = ({}, {})
        for (study, side), by_part in costs.items():
            for sums, of_part in zip(found, zip(*by_part, strict=True), strict=True):
                counted = sum(counts_as(list(zip(of_part, known_to, strict=True))))
                if counted:
                    sums[study] = sums.get(study, SideCosts()).plus(side, counted)
        return found

    def multiplicities(self) -> list[tuple[int, int, int]]:
        """Return every change of M: its entry, the value before, the value since."""
        kind = StatementKind.MULTIPLICITY
        found = [one for one in self.statements() if one.stated.kind is kind]
        return [(one.position.sequence, *one.stated.multiplicity) for one in found]

    def _costs_between(self, micros: int, after: int, last: int) -> Sequence[tuple[Any, ...]]:
        return self._database.rows(
            f"SELECT study, {_SIDE}, sum(CASE WHEN time >= ? THEN cost ELSE 0 END), sum(cost)"
            " FROM entries WHERE cost > 0 AND sequence > ? AND sequence <= ? GROUP BY 1, 2",
            *(micros, after, last),
        )

    def balance(self, debit: Debit, now: datetime, portion: Portion | None = None) -> LedgerBalance:
        """Return the totals that `debit` is measured against at `now`."""
        last = self._database.rows(
            "SELECT step, attempt FROM entries WHERE type = 'debit' AND study = ? AND run = ?"
            " ORDER BY step DESC, attempt DESC LIMIT 1",
            *debit.place[:2],
        )
        ((opened,),) = self._database.rows(
            "SELECT count(*) FROM entries WHERE type = 'debit'"
            " AND study = ? AND run = ? AND step = ?",
            *debit.place[:3],
        )
        waits = self.pending.of_run(*debit.place[:2])
        told = [one for one in self.told() if one.place[:2] == debit.place[:2]]
        places = [(row[0], row[1]) for row in last] + [(one.step, one.attempt) for one in told]
        # After the count: what another process commits meanwhile has taken the place, not a try.
        occupant = self._database.rows(
            "SELECT request FROM entries WHERE type = 'debit'"
            " AND study = ? AND run = ? AND step = ? AND attempt = ?",
            *debit.place[:4],
        )
        if waits is not None and waits.cost:
            places.append(waits.place)
            if waits.place == debit.place[2:4]:
                occupant = occupant or [(waits.request,)]
        # The clock as it stands, not as the last entry says: a smaller `now` only counts more.
        window = max(to_micros(now) - WINDOW // _MICROSECOND, 0)
        yearly, ever = self._costs_in(window)
        return LedgerBalance(
            occupant=occupant[0][0] if occupant else None,
            last=max(places, default=None),
            study=self.study_costs(debit.study),
            yearly_total=total_of(yearly),
            lifetime_total=total_of(ever),
            study_in_year=yearly.get(debit.study, SideCosts()),
            study_ever=ever.get(debit.study, SideCosts()),
            portion_total=0 if portion is None else self._portion_total(debit.study, portion),
            opened=opened + sum(one.step == debit.step for one in told),
        )

    def split_place(self, study: str) -> str:
        """Return the name under which a study's split stands: another one after each lost key."""
        kind = StatementKind.HOLDOUT
        stated = [one.stated for one in self.statements()]
        lost = sum(one.kind is kind and one.study == study for one in stated)
        return f"{study}:{lost}" if lost else study  # ids hold no colon

    def bind_split(self, study: str, split: Split) -> None:
        """Write down how a study's units are split; nothing where an answer read all of them."""
        if split.name:
            self.pending.bind_split(self.split_place(study), split)

    def sided(self, study: str) -> list[tuple[int, Side, int]]:
        """Return sequence, side and picomu2 of each debit of a study that read one side."""
        rows = self._database.rows(
            "SELECT sequence, side, cost FROM entries WHERE study = ? AND type = 'debit'"
            " AND side <> ? ORDER BY sequence",
            *(study, Side.ALL.value),
        )
        return [(sequence, _side(side), int(cost)) for sequence, side, cost in rows]

    def told(self) -> list[Debit]:
        """Return what was debited because peers opened it, oldest first."""
        stated = (one.stated for one in self.statements())
        return [one.debit for one in stated if one.debit is not None]

    def check_untold(self, request: str) -> None:
        """Check that a request was not debited because peers told of it.

        Raises:
            PolicyRefusal: ATTEMPT_CLOSED: it was.
        """
        if any(one.request == request for one in self.told()):
            raise PolicyRefusal(
                RefusalCode.ATTEMPT_CLOSED,
                "expected a request that was not paid for, found one that peers showed as opened, "
                "of which this ledger knew nothing: make a new attempt",
            )

    def debited(self, request: str) -> bool:
        """Say whether a request was debited as it was answered."""
        return bool(self._debits("request = ?", request))

    def keep_request(self, sequence: int, request: bytes) -> None:
        """Keep the signed request of an entry."""
        self._database.rows(
            "INSERT INTO requests (sequence, request) VALUES (?, ?)", sequence, request
        )

    def _portion_total(self, study: str, portion: Portion) -> int:
        ((total,),) = self._database.rows(
            "SELECT coalesce(sum(cost), 0) FROM entries WHERE type = 'debit'"
            " AND study = ? AND step >= ?",
            *(study, portion.first_step),
        )
        told = (one for one in self.told() if one.study == study)
        return int(total) + sum(one.cost for one in told if one.step >= portion.first_step)

    def answered(self, debit: Debit) -> bool:
        """Say whether this very request has its entry.

        Raises:
            LedgerError: the request has an entry for another place: it was not hashed whole.
        """
        found = self._debits("request = ?", debit.request)
        if found and found[0].debit.place != debit.place:
            raise LedgerError(
                f"expected request {debit.request} at {found[0].debit.place}, where it was "
                f"answered, found it at {debit.place}: hash the whole request"
            )
        return bool(found)

    def reply(self, request: str) -> StoredReply | None:
        """Return the answer that left for a request.

        Raises:
            LedgerError: the bytes are missing, or are not those that left.
        """
        found = self._debits("request = ?", request)
        if not found:
            return None
        (entry,) = found
        sequence = entry.position.sequence
        kept = self._database.rows(
            "SELECT reply, vector, reply_sha256 FROM replies WHERE sequence = ?", sequence
        )
        hashes = [(bytes_hash(reply), bytes_hash(vector)) for reply, vector, _ in kept]
        if not kept or hashes[0] != (kept[0][2], entry.vector):
            raise LedgerError(
                f"expected the bytes that left as entry {sequence}, found others or none: the "
                "ledger is damaged; restore the newest copy of it and its witness"
            )
        return StoredReply(
            reply=kept[0][0],
            vector=kept[0][1],
            position=entry.position,
            commitment=self.pending.commitment(sequence),
            cost=entry.debit.cost,
        )

    def append(self, entry: LedgerEntry, reply: bytes, vector: bytes) -> None:
        """Write an entry and its answer."""
        values = (
            *(entry.position.sequence, entry.position.head, entry.position.cumulative),
            *(entry.position.epoch, entry.position.debited, to_micros(entry.time)),
            *(*entry.debit.place, entry.debit.request, entry.debit.cost, entry.debit.side.value),
            *(entry.vector, entry.study_total),
        )
        self._insert(*values, _DEBIT)
        self._database.rows(
            "INSERT INTO replies (sequence, reply, vector, reply_sha256) VALUES (?, ?, ?, ?)",
            *(entry.position.sequence, reply, vector, bytes_hash(reply)),
        )

    def state(self, stated: StatementDraft, now: datetime) -> Statement:
        """Write a statement at the end of the chain.

        Raises:
            LedgerError: the chain does not admit it.
        """
        tip = self.tip()
        statement = next_statement(
            tip, stated, before=self.study_costs(stated.study), time=max(now, tip.time)
        )
        position = statement.position
        self._insert(
            *(position.sequence, position.head, position.cumulative, position.epoch),
            *(position.debited, to_micros(statement.time), stated.study, "", 0, 0, "", ""),
            *(stated.carried, Side.ALL.value, "", statement.study_total, stated.kind.value),
        )
        self._database.rows(
            "INSERT INTO statements (sequence, content) VALUES (?, ?)",
            *(position.sequence, to_text(stated)),
        )
        return statement

    def run_state(self, study: str, run: str) -> bytes | None:
        """Return the state of a run."""
        found = self._database.rows(
            "SELECT state FROM runs WHERE study = ? AND run = ?", study, run
        )
        return found[0][0] if found else None

    def run_names(self, study: str) -> list[str]:
        """Return the names under which a study has states, sorted."""
        found = self._database.rows("SELECT run FROM runs WHERE study = ? ORDER BY run", study)
        return [name for (name,) in found]

    def put_run_state(self, study: str, run: str, state: bytes) -> None:
        """Write the state of a run over the one before."""
        self._database.rows(
            "INSERT INTO runs (study, run, state) VALUES (?, ?, ?)"
            " ON CONFLICT (study, run) DO UPDATE SET state = excluded.state",
            *(study, run, state),
        )

    def forget_run_state(self, study: str, run: str) -> None:
        """Delete one state of a study."""
        self._database.rows("DELETE FROM runs WHERE study = ? AND run = ?", study, run)

    def forget_runs(self, study: str) -> None:
        """Delete the states of a study's runs, and answers that wait for its opening."""
        self.pending.drop_study(study)
        self._database.rows("DELETE FROM runs WHERE study = ?", study)

    def forget_all_runs(self, *, except_of: str | None = None) -> None:
        """Delete the states of all runs but those kept under one name, and all that waits."""
        self.pending.drop_all()
        self._database.rows("DELETE FROM runs WHERE study IS NOT ?", except_of)

    def _insert(self, *values: object) -> None:
        marks = ", ".join("?" * len(values))
        self._database.rows(f"INSERT INTO entries ({_COLUMNS}) VALUES ({marks})", *values)

    def _debits(self, condition: str, *values: object) -> list[LedgerEntry]:
        rows = self._database.rows(
            f"SELECT {_READ} FROM entries WHERE type = 'debit' AND {condition}", *values
        )
        return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> LedgerEntry:
    time, study, run, step, attempt, kind, request, cost, side, vector, study_total, found = row[5:]
    if found != _DEBIT:
        raise LedgerError(
            f"expected entry {row[0]} to be a debit or a statement with its text, found "
            f"{found!r} without one: restore the newest copy"
        )
    return LedgerEntry(
        position=_position(row),
        time=from_micros(time),
        debit=Debit(
            study=study,
            run=run,
            step=step,
            attempt=attempt,
            kind=kind,
            request=request,
            cost=cost,
            side=_side(side),
        ),
        vector=vector,
        study_total=study_total,
    )


def _side(found: object) -> Side:
    try:
        return Side(found)
    except ValueError:
        raise LedgerError(
            "expected entries that say whose units they read, found a damaged one: restore the "
            "newest copy"
        ) from None


def _statement(row: tuple[Any, ...]) -> Statement:
    time, study, cost, study_total, kind, content = row[5:]
    return Statement(
        position=_position(row),
        time=from_micros(time),
        stated=from_text(content, kind=kind, study=study, carried=cost),
        study_total=study_total,
    )


def _position(row: tuple[Any, ...]) -> Position:
    sequence, head, cumulative, epoch, debited = row[:5]
    return Position(
        sequence=sequence, head=head, cumulative=cumulative, epoch=epoch, debited=debited
    )

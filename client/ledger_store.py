"""The ledger's statements: each reads or writes rows of one open database, nothing else.

No locks and no transactions here; `ledger.Ledger` holds both around these calls.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from fieldfare.client.ledger_chain import Tip, from_micros, genesis, to_micros
from fieldfare.client.ledger_database import Database
from fieldfare.client.ledger_rules import WINDOW, Standing
from fieldfare.client.ledger_terms import Debit, Entry, Position, StoredReply
from fieldfare.shared.errors import LedgerError

_MICROSECOND: Final = timedelta(microseconds=1)
_COLUMNS: Final = (
    "sequence, head, cumulative, epoch, time, study, run, step, attempt, kind, request, cost, "
    "vector, study_total"
)


class Store:
    """Entries, replies and run states of one population. Every failure is a LedgerError."""

    def __init__(self, database: Database, population: str, clock: Callable[[], datetime]) -> None:
        """Bring the tables up to date; `clock` dates the start of a new ledger.

        Raises:
            LedgerError: the ledger belongs to another population.
        """
        self._database = database
        database.migrate()
        if not database.rows("SELECT 1 FROM ledger"):
            database.rows(
                "INSERT INTO ledger VALUES (1, ?, ?) ON CONFLICT DO NOTHING",
                population,
                to_micros(clock()),
            )
        ((found, created),) = database.rows("SELECT population, created FROM ledger")
        if found != population:
            raise LedgerError(
                f"expected the ledger of population {population!r}, found that of {found!r}: "
                "a budget belongs to its units; open the right file"
            )
        self.start = genesis(population, from_micros(created))

    def tip(self) -> Tip:
        """Return the end of the chain."""
        found = self._select("ORDER BY sequence DESC LIMIT 1")
        return Tip(position=found[0].position, time=found[0].time) if found else self.start

    def entries_after(self, sequence: int, limit: int) -> list[Entry]:
        """Return the next entries in order, at most `limit`."""
        return self._select("WHERE sequence > ? ORDER BY sequence LIMIT ?", sequence, limit)

    def contains(self, position: Position) -> bool:
        """Say whether the history has this sequence with this head and epoch."""
        if position.sequence == 0:
            known = self.start.position
            return (position.head, position.epoch) == (known.head, known.epoch)
        found = self._database.rows(
            "SELECT head, epoch FROM entries WHERE sequence = ?", position.sequence
        )
        return found == [(position.head, position.epoch)]

    def study_total(self, study: str) -> int:
        """Return the picomu2 spent by a study over all its runs."""
        found = self._database.rows(
            "SELECT study_total FROM entries WHERE study = ? ORDER BY sequence DESC LIMIT 1", study
        )
        return int(found[0][0]) if found else 0

    def spent_since(self, micros: int) -> int:
        """Return the picomu2 of entries at `micros` (since 1970) or later."""
        # Times never fall, so everything before an instant is a prefix, and its total is known.
        ((spent,),) = self._database.rows(
            """
SELECT coalesce((SELECT cumulative FROM entries ORDER BY sequence DESC LIMIT 1), 0)
    - coalesce((
        SELECT cumulative FROM entries WHERE time < ? ORDER BY time DESC, sequence DESC LIMIT 1
    ), 0)
""",
            micros,
        )
        return int(spent)

    def standing(self, debit: Debit, now: datetime) -> Standing:
        """Return what `debit` must be measured against at `now`."""
        occupant = self._database.rows(
            "SELECT request FROM entries WHERE type = 'debit'"
            " AND study = ? AND run = ? AND step = ? AND attempt = ?",
            *debit.place[:4],
        )
        last = self._database.rows(
            "SELECT step, attempt FROM entries WHERE type = 'debit' AND study = ? AND run = ?"
            " ORDER BY step DESC, attempt DESC LIMIT 1",
            *debit.place[:2],
        )
        # The clock as it stands, not as the last entry says: a smaller `now` only counts more.
        window = max(to_micros(now) - WINDOW // _MICROSECOND, 0)
        return Standing(
            occupant=occupant[0][0] if occupant else None,
            last=(last[0][0], last[0][1]) if last else None,
            study_total=self.study_total(debit.study),
            yearly_total=self.spent_since(window),
            lifetime_total=self.tip().position.cumulative,
        )

    def answered(self, debit: Debit) -> bool:
        """Say whether this very request has its entry.

        Raises:
            LedgerError: the request has an entry for another place: it was not hashed whole.
        """
        found = self._select("WHERE type = 'debit' AND request = ?", debit.request)
        if found and found[0].debit.place != debit.place:
            raise LedgerError(
                f"expected request {debit.request} at {found[0].debit.place}, where it was "
                f"answered, found it at {debit.place}: hash the whole request"
            )
        return bool(found)

    def reply(self, request: str) -> StoredReply | None:
        """Return what left for a request.

        Raises:
            LedgerError: the bytes are missing, or are not those that left.
        """
        found = self._select("WHERE type = 'debit' AND request = ?", request)
        if not found:
            return None
        (entry,) = found
        sequence = entry.position.sequence
        kept = self._database.rows(
            "SELECT reply, vector, reply_sha256 FROM replies WHERE sequence = ?", sequence
        )
        if not kept or (_sha256(kept[0][0]), _sha256(kept[0][1])) != (kept[0][2], entry.vector):
            raise LedgerError(
                f"expected the bytes that left as entry {sequence}, found others or none: the "
                "ledger is damaged; restore the newest copy of it and its witness"
            )
        return StoredReply(reply=kept[0][0], vector=kept[0][1], position=entry.position)

    def append(self, entry: Entry, reply: bytes, vector: bytes) -> None:
        """Write an entry and what leaves for it."""
        values = (
            *(entry.position.sequence, entry.position.head, entry.position.cumulative),
            *(entry.position.epoch, to_micros(entry.time), *entry.debit.place),
            *(entry.debit.request, entry.debit.cost, entry.vector, entry.study_total),
        )
        marks = ", ".join("?" * len(values))
        self._database.rows(
            f"INSERT INTO entries (type, {_COLUMNS}) VALUES ('debit', {marks})", *values
        )
        self._database.rows(
            "INSERT INTO replies (sequence, reply, vector, reply_sha256) VALUES (?, ?, ?, ?)",
            *(entry.position.sequence, reply, vector, _sha256(reply)),
        )

    def run_state(self, study: str, run: str) -> bytes | None:
        """Return the state of a run."""
        found = self._database.rows(
            "SELECT state FROM runs WHERE study = ? AND run = ?", study, run
        )
        return found[0][0] if found else None

    def put_run_state(self, study: str, run: str, state: bytes) -> None:
        """Write the state of a run over the one before."""
        self._database.rows(
            "INSERT INTO runs (study, run, state) VALUES (?, ?, ?)"
            " ON CONFLICT (study, run) DO UPDATE SET state = excluded.state",
            *(study, run, state),
        )

    def forget_runs(self, study: str) -> None:
        """Delete the states of a study's runs."""
        self._database.rows("DELETE FROM runs WHERE study = ?", study)

    def _select(self, clause: str, *values: object) -> list[Entry]:
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM entries {clause}", *values)
        return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> Entry:
    sequence, head, cumulative, epoch, time, study, run, step, attempt, kind = row[:10]
    request, cost, vector, study_total = row[10:]
    return Entry(
        position=Position(sequence=sequence, head=head, cumulative=cumulative, epoch=epoch),
        time=from_micros(time),
        debit=Debit(
            study=study,
            run=run,
            step=step,
            attempt=attempt,
            kind=kind,
            request=request,
            cost=cost,
        ),
        vector=vector,
        study_total=study_total,
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

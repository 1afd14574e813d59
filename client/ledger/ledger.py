"""The privacy ledger of one population of units: nothing leaves that was not debited here.

A debit, the reply's bytes and the run's next keys are committed in one transaction, flushed to disk
and witnessed before the reply may be sent (docs/design.md, "The door": a crash before the commit
released nothing; after it, a repeat gets the same bytes). The ledger is hash-chained and
append-only; its head and total stand in every signed reply.

*The clock.* An entry's time is never before its predecessor's or the ledger's start, so setting
the clock back cannot date a debit out of the 365-day window before older ones; the window itself
is measured back from the clock as it stands, so setting it back only counts more, and from the
present that honest peers signed at a run's opening where that is earlier. Otherwise a clock that
runs ahead makes the window forget early, and one that lagged when a debit was made forgets that
debit early by the lag: against both stand the study's and the lifetime limit, which know no time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Final, Self

from fieldfare.client.ledger.budget import (
    Debit,
    LedgerEntry,
    Limits,
    Portion,
    Position,
    StoredReply,
    check_count,
    check_debit,
    present,
)
from fieldfare.client.ledger.chain import (
    Statement,
    StatementDraft,
    StatementKind,
    check_chain,
    next_entry,
    to_micros,
)
from fieldfare.client.ledger.peers import PeerRows
from fieldfare.client.ledger.pending import NO_SPLIT, PendingAnswer, Split
from fieldfare.client.ledger.resplit import SplitRows
from fieldfare.client.ledger.rollback_check import Witness, trusted
from fieldfare.client.ledger.rows import BATCH, Store
from fieldfare.client.ledger.schema import erase_log, open_database, whereabouts
from fieldfare.client.ledger.split import SplitPopulation, publish_part, state_split
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.privacy.sides import Side, SideCosts
from fieldfare.shared.sqlite.database import Database

ACCEPT: Final = "fieldfare institution ledger accept-restore"


class Ledger:
    """One population's debits, replies and run states. Threads and processes may share it."""

    def __init__(
        self,
        database: Database,
        store: Store,
        witness: Witness | None,
        *,
        limits: Limits,
        clock: Callable[[], datetime],
        unit: str | None = None,
    ) -> None:
        """Use `Ledger.open`, which also checks the history."""
        self._database = database
        self._store = store
        self._witness = witness
        self._limits = limits
        self._clock = clock
        self._unit = unit
        self._lock = RLock()
        self._ahead = timedelta(0)  # of the present that peers signed
        self._settled: Position | None = None  # so far it is witnessed, and its log erased
        self._unerased = False  # what was destroyed may be in the log still
        # Where a witness on another file system lies, and whether one agreed at the opening.
        self.witness_elsewhere, self.witnessed = "", False

    @classmethod
    def open(
        cls,
        path: Path | None,
        *,
        population: str,
        limits: Limits,
        clock: Callable[[], datetime],
        unit: str | None = None,
        busy_timeout: float = 5.0,
        witness: Path | None = None,
    ) -> Self:
        """Open or create the ledger of `population`; None keeps it in memory, for simulations.

        `unit` is the column that its members are counted by: the first release binds the ledger
        to it, and none follows under another. With None it is bound to none, for simulations.
        The file is 0600 in an existing directory. The whole chain is recomputed and compared
        with the witness, at `witness` or beside the file. `clock` returns the present with a time
        zone; `busy_timeout` (seconds) is how long to wait for other processes.

        Raises:
            LedgerError: locked, read-only, damaged, truncated, restored from an older copy,
                or another population's.
        """
        file = None if path is None else whereabouts(path)
        seen = None if file is None else Witness(file, population, witness)
        if seen is not None:
            seen.check_ledger_exists()
            seen.read()  # one of a later version is refused before any table is changed
        with ExitStack() as stack:
            database = stack.enter_context(open_database(file, busy_timeout=busy_timeout))
            store = Store(database, population, clock)
            ledger = cls(database, store, seen, limits=limits, clock=clock, unit=unit)
            ledger._check_chain()
            ledger._check_witness()
            ledger._settle(0)
            stack.pop_all()
        return ledger

    def __enter__(self) -> Self:
        """Return the open ledger."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the ledger."""
        self.close()

    def close(self) -> None:
        """Close the ledger; anything later is refused."""
        with self._lock:
            self._database.close()

    def stored(self, request: str) -> StoredReply | None:
        """Return the bytes that answered `request` (sha256 of R), free of cost, or None.

        Raises:
            LedgerError: the ledger cannot be read, or the bytes are not those that left.
        """
        with self._lock:
            found = self._store.reply(request)
            if found is not None:
                self._settle(found.position.sequence)
            return found

    def heed(self, peers: Sequence[datetime], tolerance: int) -> None:
        """Measure the window from peers' signed times too, until the next opening.

        A clock that runs ahead makes the window forget early; t colluders cannot hide it.

        Args:
            peers: the times in their offers, of one opening.
            tolerance: t, how many of them may lie.

        Raises:
            LedgerError: the clock was set.
        """
        with self._lock:
            now = self._clock()
            self._ahead = now - present(now, peers, tolerance)

    def admit(
        self,
        debit: Debit,
        *,
        study_limit: int,
        max_attempts: int,
        max_tries: int | None = None,
        portion: Portion | None = None,
        participants: tuple[str, ...] = (),
        split: Split = NO_SPLIT,
    ) -> None:
        """Say early whether `debit` could be committed; `commit_waiting` asks again.

        `study_limit` is in picomu2 over all runs of the study, `portion` limits those from one step
        on. At most `max_attempts` of a step are paid for; they count from 0 and may go up to
        `max_tries` where some are not. `participants` are those of every sum of the study, if it
        fixes them; `split` names key and share by which its units are in training or held out, the
        same at all its releases of one side. A request that was answered passes: its repeat is
        free.

        Raises:
            PolicyRefusal: REPLAY_CHANGED, STEP_CLOSED, ATTEMPT_CLOSED, TOO_MANY_ATTEMPTS,
                BUDGET_EXHAUSTED or BAD_PARTICIPANTS.
            LedgerError: another split, or the ledger cannot be read.
        """
        check_count("the study's limit in picomu2", study_limit)
        check_count("the number of attempts", max_attempts)
        with self._lock:
            if self._store.answered(debit):
                return
            try:
                self._store.check_untold(debit.request)
                check_debit(
                    debit,
                    self._store.balance(debit, self._clock() - self._ahead, portion),
                    self._limits,
                    study_limit=study_limit,
                    max_attempts=max_attempts,
                    max_tries=max_tries,
                    portion=portion,
                )
                self._store.pending.check_set(debit, participants)
                if debit.side is not Side.ALL:  # what reads all units does not depend on the key
                    self._store.pending.check_split(self._store.split_place(debit.study), split)
            except PolicyRefusal:
                # Outside a transaction each look is at another moment.
                if not self._store.answered(debit):
                    raise

    def waiting(self, study: str, run: str) -> PendingAnswer | None:
        """Return the answer of a run that was committed to and not opened, or None.

        Raises:
            LedgerError: the ledger cannot be read, or the answer is not what left.
        """
        with self._lock:
            return self._store.pending.of_run(study, run)

    def fixed(self, study: str) -> tuple[str, ...]:
        """Return the institutions of all sums of a study that fixes them; none before the first.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.pending.fixed(study)

    def keep_waiting(
        self,
        answer: PendingAnswer,
        *,
        check: Callable[[PeerRows], None],
        run_states: Mapping[str, bytes],
        split: Split = NO_SPLIT,
    ) -> PendingAnswer:
        """Keep an answer on disk that waits for its opening; then its first message may leave.

        The run's last answer that was not opened is destroyed, in the log too; so are the previous
        states, in the log with the next debit. A repeated request returns what was kept for it.
        `check` runs inside the transaction, and may keep there what peers showed; its exceptions
        undo everything. Nothing is debited.
        `split` is that of the units in it, empty where all are: from now on the study's, so that
        an answer by one key is never opened under another.

        Raises:
            PolicyRefusal: as `check`.
            LedgerError: the ledger cannot be written, or its log not be erased.
        """
        with self._lock:
            with trusted(self._database, self._store, self._settled):
                check(PeerRows(self._database, self._store, self._clock()))
                found = self._store.pending.of_run(answer.study, answer.run)
                # Also where it is this answer: what it replaced may be in the log still.
                self._unerased |= found is not None
                if found is None or found.request != answer.request:
                    found = answer
                    self._store.pending.put(answer)
                    self._store.bind_split(answer.study, split)
                    for name, state in run_states.items():
                        self._store.put_run_state(answer.study, name, state)
            if self._unerased:
                self._erase_log()
            return found

    def erase_replaced(self) -> None:
        """Erase replaced bytes from the disk, where an earlier attempt failed.

        Whoever sends again what `keep_waiting` kept calls this first.

        Raises:
            LedgerError: the ledger's log cannot be erased.
        """
        with self._lock:
            self._erase_log()

    def commit_waiting(
        self,
        debit: Debit,
        *,
        study_limit: int,
        max_attempts: int,
        sign: Callable[[PendingAnswer, Position], bytes],
        max_tries: int | None = None,
        portion: Portion | None = None,
        participants: tuple[str, ...] = (),
        split: Split = NO_SPLIT,
        asked: bytes = b"",
    ) -> StoredReply:
        """Debit an answer that waits and keep the reply that opens it, in one transaction.

        The answer waits no more; then the reply may leave. A repeated request, also one that
        another process just answered, returns the stored bytes and costs nothing. `sign` signs the
        reply that states the new position; its exceptions undo everything. `asked`, the signed
        request, is kept for peers.

        *Formal Guarantees.* When this returns, the disk holds the debit and these bytes, the
        witness knows it, and the previous states are in no file of the ledger. When it
        raises, nothing may be sent; if the failure came after the commit, the debit stands
        and a repeat returns its bytes.

        Raises:
            PolicyRefusal: as `admit`; ATTEMPT_CLOSED: no answer to this request waits.
            LedgerError: the ledger cannot be written, or its log not be erased.
        """
        with self._lock:
            with trusted(self._database, self._store, self._settled):
                self.admit(
                    debit,
                    study_limit=study_limit,
                    max_attempts=max_attempts,
                    max_tries=max_tries,
                    portion=portion,
                    participants=participants,
                    split=split,
                )
                found = self._store.reply(debit.request)
                if found is None:
                    found = self._opened(debit, sign, participants, split)
                    if asked:
                        self._store.keep_request(found.position.sequence, asked)
            self._settle(found.position.sequence)
            return found

    @contextmanager
    def peers(self) -> Iterator[PeerRows]:
        """Read and write what peers show, in one transaction that is settled on disk after it.

        Raises:
            LedgerError: the ledger cannot be read or written, or its log not be erased.
        """
        with self._lock:
            with trusted(self._database, self._store, self._settled):
                yield PeerRows(self._database, self._store, self._clock())
                last = self._store.tip().position.sequence
            self._settle(last)

    def check_unit(self) -> None:
        """Check that the population has the unit of its first release.

        Raises:
            LedgerError: by another column, or the ledger cannot be read.
        """
        with self._lock:
            bound = self._store.unit()
        if bound is not None and bound != self._unit:
            raise LedgerError(
                f"institution.toml, [[records]] unit: expected {bound}, which the budget of "
                f"population {self._store.population!r} was spent on, found "
                f"{self._unit or 'none'}: a budget belongs to its units; write {bound} again. "
                "Other units need a home and a population of their own, where what was spent here "
                'counts as well: docs/institution.md, "The unit"'
            )

    def adopt_unit(self) -> bool:
        """Bind a ledger that was spent from before units were kept; say whether it was.

        Raises:
            LedgerError: it is bound to another unit, or cannot be written.
        """
        with self._lock:
            self.check_unit()
            with self._database.transaction():
                before = self._store.tip().position.sequence
                if self._store.any_debit():
                    self._bind("ledger of an earlier version, unit from institution.toml")
                after = self._store.tip().position.sequence
            self._settle(after)
        return after > before

    def run_state(self, study: str, run: str) -> bytes | None:
        """Return the opaque state that the run's last answer left, or None.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.run_state(study, run)

    def run_names(self, study: str) -> list[str]:
        """Return the names under which a study has states, sorted.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.run_names(study)

    def put_run_state(self, study: str, run: str, state: bytes) -> None:
        """Replace the run's state outside a release; the old one is destroyed.

        Raises:
            LedgerError: the ledger cannot be written, or its log not be erased.
        """
        with self._lock:
            with self._database.transaction():
                self._store.put_run_state(study, run, state)
            self._erase_log()

    def forget_run(self, study: str, run: str, names: Iterable[str]) -> None:
        """Destroy a run's waiting answers, and these states of its study; entries and replies stay.

        Raises:
            LedgerError: the ledger cannot be written, or its log not be erased: repeat it.
        """
        with self._lock:
            with self._database.transaction():
                self._store.pending.drop(study, run)
                for name in names:
                    self._store.forget_run_state(study, name)
            self._erase_log()

    def forget_states(self, study: str, names: Iterable[str]) -> None:
        """Destroy these states of a study, and nothing that waits.

        Raises:
            LedgerError: the ledger cannot be written, or its log not be erased: repeat it.
        """
        with self._lock:
            with self._database.transaction():
                for name in names:
                    self._store.forget_run_state(study, name)
            self._erase_log()

    def forget_runs(self, study: str) -> None:
        """Destroy the states of all runs of a study; entries and replies stay.

        Raises:
            LedgerError: the ledger cannot be written, or its log not be erased: repeat it.
        """
        with self._lock:
            with self._database.transaction():
                self._store.forget_runs(study)
            self._erase_log()

    def position(self) -> Position:
        """Return where the ledger stands now.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.tip().position

    def now(self) -> datetime:
        """Return the present, by the clock that dates debits."""
        return self._clock()

    def spent(self, study: str | None = None) -> int:
        """Return the cost of a study, or with None of all, in picomu2.

        Everything counts at the present M: what was spent under a smaller one counts for more.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            if study is None:
                return self._store.spent_since(0)
            return self._store.study_costs(study).total

    def costs(self, study: str) -> SideCosts:
        """Return what a study cost over all its runs, by whose units were read, in picomu2.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.study_costs(study)

    def costs_since(self, instant: datetime) -> dict[str, SideCosts]:
        """Return what each study cost at `instant` or later, as it counts now, in picomu2.

        What a restored copy carried over for no study stands under an empty name.

        Raises:
            LedgerError: `instant` has no time zone, or the ledger cannot be read.
        """
        with self._lock:
            return self._store.costs_since(to_micros(instant))

    def spent_since(self, instant: datetime) -> int:
        """Return the picomu2 of all entries at `instant` or later.

        Raises:
            LedgerError: `instant` has no time zone, or the ledger cannot be read.
        """
        with self._lock:
            return self._store.spent_since(to_micros(instant))

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield every debit, oldest first, with those that are added meanwhile.

        Raises:
            LedgerError: the ledger cannot be read, or an entry is malformed.
        """
        return (entry for entry in self.history() if isinstance(entry, LedgerEntry))

    def paid(self, study: str, run: str) -> frozenset[str]:
        """Return the requests of a run that were debited, sha256 of R.

        Raises:
            LedgerError: as `entries`.
        """
        debits = (entry.debit for entry in self.entries())
        return frozenset(one.request for one in debits if (one.study, one.run) == (study, run))

    def history(self) -> Iterator[LedgerEntry | Statement]:
        """Yield every debit and every statement, as `entries`.

        Raises:
            LedgerError: the ledger cannot be read, or an entry is malformed.
        """
        batch: list[LedgerEntry | Statement] = []
        while not batch or len(batch) == BATCH:
            after = batch[-1].position.sequence if batch else 0
            with self._lock:
                batch = self._store.entries_after(after, BATCH)
            if not batch:
                return
            yield from batch

    def contains(self, position: Position) -> bool:
        """Say whether `position` is in this ledger's history; a restored older copy lacks it.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.contains(position)

    def accounts_for(self, position: Position) -> bool:
        """Say whether this history has `position`, or carries over the spend of a lost one.

        A position that it does not account for was reached by a newer copy: nothing may leave
        before that copy is back, or this one is accepted (`ledger_restore`).

        Raises:
            LedgerError: the ledger cannot be read.
        """
        with self._lock:
            return self._store.accounts_for(position)

    def split(
        self, part: SplitPopulation, take_over: Callable[[], None], *, user: str, reason: str
    ) -> None:
        """State that `part` and the rest are disjoint; write the part's own ledger.

        `take_over` is called once the split is stated and before the part's ledger is in its
        place, and again where the call is repeated after a crash; never where it is refused.

        *Formal Guarantees.* The part starts from a copy of the whole history, so nothing that
        was spent on a unit is forgotten; what must hold of units is in `ledger_statements`.
        After a crash the same call finishes what it began; a part is split off once.

        Raises:
            LedgerError: the part has this population's name or was split off before, its file
                exists, or a ledger cannot be written.
        """
        with self._lock:
            with self._database.transaction():
                if part.is_new(self._store):
                    state_split(part, self._database, self._store, user, reason, self._clock())
            self._settle(self._store.tip().position.sequence)
            publish_part(part, take_over)

    @contextmanager
    def splits(self) -> Iterator[SplitRows]:
        """Read and write how studies' units are split, in one transaction that is settled after it.

        Raises:
            LedgerError: the ledger cannot be read or written, or its log not be erased.
        """
        with self._lock:
            with trusted(self._database, self._store, self._settled):
                yield SplitRows(self._store, self._clock())
            self._settle(self._store.tip().position.sequence)

    def recount(self, multiplicity: int, *, before: int, user: str, reason: str) -> None:
        """State that from here on one person may be known to so many institutions, if it is new.

        *Formal Guarantees.* After it, all that was spent under a smaller M counts (M'/M)^2 times
        in every limit of the population. A smaller M makes nothing count for less. A study's own
        limit holds at the study's M, and no study runs under another M.

        Args:
            multiplicity: M of the pinned roster.
            before: M of all entries, where the ledger states none yet.
            user: at the keyboard.
            reason: the roster that says so.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        with self._lock:
            changes = self._store.multiplicities()
            then = changes[-1][2] if changes else before
            if then == multiplicity:
                return
            stated = StatementDraft(
                kind=StatementKind.MULTIPLICITY,
                user=user,
                reason=reason,
                multiplicity=(then, multiplicity),
            )
            with self._database.transaction():
                self._store.state(stated, self._clock())
            self._settle(self._store.tip().position.sequence)

    def verify(self) -> None:
        """Recompute the whole chain, all totals and the hash of everything that left.

        Raises:
            LedgerError: the first thing that does not fit.
        """
        with self._lock:
            self._database.check_integrity()
        self._check_chain()
        self._check_witness()
        for entry in self.entries():
            with self._lock:
                self._store.reply(entry.debit.request)

    def _bind(self, reason: str) -> None:
        """State the unit where none is stated yet; inside a transaction."""
        self.check_unit()
        if self._unit is None or self._store.unit() is not None:
            return
        stated = StatementDraft(
            kind=StatementKind.UNIT,
            user="custodian",
            reason=reason,
            population=self._store.population,
            unit=self._unit,
        )
        self._store.state(stated, self._clock())

    def _opened(
        self,
        debit: Debit,
        sign: Callable[[PendingAnswer, Position], bytes],
        participants: tuple[str, ...],
        split: Split,
    ) -> StoredReply:
        pending = self._store.pending
        answer = pending.of_run(debit.study, debit.run)
        if answer is None or answer.request != debit.request:
            raise PolicyRefusal(
                RefusalCode.ATTEMPT_CLOSED,
                "expected a request whose answer waits for its opening, found another: it was "
                "never answered, or a later attempt took its place",
            )
        self._bind("first release")
        pending.fix(debit.study, participants)
        self._store.bind_split(debit.study, NO_SPLIT if debit.side is Side.ALL else split)
        found = self._append(debit, answer, sign)
        pending.drop(debit.study, debit.run)
        return found

    def _append(
        self, debit: Debit, answer: PendingAnswer, sign: Callable[[PendingAnswer, Position], bytes]
    ) -> StoredReply:
        tip = self._store.tip()
        entry = next_entry(
            tip,
            debit,
            vector=bytes_hash(answer.vector),
            before=self._store.study_costs(debit.study),
            # A clock that was set back must not date a debit out of the window early.
            time=max(self._clock(), tip.time),
        )
        reply = sign(answer, entry.position)
        self._store.append(entry, reply, answer.vector)
        self._store.pending.opened(entry, answer.commitment)
        return StoredReply(
            reply=reply,
            vector=answer.vector,
            position=entry.position,
            commitment=answer.commitment,
            cost=debit.cost,
        )

    def _settle(self, sequence: int) -> None:
        """Do what must follow a commit before its bytes may leave: erase old keys, witness.

        A crash or a failure in between leaves it to the next caller that wants these bytes.
        """
        if self._witness is None or (self._settled and sequence <= self._settled.sequence):
            return
        self._erase_log()
        with self._database.transaction():  # its lock keeps a slower process from going back
            position = self._store.tip().position
            self._witness.write(position)
        self._settled = position

    def _erase_log(self) -> None:
        self._unerased = True  # where this fails; whoever keeps an answer next tries it again
        if self._witness is not None:  # a ledger in memory has no log
            erase_log(self._database)
        self._unerased = False

    def _check_chain(self) -> None:
        check_chain(self._store.start, self.history())

    def _check_witness(self) -> None:
        """Refuse a ledger behind its witness, a restored backup (docs/design.md, "The ledger")."""
        if self._witness is None:
            return
        # The write lock: no commit falls between reading one and the other.
        with self._lock, self._database.transaction():
            seen = self._witness.read()
            position = self._store.tip().position
            if seen is not None and not self._store.accounts_for(seen):
                raise LedgerError(
                    f"expected a history with entry {seen.sequence}, head {seen.head}, found one "
                    f"that ends at entry {position.sequence} without it: the ledger was truncated "
                    "or restored from an older copy; restore the newest copy, or accept this one: "
                    f"{ACCEPT}"
                )
        self.witness_elsewhere = str(self._witness.path) if self._witness.elsewhere else ""
        self.witnessed = seen is not None and bool(self.witness_elsewhere)
        if seen is None and position.sequence > 0:
            raise LedgerError(
                f"expected a witness {self._witness.path} of {position.sequence} entries, found "
                "none: mount its disk, or move it there from where it was; where it is lost, "
                f"accept this ledger and state what was spent: {ACCEPT}"
            )

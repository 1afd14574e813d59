"""What peers and this ledger know of each other: who opened what, who signed what.

A sum that includes this institution can be read only where an honest peer answered the same
request, and that peer's ledger holds it. So at each opening peers show what they opened, and what
this ledger knows nothing of is debited here: another copy of it may have answered
(docs/protocol.md, "What peers remember").

*After a restored copy was accepted* the cost of what was lost is carried over already, as a sum.
What peers show before the study goes on is of the lost entries, so it counts against that sum
first and is debited beyond it. As with replies of a lost history, that takes it to be on the
branch that was lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fieldfare.client.ledger.budget import WINDOW, Debit, Limits
from fieldfare.client.ledger.chain import EVERY_STUDY, StatementDraft, StatementKind, to_micros
from fieldfare.client.ledger.rows import Store
from fieldfare.shared.privacy.sides import Side
from fieldfare.shared.sqlite.database import Database


@dataclass(frozen=True, kw_only=True)
class PeerClaim:
    """A request of a study that peers opened, and that names this institution.

    Attributes:
        debit: what it costs here; of no side.
        request: as the coordinator signed it.
        participants: of every sum of the study, where it fixes them.
        by: who said so.
    """

    debit: Debit
    request: bytes
    participants: tuple[str, ...]
    by: str


@dataclass(frozen=True)
class Fork:
    """Two signed replies of one institution that stand at one place of its ledger."""

    institution: str
    epoch: int
    sequence: int
    one: bytes
    other: bytes


MOST_FORKS: Final = 16  # proofs against one institution; its members can sign any number


class PeerRows:
    """Rows of one open database, inside a transaction that `Ledger.peers` holds."""

    def __init__(self, database: Database, store: Store, now: datetime) -> None:
        """Read and write an open ledger; entries are dated `now`."""
        self._database, self._store, self._now = database, store, now

    # -- requests -----------------------------------------------------------------------

    def requests(self, study: str | None = None) -> list[bytes]:
        """Return what was debited of a study, or with None of all, as the coordinator asked for it.

        What left from here comes first, what peers told of after it; the newest first, since a
        backup lacks the newest.
        """
        rows = self._database.rows(
            "SELECT requests.request FROM requests JOIN entries USING (sequence)"
            " WHERE ?1 IS NULL OR study = ?1 ORDER BY type, sequence DESC",
            study,
        )
        return [bytes(request) for (request,) in rows]

    def waiting(self) -> list[tuple[str, str]]:
        """Return study and run of every answer that waits for its opening."""
        return self._store.pending.runs()

    def held(self) -> frozenset[str]:
        """Return every request, sha256 of R, that has its debit here, as answered or as told."""
        rows = self._database.rows("SELECT request FROM entries WHERE type = 'debit'")
        return frozenset([*(row[0] for row in rows), *(one.request for one in self._store.told())])

    def debit_told(self, told: Sequence[PeerClaim], study: str, limit: int) -> list[PeerClaim]:
        """Debit what no entry is for, up to the study's limit on both sides; return what is new.

        *Formal Guarantees.* Afterwards every request in `told` has its entry, once, or nothing of
        the study is affordable, on either side. Each counts as if it had read all units: by which
        key another copy split them, nobody here sees. So what is told adds at most what the smaller
        side has left: the study comes to no more than `limit` + |T - E| of its own debits, at most
        twice the limit, and to no more than the limit where both sides are spent alike. A unit may
        have lost as much: on the one side here, on the other side by a copy under another key.
        What waited for its opening is destroyed: it is paid for, and no second debit would follow.
        Of a study that fixes them, the first set is kept.

        Args:
            told: of one study.
            study: its id.
            limit: of the study, in picomu2.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        left, new = self._carried_over(study), []
        known = {one.request for one in self._store.told()}
        for one in sorted(told, key=lambda each: (each.debit.place, each.debit.request)):
            if one.debit.request in known or self._store.debited(one.debit.request):
                continue
            known.add(one.debit.request)
            shared = min(left, one.debit.cost)
            spent = self._store.study_costs(study, everyones=False)
            # Until neither side has anything left: a larger one that is full says nothing of both.
            room = max(spent.room(side, limit) for side in (Side.TRAINING, Side.HOLDOUT))
            carried = min(one.debit.cost - shared, room)
            if carried or shared:
                self._state(one, carried)
                left -= shared
                new.append(one)
        return new

    def go_on_without(self, limits: Limits, *, user: str, reason: str) -> int:
        """Debit all that the limits still allow, as a person goes on without a silent member.

        *Formal Guarantees.* What a lost history had released was within the same limits. So
        afterwards this ledger has spent at least as much as that one, over everything and in the
        year from now, and no study has anything left.

        Args:
            limits: of the population.
            user: who decides it.
            reason: why.

        Returns:
            What is debited, in picomu2.

        Raises:
            LedgerError: the ledger cannot be written.
        """
        since = to_micros(self._now - WINDOW)
        rooms = (
            limits.lifetime_picomu2 - self._store.spent_since(0),
            limits.yearly_picomu2 - self._store.spent_since(since),
        )
        carried = max(0, *rooms)
        stated = StatementDraft(
            kind=StatementKind.SILENCE, user=user, reason=reason, carried=carried
        )
        self._store.state(stated, self._now)
        return carried

    def _state(self, told: PeerClaim, carried: int) -> None:
        debit, pending = told.debit, self._store.pending
        stated = StatementDraft(
            kind=StatementKind.PEERS,
            user="custodian",
            reason=f"opened by {told.by}",
            carried=carried,
            study=debit.study,
            debit=debit,
        )
        entry = self._store.state(stated, self._now)
        self._store.keep_request(entry.position.sequence, told.request)
        pending.fix(debit.study, told.participants)
        waits = pending.of_run(debit.study, debit.run)
        if waits is not None and waits.request == debit.request:
            pending.drop(debit.study, debit.run)

    def _carried_over(self, study: str) -> int:
        """Return what accepted copies carried over that stands for no request yet, in picomu2.

        Nothing once the study went on: what peers show then is newer than what was lost.
        """
        stated = [one.stated for one in self._store.statements()]
        went_on = self._database.rows(
            "SELECT 1 FROM entries WHERE study = ? AND epoch = ? AND type IN (?, ?) LIMIT 1",
            *(study, self._store.tip().position.epoch, "debit", StatementKind.PEERS.value),
        )
        if went_on:
            return 0
        epochs = (one for one in stated if one.kind is StatementKind.EPOCH)
        lost = sum(one.carried for one in epochs if one.study in {study, EVERY_STUDY})
        stood_for = sum(one.debit.cost - one.carried for one in stated if one.debit)
        return max(0, lost - stood_for)

    # -- replies ------------------------------------------------------------------------

    def replies(self) -> dict[str, bytes]:
        """Return the newest signed reply of each other institution, over all studies, by its id."""
        rows = self._database.rows("SELECT institution, reply FROM peers ORDER BY institution")
        return {name: bytes(reply) for name, reply in rows}

    def put_replies(self, replies: Mapping[str, bytes]) -> None:
        """Keep newer ones, by institution, in place of the last."""
        self._database.many(
            "INSERT INTO peers (institution, reply) VALUES (?, ?)"
            " ON CONFLICT (institution) DO UPDATE SET reply = excluded.reply",
            list(replies.items()),
        )

    def own_reply(self, sequence: int) -> bytes | None:
        """Return the reply that this ledger's entry left with; None where it is no release."""
        rows = self._database.rows("SELECT reply FROM replies WHERE sequence = ?", sequence)
        return bytes(rows[0][0]) if rows else None

    def put_fork(self, fork: Fork) -> bool:
        """Keep a proof; say whether it is the first of its place, and not one too many."""
        known = self._database.rows(
            "SELECT epoch, sequence FROM forks WHERE institution = ?", fork.institution
        )
        if (fork.epoch, fork.sequence) in known or len(known) >= MOST_FORKS:
            return False
        self._database.rows(
            "INSERT INTO forks (institution, epoch, sequence, one, other) VALUES (?, ?, ?, ?, ?)",
            *(fork.institution, fork.epoch, fork.sequence, fork.one, fork.other),
        )
        return True

    def forks(self) -> list[Fork]:
        """Return every proof, by institution and place."""
        rows = self._database.rows(
            "SELECT institution, epoch, sequence, one, other FROM forks"
            " ORDER BY institution, epoch, sequence"
        )
        return [
            Fork(name, epoch, sequence, bytes(one), bytes(other))
            for name, epoch, sequence, one, other in rows
        ]

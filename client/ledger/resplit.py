"""A hold-out key that is lost, or ids that changed: what a study costs on other sides.

Which units a study trains on follows from their ids and the key, and no unit may be on both sides:
that is why a study costs the larger of the two (`SideCosts`). Where the key is lost for good, the
next one puts units on other sides, so a unit may lose what was released of either side before, and
of either side since. The statement makes good what the ledger's sum would forget. An extract that
names people anew does the same under the same key, and is stated in the same way; that somebody's
ids did *not* change, though most of the earlier ones are gone, is a statement of its own and costs
nothing.

*Formal Guarantees.* Let a study have cost (Q, T, E) before and (Q', T', E') since. A person loses
at most M^2 of Q + max(T, E) + Q' + max(T', E'), the sum of two studies (`SideCosts`, "over
studies"). The ledger counts Q + Q' + c + max(T + T', E + E'). With c >= |T - E| that is no less:
c + T + T' >= max(T, E) + T' and c + E + E' >= max(T, E) + E', since |T - E| + min(T, E) is
max(T, E). A window holds a suffix of the entries before and, where it reaches back of the
statement, c: so c is the largest |T - E| of any suffix. Of a second lost key the same: its suffixes
reach through the first one, so that each c is at least the |T - E| of what lies between two keys.

Edge cases:
    | the study | c |
    |---|---|
    | asked questions only, or released nothing | no statement: it was bound to no key |
    | trained, not evaluated | what training cost: the new sides begin beside it |
    | both sides cost the same, in any order | the most that one led by, from some entry on |
    | M rose in between | the larger of both counts, as debited and as they count now |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from fieldfare.client.ledger.chain import Statement, StatementDraft, StatementKind, counts_as
from fieldfare.client.ledger.pending import Split
from fieldfare.client.ledger.rows import Store
from fieldfare.shared.errors import LedgerError
from fieldfare.shared.privacy.sides import Side


@dataclass(frozen=True)
class SplitRows:
    """Rows of one open database, inside a transaction that `Ledger.splits` holds."""

    store: Store
    now: datetime

    def ids(self, study: str, split: str) -> bytes:
        """Return the sketch of a study's ids at its first answer of one side.

        Empty where there was none, or where its units were split in another way than `split`, which
        `PendingAnswers.check_split` refuses: hashes under two keys tell nothing of each other.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        pending, place = self.store.pending, self.store.split_place(study)
        return pending.ids(place) if pending.split_name(place) == split else b""

    def forget(self, *, user: str, reason: str) -> list[Statement]:
        """State for every study bound to the hold-out key that its units have other sides.

        Raises:
            LedgerError: the ledger cannot be read or written.
        """
        return forget_split(self.store, user, reason, self.now)

    def confirm_ids(self, study: str, split: Split, *, user: str, reason: str) -> Statement:
        """State that nobody in a load has another id than before; its ids are kept from now on.

        Nothing is spent by it, and nothing comes back.

        Raises:
            LedgerError: the study's units were not split, or in another way.
        """
        place = self.store.split_place(study)
        if self.store.pending.split_name(place) != split.name:
            raise LedgerError(
                "expected a study whose units were split as they are now, found another: there is "
                "nothing to confirm"
            )
        self.store.pending.put_ids(place, split.ids)
        stated = StatementDraft(kind=StatementKind.IDS, user=user, reason=reason, study=study)
        return self.store.state(stated, self.now)


def forget_split(store: Store, user: str, reason: str, now: datetime) -> list[Statement]:
    """State the loss for each study that is bound to a key; inside a transaction.

    What waits for its opening was split by the old key and is destroyed. Repeated, it states
    nothing: the studies are bound to no key until their next answer.

    Raises:
        LedgerError: the ledger cannot be read or written.
    """
    found = []
    for place in store.pending.split_places():
        study = place.partition(":")[0]
        if place != store.split_place(study):
            continue
        stated = StatementDraft(
            kind=StatementKind.HOLDOUT,
            user=user,
            reason=reason,
            study=study,
            carried=cost_of_new_sides(store, study),
        )
        store.pending.drop_study(study)
        found.append(store.state(stated, now))
    return found


def cost_of_new_sides(store: Store, study: str) -> int:
    """Return c, in picomu2: see above."""
    debits, changes = store.sided(study), store.multiplicities()
    now = changes[-1][2] if changes else 1
    known_to = [
        next((then for last, then, _ in changes if sequence <= last), now)
        for sequence, _, _ in debits
    ]
    sides, costs = [side for _, side, _ in debits], [cost for _, _, cost in debits]
    counted = counts_as([*zip(costs, known_to, strict=True), (0, now)])[:-1]
    return max(
        _largest_lead(zip(sides, costs, strict=True)),
        _largest_lead(zip(sides, counted, strict=True)),
    )


def _largest_lead(debits: Iterable[tuple[Side, int]]) -> int:
    """Return the largest difference of the two sides over all suffixes."""
    lead = most = 0
    for side, cost in reversed(list(debits)):
        lead += cost if side is Side.TRAINING else -cost
        most = max(most, abs(lead))
    return most

"""Answers that were committed to and not opened, and the set of institutions of a study.

An answer that waits for its opening is no debit: it stands outside the chain, one for each run,
and is gone once it is opened or a later attempt takes its place (docs/protocol.md, "Commit, then
open"). The set is written with a study's first debit and never changes.
"""

import json
from dataclasses import dataclass
from typing import Final, NamedTuple

from fieldfare.client.ledger.budget import Debit, LedgerEntry
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import LedgerError, PolicyRefusal, RefusalCode
from fieldfare.shared.sqlite.database import Database


class Split(NamedTuple):
    """How a study's units are split, and which they are.

    Attributes:
        name: of key and share (`client.records`); empty: no unit has a side, or in simulations.
        ids: a sketch of their ids; empty: nobody is in it, or none is kept.
    """

    name: str = ""
    ids: bytes = b""


NO_SPLIT: Final = Split()


@dataclass(frozen=True, kw_only=True, repr=False)
class PendingAnswer:
    """One answer that nobody can read yet.

    Attributes:
        study, run, step, attempt: its place.
        request: sha256 of R.
        cost: in picomu2, debited when it is opened; 0: a rehearsal.
        commitment: the signed first message.
        vector: what left with it.
        seed: 32 bytes that open the vector.
    """

    study: str
    run: str
    step: int
    attempt: int
    request: str
    cost: int
    commitment: bytes
    vector: bytes
    seed: bytes

    @property
    def place(self) -> tuple[int, int]:
        """Step and attempt."""
        return self.step, self.attempt


class PendingAnswers:
    """Rows of one open database; `ledger.Ledger` holds lock and transaction around each call."""

    def __init__(self, database: Database) -> None:
        """Read an open database."""
        self._database = database

    def of_run(self, study: str, run: str) -> PendingAnswer | None:
        """Return the answer of a run that waits.

        Raises:
            LedgerError: it is not what left.
        """
        rows = self._database.rows(
            "SELECT step, attempt, request, cost, commitment, vector, vector_sha256, seed"
            " FROM pending WHERE study = ? AND run = ?",
            *(study, run),
        )
        if not rows:
            return None
        step, attempt, request, cost, commitment, vector, hashed, seed = rows[0]
        if bytes_hash(vector) != hashed:
            raise LedgerError(
                "expected an answer that waits as it left, found another: the ledger is damaged; "
                "restore the newest copy of it and its witness"
            )
        return PendingAnswer(
            study=study,
            run=run,
            step=step,
            attempt=attempt,
            request=request,
            cost=cost,
            commitment=commitment,
            vector=vector,
            seed=seed,
        )

    def put(self, answer: PendingAnswer) -> None:
        """Keep an answer in place of the run's last one, whose seed is destroyed."""
        self.drop(answer.study, answer.run)
        self._database.rows(
            "INSERT INTO pending (study, run, step, attempt, request, cost, commitment, vector,"
            " vector_sha256, seed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(answer.study, answer.run, *answer.place, answer.request, answer.cost),
            *(answer.commitment, answer.vector, bytes_hash(answer.vector), answer.seed),
        )

    def runs(self) -> list[tuple[str, str]]:
        """Return study and run of every answer that waits."""
        rows = self._database.rows("SELECT study, run FROM pending ORDER BY study, run")
        return [(study, run) for study, run in rows]

    def drop(self, study: str, run: str) -> None:
        """Destroy the answer of a run."""
        self._database.rows("DELETE FROM pending WHERE study = ? AND run = ?", study, run)

    def drop_study(self, study: str) -> None:
        """Destroy the answers of a study."""
        self._database.rows("DELETE FROM pending WHERE study = ?", study)

    def drop_all(self) -> None:
        """Destroy all of them."""
        self._database.rows("DELETE FROM pending")

    def opened(self, entry: LedgerEntry, commitment: bytes) -> None:
        """Keep the first message of an answer that was opened as this entry."""
        self._database.rows(
            "INSERT INTO commitments (sequence, commitment) VALUES (?, ?)",
            *(entry.position.sequence, commitment),
        )

    def commitment(self, sequence: int) -> bytes:
        """Return the first message of this entry's answer; nothing where there was none."""
        rows = self._database.rows(
            "SELECT commitment FROM commitments WHERE sequence = ?", sequence
        )
        return bytes(rows[0][0]) if rows else b""

    def check_set(self, debit: Debit, participants: tuple[str, ...]) -> None:
        """Check that a debit is for the institutions of the study's first one.

        Args:
            debit: whose study is asked.
            participants: of its request; empty: the study admits any.

        Raises:
            PolicyRefusal: BAD_PARTICIPANTS: the difference of two sums tells somebody's own.
        """
        if participants:
            check_set(self.fixed(debit.study), participants)

    def fixed(self, study: str) -> tuple[str, ...]:
        """Return the institutions of all sums of a study; none before the first."""
        rows = self._database.rows("SELECT participants FROM fixed WHERE study = ?", study)
        return tuple(json.loads(rows[0][0])) if rows else ()

    def fix(self, study: str, participants: tuple[str, ...]) -> None:
        """Write the institutions of a study's first sum down, where it has any."""
        if participants and not self.fixed(study):
            self._database.rows(
                "INSERT INTO fixed (study, participants) VALUES (?, ?)",
                *(study, json.dumps(participants)),
            )

    # -- which units a study trains on --------------------------------------------------

    def check_split(self, place: str, split: Split) -> None:
        """Check that units are split as they were at the study's first answer of one side.

        Args:
            place: of the study that is asked (`Store.split_place`).
            split: of its units now.

        Raises:
            LedgerError: another key or share: some units would be on both sides of the study.
        """
        bound = self.split_name(place)
        if bound and bound != split.name:
            raise LedgerError(
                "expected the hold-out key (keys/holdout) by which this study's units were split "
                "for its first answer, found another: a unit would be trained on and held out, and "
                "cost twice; restore the key from your backup. A part that was split off takes "
                "over the key of the whole. Where the key is lost for good: fieldfare institution "
                "ledger holdout-key"
            )

    def bind_split(self, place: str, split: Split) -> None:
        """Write down how a study's units are split, at its first answer of one side.

        Their ids too, once there are any: an answer of nobody binds none.
        """
        if split.name and not self.split_name(place):
            self._database.rows("INSERT INTO sides (study, split) VALUES (?, ?)", place, split.name)
        if split.ids and not self.ids(place):
            self.put_ids(place, split.ids)

    def split_places(self) -> list[str]:
        """Return where splits are written down, sorted."""
        rows = self._database.rows("SELECT study FROM sides ORDER BY study")
        return [place for (place,) in rows]

    def split_name(self, place: str) -> str:
        """Return the name of a split that is written down; empty where none is."""
        rows = self._database.rows("SELECT split FROM sides WHERE study = ?", place)
        return str(rows[0][0]) if rows else ""

    def ids(self, place: str) -> bytes:
        """Return the sketch of a split's ids; empty where none is kept."""
        rows = self._database.rows("SELECT sketch FROM ids WHERE study = ?", place)
        return bytes(rows[0][0]) if rows else b""

    def put_ids(self, place: str, ids: bytes) -> None:
        """Keep a sketch of a split's ids, in place of the one before."""
        self._database.rows(
            "INSERT INTO ids (study, sketch) VALUES (?, ?)"
            " ON CONFLICT (study) DO UPDATE SET sketch = excluded.sketch",
            *(place, ids),
        )


def check_set(fixed: tuple[str, ...], participants: tuple[str, ...]) -> None:
    """Check participants against those of a study's first sum, where there was one.

    Raises:
        PolicyRefusal: BAD_PARTICIPANTS.
    """
    if fixed and fixed != participants:
        raise PolicyRefusal(
            RefusalCode.BAD_PARTICIPANTS,
            f"expected the institutions of this study's sums ({', '.join(fixed)}), found "
            f"{', '.join(participants)}: the study fixes them",
        )

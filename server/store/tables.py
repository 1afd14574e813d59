"""The transcript's tables (leaves, attachments, signed heads); the last news of institutions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from fieldfare.server.store.rows import (
    ApprovalRow,
    LostAttempts,
    Progress,
    Restarts,
    from_micros,
    to_micros,
)
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})
OWN_HEAD: Final = ""  # the coordinator's; no institution has the empty name


class Tables:
    """Base of classes that read and write some of the tables."""

    def __init__(self, database: Database) -> None:
        """Read and write an open database."""
        self._database = database


class TranscriptTables(Tables):
    """Every run's log. Failures of the file or the disk are RunErrors."""

    def __init__(self, database: Database) -> None:
        """Read and write an open database."""
        super().__init__(database)
        self._written: dict[str, int] = {}

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make all that is written inside one transaction: all of it is kept, or nothing.

        One sync to the disk instead of many. An exception takes everything back, and must
        not be caught inside.

        Raises:
            RunError: as `append`.
        """
        before, kept = dict(self._written), False
        try:
            with self._database.transaction():
                yield
            kept = True
        finally:
            if not kept:
                self._written = before

    def append(
        self,
        run: str,
        leaves: Sequence[Leaf],
        *,
        blobs: Mapping[str, bytes] = _NOTHING,
        checkpoint: bytes | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Add leaves, blobs, checkpoint and progress in one transaction that reaches the disk.

        Args:
            run: whose log.
            leaves: in order; none is fine.
            blobs: bytes by their SHA-256, hex.
            checkpoint: takes the place of the last one.
            progress: takes the place of the last one.

        Returns:
            The log's new size.

        Raises:
            UsageError: no such run.
            RunError: the disk is full or not writable, or another process writes this run's
                log: nothing of this was written.
        """
        hashes = [leaf.hash for leaf in leaves]
        with self.together():
            start = self._start(run)
            self._database.many(
                "INSERT INTO leaves (run, position, kind, hash, content) VALUES (?, ?, ?, ?, ?)",
                [
                    (run, start + at, leaf.kind.value, hashes[at], leaf.content)
                    for at, leaf in enumerate(leaves)
                ],
            )
            self._database.many(
                "INSERT INTO blobs (run, hash, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(run, name, content) for name, content in blobs.items()],
            )
            if checkpoint is not None:
                self._database.rows("REPLACE INTO checkpoints VALUES (?, ?)", run, checkpoint)
            if progress is not None:
                self._put_progress(run, progress)
            self._written[run] = start + len(leaves)
        return start + len(leaves)

    def leaves(self, run: str) -> tuple[Leaf, ...]:
        """Return a run's leaves in order."""
        found = self._database.rows(
            "SELECT kind, content FROM leaves WHERE run = ? ORDER BY position", run
        )
        return tuple(Leaf(LeafKind(kind), content) for kind, content in found)

    def leaves_of(self, run: str, kind: LeafKind) -> tuple[bytes, ...]:
        """Return the content of a run's leaves of one kind, in order."""
        found = self._database.rows(
            "SELECT content FROM leaves WHERE run = ? AND kind = ? ORDER BY position",
            *(run, kind.value),
        )
        return tuple(content for (content,) in found)

    def leaf_counts(self, run: str) -> Mapping[LeafKind, int]:
        """Return how many leaves of each kind a run's log has, in the order of their first ones."""
        found = self._database.rows(
            "SELECT kind, count(*) FROM leaves WHERE run = ? GROUP BY kind ORDER BY min(position)",
            run,
        )
        return {LeafKind(kind): count for kind, count in found}

    def signed_sizes(self, run: str) -> Mapping[str, int]:
        """Return how many leaves each institution signed; the coordinator's is the empty name."""
        found = self._database.rows(
            "SELECT institution, size FROM heads WHERE run = ? ORDER BY institution", run
        )
        return dict(found)

    def leaf_hashes(self, run: str) -> tuple[bytes, ...]:
        """Return the stored hashes of a run's leaves in order, 32 bytes each."""
        found = self._database.rows("SELECT hash FROM leaves WHERE run = ? ORDER BY position", run)
        return tuple(value for (value,) in found)

    def blob(self, name: str) -> bytes | None:
        """Return the bytes with this SHA-256 (hex), unless they were deleted or never here."""
        found = self._database.rows("SELECT content FROM blobs WHERE hash = ? LIMIT 1", name)
        return found[0][0] if found else None

    def blob_names(self, run: str) -> tuple[str, ...]:
        """Return the SHA-256 (hex) of everything beside a run's log, sorted."""
        found = self._database.rows("SELECT hash FROM blobs WHERE run = ? ORDER BY hash", run)
        return tuple(name for (name,) in found)

    def checkpoint(self, run: str) -> bytes | None:
        """Return the checkpoint that was last given to `append`."""
        found = self._database.rows("SELECT content FROM checkpoints WHERE run = ?", run)
        return found[0][0] if found else None

    def put_head(self, run: str, envelope: bytes, size: int) -> None:
        """Keep the coordinator's newest signed head, over `size` leaves."""
        self._put_head(run, OWN_HEAD, envelope, size)

    def head(self, run: str) -> bytes | None:
        """Return the coordinator's newest signed head."""
        found = self._database.rows(
            "SELECT envelope FROM heads WHERE run = ? AND institution = ?", run, OWN_HEAD
        )
        return found[0][0] if found else None

    def put_cosignature(self, run: str, institution: str, envelope: bytes, size: int) -> None:
        """Keep an institution's newest signature on a head, over `size` leaves."""
        self._put_head(run, institution, envelope, size)

    def cosignatures(self, run: str) -> Mapping[str, bytes]:
        """Return the newest co-signature of each institution, sorted by institution."""
        found = self._database.rows(
            "SELECT institution, envelope FROM heads WHERE run = ? AND institution <> ?"
            " ORDER BY institution",
            *(run, OWN_HEAD),
        )
        return dict(found)

    def _start(self, run: str) -> int:
        """Return the index of the next leaf; refuse where another process writes the same log."""
        ((known, size),) = self._database.rows(
            "SELECT (SELECT count(*) FROM runs WHERE run = ?),"
            " (SELECT coalesce(max(position) + 1, 0) FROM leaves WHERE run = ?)",
            *(run, run),
        )
        if not known:
            raise UsageError(f"expected a known run, found {run!r}: see fieldfare coordinator runs")
        if self._written.get(run, size) != size:
            raise RunError(
                f"run {run}: expected a log of {self._written[run]} leaves, found {size}: another "
                "process carries on this run, this one ends here"
            )
        return int(size)

    def _put_head(self, run: str, signer: str, envelope: bytes, size: int) -> None:
        self._database.rows(
            "REPLACE INTO heads (run, institution, size, envelope) VALUES (?, ?, ?, ?)",
            *(run, signer, size, envelope),
        )

    def _put_progress(self, run: str, progress: Progress) -> None:
        self._database.rows(
            "REPLACE INTO progress (run, step, steps, attempt_failures, seconds, spent,"
            " spent_training, spent_holdout, phase, time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(run, progress.step, progress.steps, progress.attempt_failures, progress.seconds),
            *(progress.spent.all, progress.spent.training, progress.spent.holdout),
            *(progress.phase, to_micros(progress.at)),
        )


# -- restarts ------------------------------------------------------------------------------------


class RestartTables(Tables):
    """How runs are resumed without a person. Failures of the file or the disk are RunErrors."""

    def restarts(self, run: str) -> Restarts:
        """Return how a run was resumed so far."""
        found = self._database.rows(
            "SELECT automatic, begun, not_before, needs_person FROM restarts WHERE run = ?", run
        )
        if not found:
            return Restarts()
        automatic, begun, not_before, needs_person = found[0]
        return Restarts(
            automatic,
            None if begun is None else from_micros(begun),
            None if not_before is None else from_micros(not_before),
            bool(needs_person),
        )

    def schedule(self, run: str, not_before: datetime) -> None:
        """Let a run that was not started yet begin by itself, no earlier than this."""
        self._put_restarts(run, Restarts(not_before=not_before))

    def note_begun(self, run: str, at: datetime, *, automatic: bool) -> None:
        """Note that a run is started or resumed; by a person, the count begins anew."""
        before = self.restarts(run)
        first = before.not_before is not None and before.begun is None  # what a person asked for
        count = before.automatic + 1 if automatic and not first else 0
        self._put_restarts(run, Restarts(count, at))

    def note_needs_person(self, run: str) -> None:
        """Note that a run ended with something that another try does not fix."""
        self._put_restarts(run, replace(self.restarts(run), needs_person=True))

    def _put_restarts(self, run: str, found: Restarts) -> None:
        self._database.rows(
            "REPLACE INTO restarts (run, automatic, begun, not_before, needs_person)"
            " VALUES (?, ?, ?, ?, ?)",
            *(run, found.automatic),
            None if found.begun is None else to_micros(found.begun),
            None if found.not_before is None else to_micros(found.not_before),
            found.needs_person,
        )


# -- store news -----------------------------------------------------------------------------------


class NewsTables(Tables):
    """The newest of everything. Failures of the file or the disk are RunErrors."""

    def put_status(self, run: str, institution: str, text: str, at: datetime) -> None:
        """Keep an institution's last act in a run, in words."""
        self._database.rows(
            "REPLACE INTO statuses (run, institution, text, time) VALUES (?, ?, ?, ?)",
            *(run, institution, text, to_micros(at)),
        )

    def statuses(self, run: str) -> Mapping[str, tuple[str, datetime]]:
        """Return each institution's last act and its time, sorted by institution."""
        found = self._database.rows(
            "SELECT institution, text, time FROM statuses WHERE run = ? ORDER BY institution", run
        )
        return {name: (text, from_micros(time)) for name, text, time in found}

    def add_losses(self, run: str, institutions: Iterable[str], *, debited: bool) -> None:
        """Count one more failed attempt that these caused; `debited`: others paid for it."""
        self._database.many(
            "INSERT INTO losses (run, institution, attempts, debited) VALUES (?, ?, 1, ?)"
            " ON CONFLICT (run, institution) DO UPDATE SET attempts = attempts + 1,"
            " debited = debited + excluded.debited",
            [(run, institution, int(debited)) for institution in institutions],
        )

    def losses(self, run: str) -> Mapping[str, LostAttempts]:
        """Return each institution's failed attempts in a run, sorted by institution."""
        found = self._database.rows(
            "SELECT institution, attempts, debited,"
            " (SELECT sum(attempts) FROM losses AS all_runs"
            " WHERE all_runs.institution = losses.institution)"
            " FROM losses WHERE run = ? ORDER BY institution",
            run,
        )
        return {name: LostAttempts(*counts) for name, *counts in found}

    def lost_attempts(self) -> Mapping[str, int]:
        """Return how many failed attempts each institution caused in all runs, most first."""
        found = self._database.rows(
            "SELECT institution, sum(attempts) FROM losses GROUP BY institution"
            " ORDER BY sum(attempts) DESC, institution"
        )
        return dict(found)

    def paid_in_vain(self, study: str) -> int:
        """Return how many attempts of a study's runs were paid for and died; never fewer."""
        found = self._database.rows(
            "SELECT coalesce(sum(debited), 0) FROM losses JOIN runs USING (run) WHERE study = ?",
            study,
        )
        return int(found[0][0])

    def put_metrics(self, run: str, metrics: str) -> None:
        """Keep a run's released metrics: canonical JSON."""
        self._database.rows("REPLACE INTO metrics (run, content) VALUES (?, ?)", run, metrics)

    def metrics(self, run: str) -> str | None:
        """Return a run's released metrics; None before them."""
        found = self._database.rows("SELECT content FROM metrics WHERE run = ?", run)
        return found[0][0] if found else None

    def put_approval(
        self, study: str, institution: str, text: str, envelope: bytes, at: datetime
    ) -> None:
        """Keep an institution's last answer to a study; the envelope may be empty."""
        self._database.rows(
            "REPLACE INTO approvals (study, institution, text, envelope, time)"
            " VALUES (?, ?, ?, ?, ?)",
            *(study, institution, text, envelope, to_micros(at)),
        )

    def approvals(self, study: str) -> Mapping[str, ApprovalRow]:
        """Return each institution's last answer to a study, sorted by institution."""
        found = self._database.rows(
            "SELECT institution, text, envelope, time FROM approvals WHERE study = ?"
            " ORDER BY institution",
            study,
        )
        return {
            name: ApprovalRow(text, envelope, from_micros(time))
            for name, text, envelope, time in found
        }

    def put_last_reply(self, institution: str, envelope: bytes) -> None:
        """Keep an institution's newest signed reply, over all runs and studies."""
        self._database.rows(
            "REPLACE INTO last_replies (institution, envelope) VALUES (?, ?)",
            *(institution, envelope),
        )

    def last_replies(self) -> Mapping[str, bytes]:
        """Return the newest signed reply of each institution, sorted by institution."""
        return dict(
            self._database.rows(
                "SELECT institution, envelope FROM last_replies ORDER BY institution"
            )
        )

    def put_undelivered(self, institution: str, run: str) -> None:
        """Keep in mind that an institution has yet to receive a run's model."""
        self._database.rows(
            "INSERT INTO undelivered (institution, run) VALUES (?, ?) ON CONFLICT DO NOTHING",
            *(institution, run),
        )

    def undelivered(self, institution: str) -> tuple[str, ...]:
        """Return the runs whose model an institution has yet to receive, oldest first."""
        found = self._database.rows(
            "SELECT run FROM undelivered JOIN runs USING (run) WHERE institution = ?"
            " ORDER BY created, run",
            institution,
        )
        return tuple(run for (run,) in found)

    def set_delivered(self, institution: str, run: str) -> None:
        """Note that an institution has received a run's model."""
        self._database.rows(
            "DELETE FROM undelivered WHERE institution = ? AND run = ?", institution, run
        )

    def give_up_delivery(self, run: str) -> None:
        """Owe a run's model to nobody any more: it is deleted."""
        self._database.rows("DELETE FROM undelivered WHERE run = ?", run)

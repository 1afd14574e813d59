"""The run store: every run's state, transcript and checkpoint in one SQLite file.

One process carries out a run and writes it; several runs' processes and people who watch may
have the file open at once. What one call writes is on the disk when it returns, or not at all.

Its tables:

runs          one row per run: its study, its state and the Flower run that carries it out
progress      where each run stands, for people who watch
leaves        the transcript: an append-only log per run, each leaf with its hash
blobs         masked vectors beside the log, until their deletion date
checkpoints   what the next process of a run starts from, replaced with every step
heads         the log's newest signed head, and each institution's newest co-signature
head_log      every head that was signed, of all runs, each with a signed checkpoint over them
cosigned_heads  what witnesses signed of those checkpoints
restarts      how each run is resumed without a person
statuses      what each institution last did in a run
losses        how many failed attempts of a run each institution caused
metrics       what a run released of its model's quality
approvals     what each institution last said to a study
last_replies  the newest signed reply of each institution, over all runs
undelivered   finished runs that an institution has yet to receive
abandoned     runs that had not ended in the backup that this store came from
deletions     runs whose masked vectors were deleted, with their hashes
deleted_files  files that a person had deleted
deletion_statements, file_statements  what the coordinator signed of both, in one chain
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fieldfare.server.store.deletions import DELETIONS, FILE_DELETIONS, DeletionTables
from fieldfare.server.store.head_log import HEAD_LOG, SignedHeadTables
from fieldfare.server.store.rows import (
    Progress,
    RunRow,
    RunStatus,
    from_micros,
    to_micros,
)
from fieldfare.server.store.tables import NewsTables, RestartTables
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind, append_only

_FIRST: Final = (
    """
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    flower_run INTEGER,
    created INTEGER NOT NULL,
    ended INTEGER,
    purged INTEGER NOT NULL DEFAULT 0
)
""",
    "CREATE INDEX runs_study ON runs (study, created)",
    """
CREATE TABLE progress (
    run TEXT PRIMARY KEY REFERENCES runs (run),
    step INTEGER NOT NULL,
    steps INTEGER NOT NULL,
    attempt_failures INTEGER NOT NULL,
    seconds REAL NOT NULL,
    spent INTEGER NOT NULL,
    phase TEXT NOT NULL,
    time INTEGER NOT NULL,
    spent_training INTEGER NOT NULL DEFAULT 0,
    spent_holdout INTEGER NOT NULL DEFAULT 0
)
""",
    """
CREATE TABLE leaves (
    run TEXT NOT NULL REFERENCES runs (run),
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    content BLOB NOT NULL,
    UNIQUE (run, position)
)
""",
    *append_only("leaves", "a transcript is append-only"),
    """
CREATE TABLE blobs (
    run TEXT NOT NULL REFERENCES runs (run),
    hash TEXT NOT NULL,
    content BLOB NOT NULL,
    UNIQUE (hash, run)
)
""",
    "CREATE INDEX blobs_run ON blobs (run)",
    """
CREATE TABLE checkpoints (run TEXT PRIMARY KEY REFERENCES runs (run), content BLOB NOT NULL)
""",
    # The coordinator's own head stands under the empty name, which no institution can have.
    """
CREATE TABLE heads (
    run TEXT NOT NULL REFERENCES runs (run),
    institution TEXT NOT NULL,
    size INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    UNIQUE (run, institution)
)
""",
    """
CREATE TABLE statuses (
    run TEXT NOT NULL REFERENCES runs (run),
    institution TEXT NOT NULL,
    text TEXT NOT NULL,
    time INTEGER NOT NULL,
    UNIQUE (run, institution)
)
""",
    """
CREATE TABLE metrics (run TEXT PRIMARY KEY REFERENCES runs (run), content TEXT NOT NULL)
""",
    """
CREATE TABLE approvals (
    study TEXT NOT NULL,
    institution TEXT NOT NULL,
    text TEXT NOT NULL,
    envelope BLOB NOT NULL,
    time INTEGER NOT NULL,
    UNIQUE (study, institution)
)
""",
    "CREATE TABLE last_replies (institution TEXT PRIMARY KEY, envelope BLOB NOT NULL)",
    """
CREATE TABLE undelivered (
    institution TEXT NOT NULL,
    run TEXT NOT NULL REFERENCES runs (run),
    UNIQUE (institution, run)
)
""",
    """
CREATE TABLE losses (
    run TEXT NOT NULL REFERENCES runs (run),
    institution TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    debited INTEGER NOT NULL,
    UNIQUE (run, institution)
)
""",
    """
CREATE TABLE restarts (
    run TEXT PRIMARY KEY REFERENCES runs (run),
    automatic INTEGER NOT NULL,
    begun INTEGER,
    not_before INTEGER,
    needs_person INTEGER NOT NULL
)
""",
)

# Runs that had not ended in a backup that this store came from: members may know more of them.
_ABANDONED: Final = (
    "CREATE TABLE abandoned (run TEXT PRIMARY KEY REFERENCES runs (run), time INTEGER NOT NULL)",
    *append_only("abandoned", "a run that was abandoned stays so"),
)

APPLICATION: Final = 0x46464D52
"""SQLite's `application_id` of a run store ("FFMR"), so that no other database is taken for one."""

_LOG_BYTES: Final = 16 * 1024 * 1024  # what an emptied write-ahead log may keep of the disk

RUN_STORE: Final = DatabaseKind(
    name="the run store",
    error=RunError,
    again="resume the run",
    restore="put the newest backup of it in its place",
    otherwise="resume the run when it can be written",
    so="nothing was written: ",
    pragmas=(
        # Only a file without tables takes it, and only before it is switched to WAL.
        ("auto_vacuum", "INCREMENTAL", None),
        WAL,
        *DURABLE,
        ("journal_size_limit", str(_LOG_BYTES), _LOG_BYTES),
    ),
    first=8,
    migrations=((*_FIRST, *HEAD_LOG, *_ABANDONED, *DELETIONS, *FILE_DELETIONS),),
    application=APPLICATION,
)


# -- store ----------------------------------------------------------------------------------------


BUSY_SECONDS: Final = 15.0

RESTORED: Final = (
    "the coordinator was restored from a backup, and institutions may have answered more than its "
    "log has"
)

_COLUMNS: Final = (
    "runs.run, study, state, reason, flower_run, created, ended, purged, step, steps,"
    " attempt_failures, seconds, spent, spent_training, spent_holdout, phase, time"
)
_FLOWER_IDS: Final = 2**64
_FROM: Final = "FROM runs LEFT JOIN progress ON progress.run = runs.run"


class RunStore(SignedHeadTables, NewsTables, RestartTables, DeletionTables):
    """All runs of one coordinator. Failures of the file or the disk are RunErrors."""

    def create(self, run: str, study: str, at: datetime) -> None:
        """Add a run that waits for its process.

        Raises:
            UsageError: the id is taken, or another run of the study has not ended.
        """
        with self.together():
            self.check_new(run, study)
            self._database.rows(
                "INSERT INTO runs (run, study, state, reason, created) VALUES (?, ?, ?, '', ?)",
                *(run, study, RunStatus.WAITING.value, to_micros(at)),
            )

    def check_new(self, run: str, study: str) -> None:
        """Refuse a run that cannot be added now.

        Raises:
            UsageError: the id is taken, or another run of the study has not ended.
        """
        if self.is_known(run):
            raise UsageError(f"expected a new run id, found {run!r} again: name another")
        self._check_alone(run, study)

    def rows(self) -> tuple[RunRow, ...]:
        """Return all runs, oldest first."""
        found = self._database.rows(f"SELECT {_COLUMNS} {_FROM} ORDER BY created, runs.run")
        return tuple(_row(values) for values in found)

    def is_known(self, run: str) -> bool:
        """Tell whether there is such a run."""
        return bool(self._database.rows("SELECT 1 FROM runs WHERE run = ?", run))

    def row(self, run: str) -> RunRow:
        """Return one run.

        Raises:
            UsageError: there is no such run.
        """
        found = self._database.rows(f"SELECT {_COLUMNS} {_FROM} WHERE runs.run = ?", run)
        if not found:
            raise UsageError(f"expected a known run, found {run!r}: see fieldfare coordinator runs")
        return _row(found[0])

    def set_state(self, run: str, state: RunStatus, reason: str, at: datetime) -> None:
        """Say where a run stands.

        A wish to stop is not forgotten: RUNNING changes nothing where it is STOPPING.

        Raises:
            UsageError: there is no such run.
            RunError: the run is finished, which is for good.
        """
        with self.together():
            now = self.row(run).state
            if now is RunStatus.FINISHED and state is not now:
                raise RunError(f"run {run}: finished for good; start another run")
            if now is RunStatus.STOPPING and state is RunStatus.RUNNING:
                return
            self._database.rows(
                "UPDATE runs SET state = ?, reason = ?, ended = ? WHERE run = ?",
                *(state.value, reason, to_micros(at) if state.ended else None, run),
            )

    def request_stop(self, run: str) -> RunRow:
        """Ask a run's process to end after its step; return the row after that.

        Raises:
            UsageError: there is no such run, or it has ended.
        """
        with self.together():
            row = self.row(run)
            if row.state.ended:
                raise UsageError(
                    f"expected a run that goes on, found {run}, which is {row.state.value}"
                )
            self._database.rows(
                "UPDATE runs SET state = ? WHERE run = ?", RunStatus.STOPPING.value, run
            )
            return self.row(run)

    def reopen(self, seen: RunRow, at: datetime, *, automatic: bool = False) -> None:
        """Let a run wait for a new process.

        Args:
            seen: the row that showed that no process works on the run any more.
            at: the present, with a time zone.
            automatic: whether no person asked for it.

        Raises:
            UsageError: finished, purged, abandoned, another run of the study has not ended, or
                somebody else changed the run meanwhile.
        """
        with self.together():
            row = self.row(seen.run)
            if row.state is RunStatus.FINISHED:
                raise UsageError(f"run {row.run} is finished: start another run")
            if self._database.rows("SELECT 1 FROM abandoned WHERE run = ?", row.run):
                raise UsageError(f"run {row.run}: {RESTORED}: start another run of its study")
            if row.purged:
                raise UsageError(
                    f"run {row.run}: the replies that it would go on from were deleted at the end "
                    "of their time: start another run"
                )
            if (row.state, row.flower_run) != (seen.state, seen.flower_run):
                raise UsageError(f"run {row.run} was changed meanwhile: look again, then repeat")
            self._check_alone(row.run, row.study)
            self._database.rows(
                "UPDATE runs SET state = ?, reason = '', ended = NULL WHERE run = ?",
                *(RunStatus.WAITING.value, row.run),
            )
            self.note_begun(row.run, at, automatic=automatic)

    def abandon_open(self, at: datetime) -> tuple[str, ...]:
        """End every run that is not finished for good: the store came from a backup.

        Members may have answered more of it than this log has. One that was stopped or failed keeps
        its end: packs say it, and vectors go by it. Returns their ids, oldest first.
        """
        found = [row for row in self.rows() if row.state is not RunStatus.FINISHED]
        with self.together():
            for row in found:
                self.set_state(row.run, RunStatus.FAILED, RESTORED, row.ended or at)
                self.note_needs_person(row.run)
                self._database.rows(
                    "INSERT INTO abandoned VALUES (?, ?) ON CONFLICT DO NOTHING",
                    *(row.run, to_micros(at)),
                )
        return tuple(row.run for row in found)

    def set_flower_run(self, run: str, flower_run: int) -> None:
        """Say which Flower run carries out a run.

        Raises:
            UsageError: there is no such run.
        """
        with self.together():
            self.row(run)
            self._database.rows(
                "UPDATE runs SET flower_run = ? WHERE run = ?", _signed(flower_run), run
            )

    def stop_requested(self, run: str) -> bool:
        """Tell whether the run was asked to end, or was declared stopped already.

        Raises:
            UsageError: there is no such run.
        """
        return self.row(run).state in {RunStatus.STOPPING, RunStatus.STOPPED}

    def _check_alone(self, run: str, study: str) -> None:
        """Refuse two runs of one study at once: they would spend the same budget."""
        for other in self.rows():
            if other.study == study and other.run != run and not other.state.ended:
                raise UsageError(
                    f"expected no other run of this study, found {other.run}, which is "
                    f"{other.state.value}: wait for it, or fieldfare coordinator run stop "
                    f"{other.run}"
                )


@contextmanager
def run_store(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Iterator[RunStore]:
    """Open the run store at `path` (0600, created if absent) and close it at the end.

    Raises:
        RunError: the file cannot be used: says what to do.
    """
    with Database(RUN_STORE, path, busy_seconds=busy_seconds) as database:
        yield RunStore(database)


@contextmanager
def run_store_to_read(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> Iterator[RunStore]:
    """Open the run store at `path` to look at it, as it is; an empty one where there is none yet.

    Raises:
        RunError: the file cannot be read: says what to do.
    """
    there = path.exists()
    with Database(
        RUN_STORE, path if there else None, busy_seconds=busy_seconds, read_only=there
    ) as database:
        yield RunStore(database)


def _signed(flower_run: int) -> int:
    """Return an id of 64 bits without a sign as SQLite holds it: with one."""
    return flower_run - _FLOWER_IDS if flower_run >= _FLOWER_IDS // 2 else flower_run


def _row(values: tuple[Any, ...]) -> RunRow:
    run, study, state, reason, flower_run, created, ended, purged, *progress = values
    return RunRow(
        run=run,
        study=study,
        state=RunStatus(state),
        reason=reason,
        flower_run=None if flower_run is None else flower_run % _FLOWER_IDS,
        created=from_micros(created),
        ended=None if ended is None else from_micros(ended),
        progress=None if progress[0] is None else _progress(*progress),
        purged=bool(purged),
    )


def _progress(step: int, steps: int, failures: int, seconds: float, *values: Any) -> Progress:
    everyone, training, holdout, phase, time = values
    return Progress(
        step=step,
        steps=steps,
        attempt_failures=failures,
        seconds=seconds,
        spent=SideCosts(all=everyone, training=training, holdout=holdout),
        phase=phase,
        at=from_micros(time),
    )


__all__ = ["RunStore", "run_store"]

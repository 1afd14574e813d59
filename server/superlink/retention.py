"""Deletion of every finished Flower run from the SuperLink's own state.

The SuperLink keeps messages and objects of runs that ended (measured: every reply of a failed
run), and SQLite keeps deleted rows in free pages. What auditors need is in the run store.
Flower has no call that removes a run or a node: their rows go by SQL here, and contract tests
hold the shape of its tables.

Every coordinator's process that uses Flower has its environment and log from here.
"""

import json
import logging
import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Engine, event

from fieldfare.shared.errors import RunError

BUSY_SECONDS: Final = 5.0
REWRITE_MILLISECONDS: Final = 500
KEPT_RUNS: Final = timedelta(days=30)  # a run's own row, after all of it ended
KEPT_NODES: Final = timedelta(days=400)  # that of a node, after it was taken off

_FINISHED: Final = (
    "SELECT run_id FROM run JOIN task USING (run_id)"
    " GROUP BY run_id HAVING count(finished_at) = count(*)"
)
_TASKS: Final = f"SELECT task_id FROM task WHERE run_id IN ({_FINISHED})"
_SESSIONS: Final = f"SELECT session_id FROM object_push_sessions WHERE run_id IN ({_FINISHED})"
# In this order: rows that point at others go first.
_PURGE: Final = (
    f"DELETE FROM message_res WHERE run_id IN ({_FINISHED})",
    f"DELETE FROM message_ins WHERE run_id IN ({_FINISHED})",
    f"DELETE FROM task_message WHERE run_id IN ({_FINISHED})",
    f"DELETE FROM object_push_session_pending WHERE session_id IN ({_SESSIONS})",
    f"DELETE FROM object_push_session_roots WHERE session_id IN ({_SESSIONS})",
    f"DELETE FROM object_push_sessions WHERE run_id IN ({_FINISHED})",
    f"DELETE FROM task_event WHERE run_id IN ({_FINISHED})",
    f"DELETE FROM task_logs WHERE task_id IN ({_TASKS})",
    f"DELETE FROM run_objects WHERE run_id IN ({_FINISHED})",
)
# What no unfinished run holds any more; Flower lists every object of a run before it is stored.
_SWEEP: Final = (
    "DELETE FROM object_children WHERE parent_id NOT IN (SELECT object_id FROM run_objects)",
    "DELETE FROM objects WHERE object_id NOT IN (SELECT object_id FROM run_objects)",
)
# Runs of which every task ended before a moment, but for the newest one: whatever is not a time as
# SQLite reads it counts as not ended.
_OLD_RUNS: Final = (
    "CREATE TEMP TABLE old AS SELECT run_id, fab_hash FROM run AS one"
    " WHERE rowid < (SELECT max(rowid) FROM run)"
    " AND EXISTS (SELECT 1 FROM task WHERE task.run_id = one.run_id)"
    " AND NOT EXISTS (SELECT 1 FROM task WHERE task.run_id = one.run_id"
    " AND coalesce(julianday(finished_at), 1e9) >= julianday(?))"
)
_OF_OLD_RUNS: Final = tuple(
    f"DELETE FROM {table} WHERE run_id IN (SELECT run_id FROM old)"
    for table in ("task_usage", "run_connector", "message", "series_runs", "task", "run")
)
_LEFT_BEHIND: Final = (
    (
        "DELETE FROM fab WHERE fab_hash IN (SELECT fab_hash FROM old)"
        " AND NOT EXISTS (SELECT 1 FROM run WHERE run.fab_hash = fab.fab_hash)"
        " AND NOT EXISTS (SELECT 1 FROM task WHERE task.fab_hash = fab.fab_hash)"
    ),
    *(
        f"DELETE FROM {table} WHERE series_id NOT IN (SELECT series_id FROM series_runs)"
        f" AND series_id NOT IN (SELECT series_id FROM run WHERE series_id IS NOT NULL)"
        for table in ("series_context", "compacted_contexts")
    ),
    (
        "DELETE FROM run_series WHERE julianday(updated_at) < julianday(?)"
        " AND series_id NOT IN (SELECT series_id FROM series_runs)"
        " AND series_id NOT IN (SELECT series_id FROM run WHERE series_id IS NOT NULL)"
    ),
)
_OLD_NODES: Final = (
    "DELETE FROM node WHERE status = 'unregistered' AND julianday(unregistered_at) < julianday(?)"
)
_UNFINISHED: Final = "SELECT COUNT(*) FROM task WHERE finished_at IS NULL"
_FREE_PAGES: Final = "PRAGMA freelist_count"


def purge_finished(database: Path, now: datetime) -> int:
    """Remove rows of finished runs; returns how many.

    What they sent goes at once, their own rows `KEPT_RUNS` later, those of nodes that were taken
    off after `KEPT_NODES`. Of a run that goes on nothing goes, nor the row of the newest run.

    Where no run goes on, the file is rewritten too, so that nothing stays in free pages; that
    waits for the next call where another process is busy with the file.

    Args:
        database: the SuperLink's own; it may be in use.
        now: the present, with a time zone.

    Raises:
        RunError: the file cannot be read or written now.
    """
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as link:
            link.execute("PRAGMA secure_delete = ON")
            link.execute("BEGIN IMMEDIATE")
            with link:
                removed = sum(link.execute(statement).rowcount for statement in (*_PURGE, *_SWEEP))
                removed += _forget_old(link, now)
            if not _one(link, _UNFINISHED) and (removed or _one(link, _FREE_PAGES)):
                _rewrite(link)
            return removed
    except sqlite3.Error as error:
        raise RunError(f"{database}: could not be purged now: {error}: repeat it later") from None


def _forget_old(link: sqlite3.Connection, now: datetime) -> int:
    runs, nodes = (now - KEPT_RUNS).isoformat(), (now - KEPT_NODES).isoformat()
    removed = link.execute(_OLD_NODES, (nodes,)).rowcount
    link.execute(_OLD_RUNS, (runs,))
    if _one(link, "SELECT count(*) FROM old"):
        removed += sum(link.execute(statement).rowcount for statement in _OF_OLD_RUNS)
        for statement in _LEFT_BEHIND:
            values = (runs,) * statement.count("?")
            removed += link.execute(statement, values).rowcount
    link.execute("DROP TABLE old")
    return removed


def kept_objects(database: Path, names: Collection[str]) -> frozenset[str]:
    """Return which of these objects the SuperLink still keeps; all of them if it cannot be read."""
    query = "SELECT object_id FROM objects WHERE object_id IN (SELECT value FROM json_each(?))"
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_SECONDS)) as link:
            return frozenset(row[0] for row in link.execute(query, (json.dumps(list(names)),)))
    except sqlite3.Error:
        return frozenset(names)


def overwrite_deleted() -> None:
    """Let every database that this process opens from now on overwrite deleted content.

    For flwr's own connections: a run deletes its messages as it goes.
    """
    event.listen(Engine, "connect", _overwrite)


def _overwrite(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA secure_delete = ON").close()


def _rewrite(link: sqlite3.Connection) -> None:
    link.execute(f"PRAGMA busy_timeout = {REWRITE_MILLISECONDS}")  # others wait for this
    try:
        link.execute("VACUUM")
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError:  # in use right now; the rows are gone either way
        return


def _one(link: sqlite3.Connection, query: str) -> int:
    return int(link.execute(query).fetchone()[0])


# -- flower environment ---------------------------------------------------------------------------


def flower_environment(given: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return an environment in which nothing steers flwr and flwr calls no other host.

    Args:
        given: the environment of this process.
        folder: a private one, for what flwr may want to keep.
    """
    kept = {name: value for name, value in given.items() if not name.upper().startswith("FLWR_")}
    return kept | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }


def quiet_flower() -> None:
    """Let flwr's log name unexpected events, and never a message's content."""
    log = logging.getLogger("flwr")
    log.setLevel(logging.WARNING)
    log.addFilter(without_contents)


def without_contents(record: logging.LogRecord) -> bool:
    """Take values out of a record; says whether the record is shown at all."""
    said: object = record.msg
    if isinstance(said, dict):  # a query that failed, with its values
        record.msg, record.args = "a query failed: %s", (str(said.get("query"))[:80],)
    return "[ApiError:" not in record.msg  # answered, and in the audit log

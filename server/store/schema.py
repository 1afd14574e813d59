"""The run store's SQLite file: its tables, its settings, and what to do when it fails.

runs          one row per run: its study, its state and the Flower run that carries it out
progress      where each run stands, for people who watch
leaves        the transcript: an append-only log per run, each leaf with its hash
blobs         masked vectors beside the log, until their deletion date
checkpoints   what the next process of a run starts from, replaced with every step
heads         the log's newest signed head, and each institution's newest co-signature
statuses      what each institution last did in a run
metrics       what a run released of its model's quality
approvals     what each institution last said to a study
last_replies  the newest signed reply of each institution, over all runs
undelivered   finished runs that an institution has yet to receive
"""

from typing import Final

from fieldfare.shared.errors import RunError
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
    time INTEGER NOT NULL
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
    migrations=(_FIRST,),
    application=APPLICATION,
)

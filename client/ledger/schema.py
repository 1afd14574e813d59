"""The ledger's SQLite file: its tables, its settings, and the remedies for its faults.

secure_delete overwrites what is replaced, and the log is emptied after each replacement, so that
neither file keeps an old state. Keys of runs are in no file.

entries     one row per debit or statement, hash-chained, append-only
replies     the signed reply and the masked vector that left for each debit
statements  a person's statements: a restored copy accepted, the population split, its unit
runs        opaque state of each run (its openings, where its training stands), then destroyed
pending     one answer of each run that was committed to and not opened, with its seed
commitments the signed first message of what was opened
fixed       the institutions of all sums of a study, where the study fixes them
sides       by which key and share a study's units were split for its first answer
ids         a sketch of those units' ids, at most 8 kB a split: keyed hashes of 1,024 of them
requests    the coordinator's signed request of what was debited
peers       the newest signed reply of each other institution that was seen, over all studies
forks       two signed replies of one institution that stand at one place of its ledger
ledger      whose units these are, and when the ledger began
"""

from pathlib import Path
from typing import Final

from fieldfare.shared.errors import LedgerError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind, append_only

_FIRST: Final = (
    """
CREATE TABLE ledger (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    population TEXT NOT NULL,
    created INTEGER NOT NULL
)
""",
    # `type` and `epoch` leave room for other events in the same chain (a new epoch, a split of
    # the population); such rows get their own table, and debit columns stay as they are.
    # `side`: which units a debit's release read, `debited`: the plain sum of debits. Entries of an
    # earlier version name no side and count as if they read all units: their total is their sum.
    """
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    time INTEGER NOT NULL,
    study TEXT NOT NULL,
    run TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    request TEXT NOT NULL,
    cost INTEGER NOT NULL CHECK (type <> 'debit' OR cost > 0),
    vector TEXT NOT NULL,
    cumulative INTEGER NOT NULL,
    study_total INTEGER NOT NULL,
    head TEXT NOT NULL,
    side TEXT NOT NULL DEFAULT 'all',
    debited INTEGER
)
""",
    "CREATE UNIQUE INDEX entries_request ON entries (request) WHERE type = 'debit'",
    """
CREATE UNIQUE INDEX entries_place ON entries (study, run, step, attempt) WHERE type = 'debit'
""",
    "CREATE INDEX entries_study ON entries (study, sequence)",
    "CREATE INDEX entries_time ON entries (time, sequence)",
    """
CREATE TABLE replies (
    sequence INTEGER PRIMARY KEY REFERENCES entries (sequence),
    reply_sha256 TEXT NOT NULL,
    reply BLOB NOT NULL,
    vector BLOB NOT NULL
)
""",
    """
CREATE TABLE runs (
    study TEXT NOT NULL,
    run TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (study, run)
)
""",
    *append_only("entries", "entries are append-only"),
    *append_only("replies", "replies are append-only"),
    *append_only("ledger", "ledger are append-only"),
    # INSERT OR REPLACE deletes without a DELETE trigger unless recursive_triggers is on.
    """
CREATE TRIGGER entries_INSERT BEFORE INSERT ON entries
WHEN NEW.sequence IS NOT (SELECT coalesce(max(sequence), 0) + 1 FROM entries)
    OR EXISTS (SELECT 1 FROM entries WHERE type = 'debit' AND request = NEW.request)
    OR EXISTS (
        SELECT 1 FROM entries WHERE type = 'debit' AND study = NEW.study AND run = NEW.run
            AND step = NEW.step AND attempt = NEW.attempt
    )
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
""",
    """
CREATE TRIGGER replies_INSERT BEFORE INSERT ON replies
WHEN EXISTS (SELECT 1 FROM replies WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'replies are append-only'); END
""",
)

# Of a statement's row in `entries`, study and cost say what is carried over as spent; run, step,
# attempt, kind, request and vector are empty.
_STATEMENTS: Final = (
    """
CREATE TABLE statements (
    sequence INTEGER PRIMARY KEY REFERENCES entries (sequence),
    content TEXT NOT NULL
)
""",
    *append_only("statements", "statements are append-only"),
    """
CREATE TRIGGER statements_INSERT BEFORE INSERT ON statements
WHEN EXISTS (SELECT 1 FROM statements WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'statements are append-only'); END
""",
)

_PENDING: Final = (
    """
CREATE TABLE pending (
    study TEXT NOT NULL,
    run TEXT NOT NULL,
    step INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    request TEXT NOT NULL,
    cost INTEGER NOT NULL,
    commitment BLOB NOT NULL,
    vector BLOB NOT NULL,
    vector_sha256 TEXT NOT NULL,
    seed BLOB NOT NULL,
    UNIQUE (study, run)
)
""",
    """
CREATE TABLE commitments (
    sequence INTEGER PRIMARY KEY REFERENCES entries (sequence),
    commitment BLOB NOT NULL
)
""",
    "CREATE TABLE fixed (study TEXT NOT NULL PRIMARY KEY, participants TEXT NOT NULL)",
    *append_only("commitments", "commitments are append-only"),
    *append_only("fixed", "fixed are append-only"),
    """
CREATE TRIGGER commitments_INSERT BEFORE INSERT ON commitments
WHEN EXISTS (SELECT 1 FROM commitments WHERE sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'commitments are append-only'); END
""",
    """
CREATE TRIGGER fixed_INSERT BEFORE INSERT ON fixed
WHEN EXISTS (SELECT 1 FROM fixed WHERE study = NEW.study)
BEGIN SELECT RAISE(ABORT, 'fixed are append-only'); END
""",
)

_PEERS: Final = (
    """
CREATE TABLE requests (
    sequence INTEGER PRIMARY KEY REFERENCES entries (sequence),
    request BLOB NOT NULL
)
""",
    """
CREATE TABLE peers (
    study TEXT NOT NULL,
    institution TEXT NOT NULL,
    reply BLOB NOT NULL,
    UNIQUE (study, institution)
)
""",
    """
CREATE TABLE forks (
    institution TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    one BLOB NOT NULL,
    other BLOB NOT NULL,
    UNIQUE (institution, epoch, sequence)
)
""",
    *append_only("requests", "requests are append-only"),
    *append_only("forks", "forks are append-only"),
)

_SIDES: Final = (
    "CREATE TABLE sides (study TEXT NOT NULL PRIMARY KEY, split TEXT NOT NULL)",
    *append_only("sides", "sides are append-only"),
    """
CREATE TRIGGER sides_INSERT BEFORE INSERT ON sides
WHEN EXISTS (SELECT 1 FROM sides WHERE study = NEW.study)
BEGIN SELECT RAISE(ABORT, 'sides are append-only'); END
""",
)

# A place in a ledger is of all its studies, so of each institution one reply is the newest. An
# earlier version kept one for each study.
_ONE_MEMORY: Final = (
    """
CREATE TABLE newest (institution TEXT NOT NULL PRIMARY KEY, reply BLOB NOT NULL)
""",
    """
INSERT INTO newest SELECT institution, reply FROM (
    SELECT institution, reply, row_number() OVER (
        PARTITION BY institution ORDER BY
            json_extract(CAST(reply AS TEXT), '$.body.epoch') DESC,
            json_extract(CAST(reply AS TEXT), '$.body.ledger_sequence') DESC
    ) AS place FROM peers
) WHERE place = 1
""",
    "DROP TABLE peers",
    "ALTER TABLE newest RENAME TO peers",
    # A witness that lies elsewhere when this version first opens the file is believed: members may
    # have an earlier version still, and could not be asked.
    """
INSERT INTO runs (study, run, state) SELECT ':ledger', ':vouched', CAST('*' AS BLOB)
    WHERE EXISTS (SELECT 1 FROM entries)
""",
)

# Not append-only: a person may say that the ids of another load are those of before.
_IDS: Final = ("CREATE TABLE ids (study TEXT NOT NULL PRIMARY KEY, sketch BLOB NOT NULL)",)

LEDGER: Final = DatabaseKind(
    name="the ledger",
    error=LedgerError,
    again="repeat the request",
    restore="restore the newest copy of the ledger and its witness",
    otherwise="nothing leaves until the ledger can be written",
    # Not by itself: `erase_log` empties the log, and must be the one that does.
    pragmas=(WAL, *DURABLE, ("wal_autocheckpoint", "0", 0)),
    first=6,
    migrations=((*_FIRST, *_STATEMENTS, *_PENDING, *_PEERS, *_SIDES), *(_ONE_MEMORY, _IDS)),
)


def open_database(path: Path | None, *, busy_timeout: float) -> Database:
    """Open the ledger at `path` (0600, created if absent) or, with None, one in memory.

    Waits up to `busy_timeout` seconds for other processes.

    Raises:
        LedgerError: locked, read-only, readable by others, damaged or no database.
    """
    return Database(LEDGER, path, busy_seconds=busy_timeout)


def erase_log(database: Database) -> None:
    """Let no old key stay in the write-ahead log.

    Raises:
        LedgerError: another process reads or writes for longer than the timeout.
    """
    if not database.empty_log():
        raise LedgerError(
            "expected to erase old keys from the ledger's log, found another process reading it; "
            "nothing leaves before that: let it finish, then repeat the request"
        )


def whereabouts(path: Path) -> Path:
    """Return where the file really is, which is where SQLite keeps its log.

    Raises:
        LedgerError: the path leads nowhere.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise LedgerError(f"expected a ledger at {path}, found: {error}") from error

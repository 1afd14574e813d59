"""The tables of the store of alerts.

Append a version, never change one.
"""

from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.kind import DURABLE, DatabaseKind

PLACE_COLUMNS: Final = """
    alert TEXT PRIMARY KEY, rest INTEGER NOT NULL, place INTEGER NOT NULL, least INTEGER NOT NULL,
    families INTEGER NOT NULL, opened TEXT NOT NULL, due TEXT NOT NULL, state TEXT NOT NULL,
    open INTEGER NOT NULL, holder TEXT NOT NULL, version INTEGER NOT NULL, packed INTEGER NOT NULL
"""
"""A queue's row: nothing in it tells a sampled alert from another (queue_view.py).

`packed` says all that is counted in one number, so that counts read one column.
"""
_ALERTS: Final = (
    """
CREATE TABLE alert (
    alert TEXT PRIMARY KEY, unit TEXT NOT NULL, opened TEXT NOT NULL, scored TEXT NOT NULL,
    selected TEXT NOT NULL, rank INTEGER NOT NULL, card TEXT NOT NULL
) STRICT
""",
    """
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL REFERENCES alert,
    time TEXT NOT NULL, user TEXT NOT NULL, disposition TEXT NOT NULL, party_role TEXT NOT NULL,
    confidence TEXT NOT NULL, note TEXT NOT NULL, reviewer INTEGER, key TEXT
) STRICT
""",
    """
CREATE TRIGGER feedback_stays BEFORE UPDATE ON feedback
    BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END
""",
    """
CREATE TABLE collected (
    line TEXT PRIMARY KEY, number INTEGER NOT NULL REFERENCES feedback, reviewer INTEGER NOT NULL
) STRICT
""",
    "CREATE TABLE noted (line TEXT PRIMARY KEY) STRICT",
    "CREATE TABLE hidden (alert TEXT PRIMARY KEY REFERENCES alert) STRICT",
    "CREATE TABLE code (indicator TEXT PRIMARY KEY, code TEXT NOT NULL) STRICT",
)
_GONE: Final = "WHEN NOT EXISTS (SELECT 1 FROM expiring WHERE expiring.alert = OLD.alert)"
# Acts beside decisions, what a queue is read by, and entries; rows of what expires may go.
_CASES: Final = (
    "CREATE TABLE expiring (alert TEXT PRIMARY KEY) STRICT",
    "CREATE TABLE forgotten (line TEXT PRIMARY KEY) STRICT",
    "CREATE UNIQUE INDEX feedback_once ON feedback (key)",
    "CREATE INDEX feedback_of ON feedback (alert)",
    f"""
CREATE TRIGGER feedback_is_kept BEFORE DELETE ON feedback {_GONE}
    BEGIN SELECT RAISE(ABORT, 'decisions are only added'); END
""",
    """
CREATE TABLE act (
    number INTEGER PRIMARY KEY AUTOINCREMENT, alert TEXT NOT NULL REFERENCES alert,
    time TEXT NOT NULL, user TEXT NOT NULL, kind TEXT NOT NULL, note TEXT NOT NULL, key TEXT UNIQUE
) STRICT
""",
    "CREATE INDEX act_of ON act (alert)",
    "CREATE INDEX alert_unit ON alert (unit)",
    """
CREATE TRIGGER act_stays BEFORE UPDATE ON act
    BEGIN SELECT RAISE(ABORT, 'acts are only added'); END
""",
    f"""
CREATE TRIGGER act_is_kept BEFORE DELETE ON act {_GONE}
    BEGIN SELECT RAISE(ABORT, 'acts are only added'); END
""",
    """
CREATE TABLE kept_entries (
    alert TEXT PRIMARY KEY REFERENCES alert, day TEXT NOT NULL, closed BLOB NOT NULL
) STRICT
""",
    f"CREATE TABLE place ({PLACE_COLUMNS}) STRICT",
    "CREATE INDEX place_order ON place (rest, place, alert)",
    "CREATE INDEX place_open ON place (open, rest, place, alert)",
    "CREATE INDEX place_state ON place (state, rest, place, alert)",
    "CREATE INDEX place_holder ON place (holder, open, rest, place, alert)",
    "CREATE INDEX place_packed ON place (packed)",
    "CREATE TABLE person (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
)
_REMEDY: Final = "let other commands finish, free some space, or restore it from your backup"
ALERTS: Final = DatabaseKind(
    name="the store of alerts",
    error=UsageError,
    again="repeat the command",
    restore=_REMEDY,
    otherwise=_REMEDY,
    pragmas=DURABLE,  # no WAL: the group reads the file, and may not write its index
    first=3,
    migrations=((*_ALERTS, *_CASES),),
    application=0,
)
_EXPIRING: Final = "WHERE alert IN (SELECT alert FROM expiring)"
_THEIRS: Final = f"IN (SELECT number FROM feedback {_EXPIRING})"
FORGET: Final = (
    f"INSERT OR IGNORE INTO forgotten SELECT line FROM collected WHERE number {_THEIRS}",
    f"DELETE FROM collected WHERE number {_THEIRS}",
    *(
        f"DELETE FROM {table} {_EXPIRING}"
        for table in ("feedback", "act", "hidden", "kept_entries", "place", "alert")
    ),
    "DELETE FROM expiring",
)
"""Delete all of the alerts in `expiring`; of what persons signed, only hashes of lines stay."""

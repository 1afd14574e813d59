"""What was deleted, of runs and by hand, and the statements of it that the online key signed.

A row is written with the mark after which nothing of the run is read again; its statement, once
the last vector is gone. Between the two a process may die: the next purge goes on.
"""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from fieldfare.server.store.rows import RunStatus, to_micros
from fieldfare.server.store.tables import Tables
from fieldfare.shared.protocol.deletion import (
    FILE,
    MASKED_VECTORS,
    MOST_HASHES,
    DeletionStatement,
    sign_deletion,
)
from fieldfare.shared.protocol.messages import Signer
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.sqlite.kind import append_only

ITS_TIME: Final = "the time for which masked vectors are kept is over"
DELETIONS: Final = (
    """
CREATE TABLE deletions (
    run TEXT PRIMARY KEY REFERENCES runs (run),
    rule TEXT NOT NULL,
    hashes TEXT NOT NULL
)
""",
    *append_only("deletions", "what was deleted stays so"),
    """
CREATE TABLE deletion_statements (
    number INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE REFERENCES deletions (run),
    hash TEXT NOT NULL,
    envelope BLOB NOT NULL
)
""",
    *append_only("deletion_statements", "statements of deletion are only added"),
)
FILE_DELETIONS: Final = (
    """
CREATE TABLE deleted_files (
    id INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    study TEXT NOT NULL,
    rule TEXT NOT NULL,
    hash TEXT NOT NULL
)
""",
    *append_only("deleted_files", "what was deleted stays so"),
    """
CREATE TABLE file_statements (
    number INTEGER PRIMARY KEY,
    file INTEGER NOT NULL UNIQUE REFERENCES deleted_files (id),
    hash TEXT NOT NULL,
    envelope BLOB NOT NULL
)
""",
    *append_only("file_statements", "statements of deletion are only added"),
)
# A few at a time: a run's process waits for no more than these.
_PURGE_SOME: Final = (
    "DELETE FROM blobs WHERE rowid IN"
    " (SELECT blobs.rowid FROM blobs JOIN runs USING (run) WHERE purged LIMIT 100)"
)
_ENDED: Final = ", ".join(f"'{state.value}'" for state in RunStatus if state.ended)
# A run that a restore ended had its end when it was last heard of, not at the restore.
_DUE: Final = f"""
SELECT run FROM runs WHERE NOT purged AND state IN ({_ENDED}) AND (ended < ? OR run IN
    (SELECT abandoned.run FROM abandoned JOIN progress USING (run) WHERE progress.time < ?))
"""
_UNSTATED: Final = """
SELECT deletions.run, study, rule, hashes FROM deletions JOIN runs USING (run)
WHERE run NOT IN (SELECT run FROM deletion_statements) AND run NOT IN (SELECT run FROM blobs)
AND json_array_length(hashes) <= ?
ORDER BY deletions.rowid LIMIT 1
"""
_UNSTATED_FILES: Final = """
SELECT id, subject, study, rule, hash FROM deleted_files
WHERE id NOT IN (SELECT file FROM file_statements) ORDER BY id LIMIT 1
"""
# Of vectors and of files, in one chain.
_STATEMENTS: Final = """
SELECT number, hash, envelope FROM deletion_statements
UNION ALL SELECT number, hash, envelope FROM file_statements ORDER BY number
"""
_LAST: Final = f"SELECT number, hash FROM ({_STATEMENTS}) ORDER BY number DESC LIMIT 1"


class DeletionTables(Tables):
    """Deletions and their statements. Failures of the file or the disk are RunErrors."""

    def purge(self, before: datetime, rule: str = ITS_TIME) -> int:
        """Delete blobs of runs that ended before a moment; return how many.

        Leaves, with the hashes of the deleted vectors, stay.

        Args:
            before: the moment.
            rule: that makes them due, in words; it stands in the statement.
        """
        with self._database.transaction():
            for (run,) in self._database.rows(_DUE, to_micros(before), to_micros(before)):
                # First, so that a run of which some was deleted is never resumed.
                self._database.rows("UPDATE runs SET purged = 1 WHERE run = ?", run)
                names = [
                    name
                    for (name,) in self._database.rows(
                        "SELECT hash FROM blobs WHERE run = ? ORDER BY hash", run
                    )
                ]
                if names:
                    self._database.rows(
                        "INSERT INTO deletions VALUES (?, ?, ?)", run, rule, json.dumps(names)
                    )
        deleted = 0
        while some := self._database.changed(_PURGE_SOME):
            deleted += some
        self._database.give_back()
        return deleted

    def state_deletions(self, signer: Signer, now: datetime) -> int:
        """Sign a statement of each deletion that has none; return how many.

        A run of more vectors than a statement can name goes without one, and holds up no other.

        Args:
            signer: of the online key.
            now: the present, with a time zone.
        """
        made, time = 0, int(now.timestamp())
        while self._state_next(signer, time) or self._state_next_file(signer, time):
            made += 1
        return made

    def delete_file(
        self, subject: str, study: str, rule: str, digest: str, remove: Callable[[], None]
    ) -> None:
        """Delete a file, and note it for a statement: both, or neither but for a kill between.

        Args:
            subject: the kind of file, in words.
            study: its id, or nothing.
            rule: why it may go; it stands in the statement.
            digest: SHA-256 of the file, hex.
            remove: deletes it.
        """
        with self._database.transaction():
            self._database.rows(
                "INSERT INTO deleted_files (subject, study, rule, hash) VALUES (?, ?, ?, ?)",
                *(subject, study, rule, digest),
            )
            remove()

    def deletion_statements(self) -> tuple[bytes, ...]:
        """Return every signed statement, in order."""
        return tuple(bytes(envelope) for *_, envelope in self._database.rows(_STATEMENTS))

    def unstated_deletions(self) -> int:
        """Return how many deletions, of a run's vectors or of a file, have no statement."""
        ((runs,),) = self._database.rows(
            "SELECT count(*) FROM deletions WHERE run NOT IN (SELECT run FROM deletion_statements)"
        )
        ((files,),) = self._database.rows(
            "SELECT count(*) FROM deleted_files WHERE id NOT IN (SELECT file FROM file_statements)"
        )
        return int(runs) + int(files)

    def statement_is_due(self) -> bool:
        """Tell whether `state_deletions` would sign: no key has to be opened where it would not."""
        runs = self._database.rows(_UNSTATED, MOST_HASHES)
        return bool(runs or self._database.rows(_UNSTATED_FILES))

    def _state_next(self, signer: Signer, time: int) -> bool:
        with self._database.transaction():
            found = self._database.rows(_UNSTATED, MOST_HASHES)
            if not found:
                return False
            ((run, study, rule, hashes),) = found
            statement = self._next_statement(
                time,
                kind=MASKED_VECTORS,
                subject=run,
                study=study,
                rule=rule,
                hashes=tuple(json.loads(hashes)),
            )
            self._database.rows(
                "INSERT INTO deletion_statements VALUES (?, ?, ?, ?)",
                *(statement.number, run, statement.hash, sign_deletion(statement, signer)),
            )
        return True

    def _state_next_file(self, signer: Signer, time: int) -> bool:
        with self._database.transaction():
            found = self._database.rows(_UNSTATED_FILES)
            if not found:
                return False
            ((number, subject, study, rule, digest),) = found
            statement = self._next_statement(
                time, kind=FILE, subject=subject, study=study, rule=rule, hashes=(digest,)
            )
            self._database.rows(
                "INSERT INTO file_statements VALUES (?, ?, ?, ?)",
                *(statement.number, number, statement.hash, sign_deletion(statement, signer)),
            )
        return True

    def _next_statement(self, time: int, **said: Any) -> DeletionStatement:
        last = self._database.rows(_LAST)
        number, before = (last[0][0] + 1, last[0][1]) if last else (0, "")
        return DeletionStatement(party=COORDINATOR, number=number, before=before, time=time, **said)

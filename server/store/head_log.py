"""The log of every head that the coordinator signs, and what witnesses signed of it.

An entry is appended with the head, in one transaction, and with a signed checkpoint of its own: who
asks witnesses later needs no key.
"""

from collections.abc import Mapping
from typing import Final

from fieldfare.server.store.tables import Tables, TranscriptTables
from fieldfare.shared.errors import RunError
from fieldfare.shared.protocol.messages import Signer
from fieldfare.shared.sqlite.kind import append_only
from fieldfare.shared.transcript.head_log import HeadEntry, checkpoint_of
from fieldfare.shared.transcript.leaves import TreeHead

HEAD_LOG: Final = (
    """
CREATE TABLE head_log (
    origin TEXT NOT NULL,
    position INTEGER NOT NULL,
    run TEXT NOT NULL,
    label TEXT NOT NULL,
    size INTEGER NOT NULL,
    root TEXT NOT NULL,
    note BLOB NOT NULL,
    UNIQUE (origin, position)
)
""",
    *append_only("head_log", "a log of heads is append-only"),
    """
CREATE TABLE cosigned_heads (
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    witness TEXT NOT NULL,
    line TEXT NOT NULL,
    UNIQUE (origin, size, witness)
)
""",
)


class HeadLogTables(Tables):
    """The log of heads. Failures of the file or the disk are RunErrors."""

    def head_entries(self, origin: str, size: int | None = None) -> tuple[HeadEntry, ...]:
        """Return the entries of a log, in order; the first `size` of them."""
        found = self._database.rows(
            "SELECT label, root, size FROM head_log WHERE origin = ? AND position < ?"
            " ORDER BY position",
            *(origin, 2**62 if size is None else size),
        )
        return tuple(
            HeadEntry(label=label, root=root, size=length) for label, root, length in found
        )

    def head_note(self, origin: str, size: int) -> bytes:
        """Return the signed checkpoint over the first `size` entries.

        Raises:
            RunError: there are fewer.
        """
        found = self._database.rows(
            "SELECT note FROM head_log WHERE origin = ? AND position = ?", origin, size - 1
        )
        if not found:
            raise RunError(f"expected a log of {size} heads or more, found a shorter one")
        note: bytes = found[0][0]
        return note

    def head_log_size(self, origin: str) -> int:
        """Return how many heads a log has."""
        found = self._database.rows(
            "SELECT coalesce(max(position) + 1, 0) FROM head_log WHERE origin = ?", origin
        )
        return int(found[0][0])

    def append_head(
        self, origin: str, run: str, head: TreeHead, signer: Signer, public: bytes
    ) -> None:
        """Append a head with its checkpoint, unless it is the run's newest one already.

        To be called in one transaction with what it goes along with (`together`).
        """
        entry = HeadEntry.of(head)
        entries = self.head_entries(origin)
        newest = next((one for one in reversed(entries) if one.label == entry.label), None)
        if newest == entry:
            return
        hashes = [*(one.hash for one in entries), entry.hash]
        self._database.rows(
            "INSERT INTO head_log (origin, position, run, label, size, root, note)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(origin, len(entries), run, entry.label, entry.size, entry.root),
            checkpoint_of(origin, hashes).signed(signer, public),
        )

    def put_cosigned(self, origin: str, size: int, witness: str, line: str) -> None:
        """Keep a witness's signature line on the checkpoint over `size` heads.

        Args:
            origin: the log.
            size: of the checkpoint.
            witness: its verifier key.
            line: as it stands in a note, with its line feed.
        """
        self._database.rows(
            "REPLACE INTO cosigned_heads (origin, size, witness, line) VALUES (?, ?, ?, ?)",
            *(origin, size, witness, line),
        )

    def cosigned_sizes(self, origin: str) -> Mapping[str, int]:
        """Return the largest size that each witness signed, by its verifier key."""
        found = self._database.rows(
            "SELECT witness, max(size) FROM cosigned_heads WHERE origin = ? GROUP BY witness"
            " ORDER BY witness",
            origin,
        )
        return dict(found)

    def cosigned_lines(self, origin: str, run: str) -> Mapping[int, Mapping[str, str]]:
        """Return signature lines by size and by key, for sizes that hold a run's newest head."""
        found = self._database.rows(
            "SELECT size, witness, line FROM cosigned_heads WHERE origin = ? AND size >"
            " (SELECT coalesce(max(position), 1 << 62) FROM head_log WHERE origin = ? AND run = ?)"
            " ORDER BY size, witness",
            *(origin, origin, run),
        )
        lines: dict[int, dict[str, str]] = {}
        for size, witness, line in found:
            lines.setdefault(size, {})[witness] = line
        return lines

    def newest_position(self, origin: str, run: str) -> int | None:
        """Return where a run's newest head stands in a log, from 0; None where it has none."""
        found = self._database.rows(
            "SELECT max(position) FROM head_log WHERE origin = ? AND run = ?", origin, run
        )
        position: int | None = found[0][0]
        return position


class SignedHeadTables(TranscriptTables, HeadLogTables):
    """Runs' logs and the log of their heads: a head is in both, or in neither."""

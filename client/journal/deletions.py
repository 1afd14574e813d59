"""Signed statements of what an institution deleted, made of its log.

The log has each deletion as it happened, in its chain; signing needs the key, which whoever deletes
by a timer has not. The same log makes the same statements, but for their signatures' key.
"""

from collections.abc import Iterator
from pathlib import Path

from fieldfare.client.journal.entries import Event, JournalEntry
from fieldfare.client.journal.journal import read
from fieldfare.shared.protocol.deletion import (
    ALERTS,
    ENTRIES,
    FILE,
    DeletionStatement,
    sign_deletion,
)
from fieldfare.shared.protocol.messages import Signer


def deletion_statements(folder: Path, institution: str, signer: Signer) -> Iterator[bytes]:
    """Yield a signed statement for each deletion that a log tells of, in order.

    Args:
        folder: of the log.
        institution: its id.
        signer: of its identity.

    Raises:
        LedgerError: the log does not fit itself, or cannot be read.
    """
    number, before = 0, ""
    for entry in read(folder):
        if entry.event is not Event.DELETED:
            continue
        statement = _statement(entry, institution, number, before)
        number, before = number + 1, statement.hash
        yield sign_deletion(statement, signer)


def _statement(
    entry: JournalEntry, institution: str, number: int, before: str
) -> DeletionStatement:
    said = entry.details
    found, kind = said.get("fingerprint"), said["kind"]
    return DeletionStatement(
        party=institution,
        number=number,
        before=before,
        kind=ENTRIES if kind == ENTRIES else FILE if kind == FILE else ALERTS,
        subject=str(said["asked"]),
        study=str(said.get("study", "")),
        rule=str(said["rule"]),
        time=int(entry.time.timestamp()),
        hashes=() if found is None else (str(found),),
    )

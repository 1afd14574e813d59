"""The log's head, signed, for a collector that the institution's machine cannot rewrite.

The chain has no key: whoever may write the file can write another log with right hashes. A head
that has left the machine cannot be made to fit another log, so it finds one that was rewritten, cut
or restored from an older copy. It says nothing about entries after it.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

from fieldfare.client.journal.entries import GENESIS, Mark
from fieldfare.client.journal.journal import read
from fieldfare.shared.errors import LedgerError, ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Count,
    MessageBody,
    Signer,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import Hex32, InstitutionId, Member, Roster

LARGEST_FILE: Final = 16 * 1024 * 1024  # bytes of heads, a line of about 400 each


class JournalHead(MessageBody):
    """An institution's signed statement on its log at one time.

    Attributes:
        institution: its id.
        entries: how many there are.
        last: hash of the last one; it fixes all before.
        time: when it was signed, whole seconds since 1970, by the institution's clock.
    """

    TYPE: ClassVar[str] = "fieldfare.journal-head.v1"

    institution: InstitutionId
    entries: Count
    last: Hex32
    time: Count

    @property
    def said(self) -> str:
        """The head in words."""
        return f"{self.entries} entries at {datetime.fromtimestamp(self.time, UTC):%Y-%m-%d %H:%M}"


def sign_head(end: Mark, institution: str, signer: Signer, now: datetime) -> bytes:
    """Return one line without its break: where the log stands, signed."""
    body = JournalHead(
        institution=institution, entries=end.sequence, last=end.hash, time=int(now.timestamp())
    )
    return sign_envelope(body, institution, signer)


def read_heads(content: bytes, institution: str, keys: Collection[str]) -> list[JournalHead]:
    """Parse a file of heads, a line each, signed by one of the institution's keys (hex).

    Raises:
        LedgerError: the line that is no head of this institution, or there is none.
    """
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        head = next(_opened(line, institution, keys), None)
        if head is None or head.institution != institution:
            raise LedgerError(
                f"line {number}: expected a head that {institution} signed with its present or a "
                "former key, found something else"
            )
        found.append(head)
    if not found:
        raise LedgerError(
            "expected heads that were signed before, a line each, found an empty file"
        )
    return found


def compare(folder: Path, heads: Collection[JournalHead]) -> Mark:
    """Recompute the log in `folder`, find every head in it, and return where it ends.

    Raises:
        LedgerError: the log does not fit itself, or was rewritten or cut since a head was signed.
    """
    asked, end = {head.entries for head in heads}, GENESIS
    found = {GENESIS.sequence: GENESIS}
    for entry in read(folder):
        end = entry.mark
        if end.sequence in asked:
            found[end.sequence] = end
    for head in heads:
        mark = found.get(head.entries)
        if mark is None:
            raise LedgerError(
                f"expected the {head.said} UTC that a signed head names, found {end.sequence}: the "
                "log was cut, or restored from an older copy"
            )
        if mark.hash != head.last:
            raise LedgerError(
                f"expected entry {head.entries} with hash {head.last}, which a signed head names "
                f"({head.said} UTC), found {mark.hash}: the log was rewritten"
            )
    return end


def _opened(line: bytes, institution: str, keys: Collection[str]) -> Iterator[JournalHead]:
    for key in keys:
        one = Roster(version=1, coordinator="", members=(Member(id=institution, key=key),))
        try:
            yield open_envelope(line, JournalHead, one, Protection.EXACT).body
        except ProtocolError:
            continue

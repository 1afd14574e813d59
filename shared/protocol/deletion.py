"""Signed statements of what was deleted: what by its hash, when, and under which rule.

A party's statement numbers itself and names the one before by its hash, so that one which is left
out of the middle shows. It is a claim: who signs it is bound to it, and what turns up later with
one of these hashes refutes it; that no copy is left, no signature proves.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, field_validator

from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    MOST_VALUES,
    Count,
    MessageBody,
    Opening,
    Signer,
    Verifier,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import COORDINATOR, Hex32, InstitutionId, Member, Roster

MOST_HASHES: Final = 250_000  # as many as fit a message
MASKED_VECTORS: Final = "masked vectors"
ALERTS: Final = "alerts"
ENTRIES: Final = "entries"
FILE: Final = "file"

OneLine = Annotated[str, Field(min_length=1, max_length=500)]


class DeletionStatement(MessageBody):
    """A party's statement that something is deleted; it names no person and no record.

    Attributes:
        party: "coordinator", or an institution's id.
        number: from 0; one more than the statement before.
        before: hash of the statement before, hex; empty for the first.
        kind: of what was deleted.
        subject: a run's id, the day (ISO 8601) of entries or before which all alerts are gone, or a
            kind of file.
        study: its id, hex, where it was of one.
        rule: why it was due.
        time: by when it was gone, whole seconds since 1970, by the party's clock: of vectors when
            it was signed, which may be later.
        hashes: SHA-256 of each thing, sorted; none where a hash could be traced to a record.
    """

    TYPE: ClassVar[str] = "fieldfare.deletion.v1"
    VALUES: ClassVar[int] = MOST_VALUES + 2 * MOST_HASHES

    party: InstitutionId
    number: Count
    before: Opening = ""
    kind: Literal["masked vectors", "alerts", "entries", "file"]
    subject: OneLine
    study: Opening = ""
    rule: OneLine
    time: Count
    hashes: Annotated[tuple[Hex32, ...], Field(max_length=MOST_HASHES)] = ()

    @field_validator("subject", "rule")
    @classmethod
    def _on_one_line(cls, text: str) -> str:
        if not text.isprintable():
            raise ValueError("expected printable characters on one line")
        return text

    @field_validator("hashes")
    @classmethod
    def _sorted(cls, hashes: tuple[str, ...]) -> tuple[str, ...]:
        if list(hashes) != sorted(set(hashes)):
            raise ValueError("hashes: expected them sorted, each once")
        return hashes


def sign_deletion(statement: DeletionStatement, signer: Signer) -> bytes:
    """Return a statement as one line without its break, signed by its party's key."""
    return sign_envelope(statement, statement.party, signer)


def read_deletions(
    content: bytes, rosters: Collection[Verifier], keys: Collection[str] = (), party: str = ""
) -> tuple[DeletionStatement, ...]:
    """Return one party's statements from a file, a line each, every signature and link checked.

    Args:
        content: of the file.
        rosters: that are believed: the party's key in any of them may have signed.
        keys: further public keys of the party, hex.
        party: whose statements they have to be; empty: whose the first one is. A key alone names
            nobody: where keys are believed, whose they are has to be known.

    Raises:
        ProtocolError: the first line that does not fit, or none.
    """
    found: list[DeletionStatement] = []
    for number, line in enumerate(content.splitlines()):
        alone = (one for key in keys for one in _under(key, line))
        statement = _opened(line, number + 1, (*rosters, *alone))
        before = found[-1].hash if found else ""
        party = party or statement.party
        said = (statement.party, statement.number, statement.before)
        if said != (party, number, before):
            raise ProtocolError(
                f"line {number + 1}: expected statement {number} of {party} after the one before, "
                "found another: one is missing, or two histories are mixed"
            )
        found.append(statement)
    if not found:
        raise ProtocolError("expected statements of deletion, a line each, found none")
    return tuple(found)


def deletion_key(line: bytes, keys: Collection[str]) -> str:
    """Return which public key, hex, signed a statement of `read_deletions`, of those that may have.

    Raises:
        ProtocolError: none of them.
    """
    for key in keys:
        try:
            _opened(line, 1, tuple(_under(key, line)))
        except ProtocolError:
            continue
        return key
    raise ProtocolError("expected a statement that one of the keys signed, found another")


def _under(key: str, line: bytes) -> Iterator[Roster]:
    """Yield the roster of one key and whom a line says to be of; none where neither is well formed.

    Whether the key signed the line is for the roster to find out.
    """
    try:
        party = json.loads(line)["signer"]
        if party == COORDINATOR:
            yield Roster(version=1, coordinator=key, members=())
        else:
            yield Roster(version=1, coordinator="", members=(Member(id=party, key=key),))
    except (ValueError, TypeError, KeyError, RecursionError):  # pydantic's is a ValueError
        return


def _opened(line: bytes, number: int, believed: Sequence[Verifier]) -> DeletionStatement:
    for verifier in believed:
        try:
            opened = open_envelope(line, DeletionStatement, verifier, Protection.EXACT)
        except ProtocolError:
            continue
        if opened.signer == opened.body.party:
            return opened.body
    raise ProtocolError(
        f"line {number}: expected a statement of deletion that its party signed with a key that "
        "you name, found something else"
    )

"""Heads of a log apart from the log: co-signatures, heads as files, and a proof of two stories.

Two heads that a coordinator signed for one run contradict each other where neither log is the
beginning of the other. The leaves' hashes of the longer log show that to anybody, and say nothing
of what the leaves hold.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fieldfare.shared.canonical import canonical_bytes
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import Count, MessageBody, ReleaseKind, RunId, open_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Hex32, Roster
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.leaves import TreeHead
from fieldfare.shared.transcript.merkle import hashes_in

MOST_SHOWN: Final = 12 * 1024 * 1024  # bytes of leaves and vectors in one message
MOST_VECTORS: Final = 1024  # of them in one message
UNTRAVELLED: Final = frozenset(  # kinds of which no sum need travel with a later request
    {ReleaseKind.MOMENTS, ReleaseKind.EVALUATION, ReleaseKind.FAIRNESS, ReleaseKind.QUERY}
)
LARGEST_HEAD_FILE: Final = 32 * 1024 * 1024  # bytes: the hashes of the longest log, in base64


@dataclass(frozen=True)
class ShownLog:
    """The part of its log that a coordinator shows, for an institution to co-sign.

    Attributes:
        head: signed TreeHead.
        log: all leaves as their canonical bytes, a line feed between two; empty where they are
            too many for one message.
        hashes: of the leaves, 32 bytes each, where the leaves are not shown.
        vectors: masked vectors of the sums that travelled with no later request.
    """

    head: bytes
    log: bytes = b""
    hashes: bytes = b""
    vectors: tuple[bytes, ...] = ()


class CosignedHead(MessageBody):
    """An institution's signed statement on a log: its head, and the extent that it knows.

    Attributes:
        size, root: the coordinator's head.
        checked: whether every sum was added up again here, or the log is known by its hashes.
        misfit: the first leaf that does not fit what this institution knows, from 0; or none.
    """

    TYPE: ClassVar[str] = "fieldfare.cosigned-head.v1"

    study: Hex32
    run: RunId
    size: Count
    root: Hex32
    checked: Literal["recomputed", "hashes only"]
    misfit: Count | None

    @property
    def head(self) -> TreeHead:
        """The head that it is about."""
        return TreeHead(study=self.study, run=self.run, size=self.size, root=self.root)


class CanonicalFile(BaseModel):
    """A file of base64 parts, which only its canonical bytes are."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    TYPE: ClassVar[str]
    format: Literal[1] = 1

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 bytes."""
        return canonical_bytes(self)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Parse a file.

        Raises:
            ProtocolError: too large, another file, or not canonical.
        """
        if len(content) > LARGEST_HEAD_FILE:
            raise ProtocolError(f"expected a file of at most {LARGEST_HEAD_FILE} bytes, found more")
        try:
            found = cls.model_validate(_as_tuples(json.loads(content)))
            if found.to_bytes() == content:
                return found
        except (ValidationError, ValueError, RecursionError):
            pass  # nothing of it is repeated: it may be hostile
        raise ProtocolError(f"expected a {cls.TYPE} in its canonical form, found something else")


def _as_tuples(value: Any) -> Any:
    """Return the same with tuples for lists, as strict models want them."""
    if not isinstance(value, dict):
        return value
    return {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}


class SeenHead(CanonicalFile):
    """A head that an institution was shown, with the hashes of the log's leaves.

    Attributes:
        head: the coordinator's signed TreeHead, base64.
        hashes: of its leaves, 32 bytes each, base64; empty where they are not known.
    """

    TYPE: ClassVar[str] = "fieldfare.seen-head.v1"

    type: Literal["fieldfare.seen-head.v1"] = "fieldfare.seen-head.v1"
    head: str
    hashes: str

    @classmethod
    def of(cls, envelope: bytes, hashes: "tuple[bytes, ...] | list[bytes]") -> "SeenHead":
        """Return the head of these leaves."""
        return cls(head=_text(envelope), hashes=_text(b"".join(hashes)))

    def opened(self, roster: Roster) -> TreeHead:
        """Return the head, if the roster's coordinator signed it.

        Raises:
            ProtocolError: another party did.
        """
        return _opened(_bytes(self.head), roster)

    def is_whole(self, roster: Roster) -> bool:
        """Tell whether the hashes are those of the head's leaves.

        Raises:
            ProtocolError: another party signed it, or the hashes are none.
        """
        head, hashes = self.opened(roster), hashes_in(_bytes(self.hashes))
        return (len(hashes), merkle.root(hashes).hex()) == (head.size, head.root)


@dataclass(frozen=True)
class ToldStories:
    """Two heads of one run by one coordinator, neither of them a beginning of the other."""

    study: str
    run: str
    first: TreeHead
    second: TreeHead

    @property
    def words(self) -> str:
        """The same for people."""
        sizes = f"{self.first.size} leaves, root {self.first.root[:16]}"
        other = f"{self.second.size} leaves, root {self.second.root[:16]}"
        return f"the coordinator signed two logs of run {self.run}: {sizes}; and {other}"


class TwoStories(CanonicalFile):
    """The proof, as a file that anybody can check who knows the coordinator's key.

    Attributes:
        heads: two signed TreeHeads, base64; the shorter log first.
        hashes: of the longer log's leaves, base64; empty where both have one size.
    """

    TYPE: ClassVar[str] = "fieldfare.two-stories.v1"

    type: Literal["fieldfare.two-stories.v1"] = "fieldfare.two-stories.v1"
    heads: tuple[str, str] = Field(strict=False)
    hashes: str

    def told(self, roster: Roster) -> ToldStories:
        """Check the proof.

        Args:
            roster: on which the coordinator's key stands; members are not needed.

        Raises:
            ProtocolError: it proves nothing.
        """
        first, second = (_opened(_bytes(head), roster) for head in self.heads)
        if (first.study, first.run) != (second.study, second.run):
            raise ProtocolError("expected two heads of one run, found two runs")
        if first.size > second.size:
            raise ProtocolError("expected the shorter log first")
        if first.size == second.size:
            roots, same = {first.root, second.root}, not self.hashes
            if len(roots) == 1 or not same:
                raise ProtocolError("expected two roots of one size, found one")
        elif not _contradicts(first, second, hashes_in(_bytes(self.hashes))):
            raise ProtocolError("expected logs of which none is the other's beginning")
        return ToldStories(first.study, first.run, first, second)


def two_stories(one: SeenHead, other: SeenHead, roster: Roster) -> TwoStories | None:
    """Return the proof that two heads contradict each other; None where none can be given.

    Args:
        one: a head, with hashes where these are known.
        other: another one.
        roster: on which the coordinator's key stands.

    Raises:
        ProtocolError: a head that the coordinator did not sign, or hashes that are none.
    """
    first, second = sorted((one, other), key=lambda seen: seen.opened(roster).size)
    before, after = first.opened(roster), second.opened(roster)
    if (before.study, before.run) != (after.study, after.run):
        return None
    heads = (first.head, second.head)
    if before.size == after.size:
        return None if before.root == after.root else TwoStories(heads=heads, hashes="")
    if not _contradicts(before, after, hashes_in(_bytes(second.hashes))):
        return None
    return TwoStories(heads=heads, hashes=second.hashes)


def _contradicts(before: TreeHead, after: TreeHead, hashes: tuple[bytes, ...]) -> bool:
    """Say whether the log of these leaves is `after`, and does not begin with `before`."""
    if len(hashes) != after.size or merkle.root(hashes).hex() != after.root:
        return False
    return merkle.root(hashes[: before.size]).hex() != before.root


def _opened(envelope: bytes, roster: Roster) -> TreeHead:
    opened = open_envelope(envelope, TreeHead, roster, Protection.EXACT)
    if opened.signer != COORDINATOR:
        raise ProtocolError("expected a head that the coordinator signed")
    return opened.body


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ProtocolError("expected base64") from None

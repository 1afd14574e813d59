"""A coordinator's log of heads: every head that it signs, of all its runs, in one more Merkle log.

This is the log that witnesses outside the federation know: one for a coordinator, so that they are
told of it once. Its leaves name no study and no run; who knows these finds theirs by its label.
"""

from collections.abc import Sequence
from typing import ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from fieldfare.shared.canonical import TYPE_SEPARATOR, canonical_bytes, chained_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import Count
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.transcript import merkle
from fieldfare.shared.transcript.heads import CanonicalFile
from fieldfare.shared.transcript.leaves import TreeHead
from fieldfare.shared.transcript.notes import LARGEST_NOTE, LogCheckpoint, Note

ORIGIN: Final = "fieldfare.heads"
MOST_ENTRIES: Final = 100_000  # in one file; a run of 60 steps adds two or three
_LABEL: Final = b"fieldfare.head-label.v1" + TYPE_SEPARATOR


def origin_of(roster_key: str, log: int = 1) -> str:
    """Return the name of a coordinator's log of heads: it follows from the key that members pinned.

    Args:
        roster_key: public, hex.
        log: counts from 1; another one begins where the log was lost (docs/transcript.md).
    """
    return f"{ORIGIN}/{roster_key}" + (f"/{log}" if log > 1 else "")


def head_label(study: str, run: str) -> str:
    """Return what stands for a run in the log of heads, SHA-256, hex."""
    return chained_hash(_LABEL, {"run": run, "study": study})


class HeadEntry(BaseModel):
    """A leaf of the log of heads: one head of one run.

    Attributes:
        label: of the run (`head_label`).
        size, root: the head's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    label: Hex32
    root: Hex32
    size: Count
    type: Literal["fieldfare.head-entry.v1"] = "fieldfare.head-entry.v1"

    @classmethod
    def of(cls, head: TreeHead) -> Self:
        """Return the entry of a head."""
        return cls(label=head_label(head.study, head.run), root=head.root, size=head.size)

    def to_bytes(self) -> bytes:
        """Return the RFC 8785 bytes, which are hashed."""
        return canonical_bytes(self)

    @property
    def hash(self) -> bytes:
        """The entry's hash in the log, 32 bytes."""
        return merkle.leaf_hash(self.to_bytes())


class WitnessedHeads(CanonicalFile):
    """The log of heads up to a size, and the checkpoint that witnesses cosigned, as one file.

    Attributes:
        entries: in order.
        note: the checkpoint with its signatures (notes.py).
    """

    TYPE: ClassVar[str] = "fieldfare.witnessed-heads.v1"

    entries: tuple[HeadEntry, ...] = Field(max_length=MOST_ENTRIES)
    note: str = Field(max_length=LARGEST_NOTE)
    type: Literal["fieldfare.witnessed-heads.v1"] = "fieldfare.witnessed-heads.v1"

    def opened(self) -> tuple[Note, LogCheckpoint]:
        """Return the note and what it says, if it is a checkpoint over these entries.

        Raises:
            ProtocolError: another size or root, or no checkpoint.
        """
        note = Note.from_bytes(self.note.encode())
        checkpoint = LogCheckpoint.from_text(note.text)
        found = checkpoint_of(checkpoint.origin, [entry.hash for entry in self.entries])
        if found != checkpoint:
            raise ProtocolError(
                f"expected a checkpoint over the {found.size} heads listed, root "
                f"{found.root.hex()}; found {checkpoint.size}, root {checkpoint.root.hex()}"
            )
        return note, checkpoint


def checkpoint_of(origin: str, hashes: Sequence[bytes]) -> LogCheckpoint:
    """Return the checkpoint over the hashes of a log's entries, in order."""
    return LogCheckpoint(origin, len(hashes), merkle.root(hashes))

"""Statements of deletion beside a transcript: which vectors are gone, and does somebody say so?

What a statement says is its party's claim. A transcript that still has a vector refutes it; one
that lacks a vector of which no statement speaks was cut, or its vectors went before statements
were signed. Nobody keeps the vectors of an attempt that led to no sum, so none is missed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fieldfare.shared.canonical import claimed
from fieldfare.shared.protocol.deletion import MASKED_VECTORS, DeletionStatement
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.transcript.file import TranscriptFile
from fieldfare.shared.transcript.leaves import LeafKind, SumRecord


@dataclass(frozen=True)
class ComparedDeletions:
    """The masked vectors of one run, by their SHA-256, hex.

    Attributes:
        run: the run's id.
        gone: replies of a sum name them, the file lacks them, and a statement says so.
        refuted: a statement says that they are deleted, and the file has them.
        unstated: replies of a sum name them, the file lacks them, and no statement says so.
        unknown: a statement names them, and no reply in the transcript does.
    """

    run: str
    gone: frozenset[str]
    refuted: frozenset[str]
    unstated: frozenset[str]
    unknown: frozenset[str]


def left_out(
    statements: Sequence[DeletionStatement], earlier: Sequence[DeletionStatement]
) -> tuple[DeletionStatement, ...]:
    """Return the statements of an earlier file of the same party that a later file lacks.

    Each names the one before by its hash, so where one is not in the later file none after it is.
    """
    there = {one.hash for one in statements}
    return tuple(one for one in earlier if one.hash not in there)


def compare_deletions(
    statements: Collection[DeletionStatement], transcript: TranscriptFile
) -> ComparedDeletions:
    """Compare the coordinator's statements with a transcript, which `audit` verifies.

    Nobody else keeps the vectors of a log, so another party's statements say nothing of them.

    Raises:
        ProtocolError: a sum of the transcript is not well formed.
    """
    run = transcript.header.run
    sums = frozenset(
        SumRecord.from_bytes(leaf.content).request
        for leaf in transcript.leaves
        if leaf.kind is LeafKind.SUM
    )
    named = frozenset(
        name
        for leaf in transcript.leaves
        if leaf.kind is LeafKind.REPLY
        and claimed(leaf.content, "request") in sums
        and (name := claimed(leaf.content, "vector"))
    )
    there = frozenset(place.hash for place in transcript.vectors)
    stated = frozenset(
        name
        for one in statements
        if (one.party, one.kind, one.subject) == (COORDINATOR, MASKED_VECTORS, run)
        for name in one.hashes
    )
    return ComparedDeletions(
        run=run,
        gone=(stated & named) - there,
        refuted=stated & there,
        unstated=named - there - stated,
        unknown=stated - named - there,
    )

"""Statements of deletion beside a real run, one attempt of which led to no sum."""

import io

from tests.support.runs.transcripts import Recorder

from fieldfare.shared.audit.deletions import ComparedDeletions, compare_deletions
from fieldfare.shared.protocol.deletion import MASKED_VECTORS, DeletionStatement
from fieldfare.shared.protocol.roster import COORDINATOR
from fieldfare.shared.transcript.file import read_transcript


def stated(recorded: Recorder, party: str = COORDINATOR) -> DeletionStatement:
    """A party says that every vector of the run is gone."""
    return DeletionStatement(
        party=party,
        number=0,
        kind=MASKED_VECTORS,
        subject=recorded.run,
        rule="retention_days = 30",
        time=1_780_000_000,
        hashes=tuple(sorted(recorded.blobs)),
    )


def compared(recorded: Recorder, *statements: DeletionStatement, purged: bool) -> ComparedDeletions:
    content = io.BytesIO(recorded.to_bytes(purged=purged))
    return compare_deletions(statements, read_transcript(content))


def test_of_a_run_whose_vectors_are_all_kept_nothing_is_gone(recorded: Recorder) -> None:
    found = compared(recorded, purged=False)
    assert not found.gone | found.refuted | found.unstated | found.unknown


def test_vectors_of_sums_that_went_are_stated_or_missed(recorded: Recorder) -> None:
    everything = frozenset(recorded.blobs)
    found = compared(recorded, stated(recorded), purged=True)
    assert (found.gone, found.unstated, found.unknown) == (everything, frozenset(), frozenset())
    assert compared(recorded, purged=True).unstated == everything
    assert compared(recorded, stated(recorded), purged=False).refuted == everything


def test_a_member_says_nothing_of_what_the_coordinator_keeps(recorded: Recorder) -> None:
    found = compared(recorded, stated(recorded, "bank-a"), purged=True)
    assert (found.gone, found.unstated) == (frozenset(), frozenset(recorded.blobs))
    assert not compared(recorded, stated(recorded, "bank-a"), purged=False).refuted

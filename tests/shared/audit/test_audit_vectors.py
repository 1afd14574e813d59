import io

import pytest
from tests.support.runs.transcripts import Recorder

from fieldfare.shared.audit.evidence import KeptVectors
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.transcript.file import Misfit, MisfitError, read_transcript


def vectors_of(recorded: Recorder, *, purged: bool = False) -> KeptVectors:
    return KeptVectors(read_transcript(io.BytesIO(recorded.to_bytes(purged=purged))))


def with_blobs(recorded: Recorder, blobs: dict[str, bytes]) -> Misfit:
    kept = recorded.blobs
    recorded.blobs = blobs
    try:
        found = recorded.audit().misfit
    finally:
        recorded.blobs = kept
    assert found is not None
    return found


def test_a_vector_that_nobody_asked_for_is_named(recorded: Recorder) -> None:
    vectors = vectors_of(recorded)
    names = sorted(recorded.blobs)
    for name in names[1:]:
        vectors.vector(name)
    with pytest.raises(MisfitError) as caught:
        vectors.check_used()
    assert caught.value.misfit.line == len(recorded.leaves) + 2


def test_where_all_are_purged_none_is_unused(recorded: Recorder) -> None:
    vectors_of(recorded, purged=True).check_used()


def test_a_missing_vector_is_named_by_who_signed_it(recorded: Recorder) -> None:
    names = list(recorded.blobs)
    found = with_blobs(recorded, {k: v for k, v in recorded.blobs.items() if k != names[5]})
    assert (found.kind, found.institution, found.step) == ("sum", "bank-b", 0)


def test_a_vector_too_many_is_named(recorded: Recorder) -> None:
    extra = b"extra"
    blobs = recorded.blobs | {bytes_hash(extra): extra}
    found = with_blobs(recorded, blobs)
    at = sorted(blobs).index(bytes_hash(extra))
    assert (found.kind, found.line) == ("blob", len(recorded.leaves) + 2 + at)


def test_vectors_out_of_order_are_named(recorded: Recorder) -> None:
    lines = recorded.to_bytes().splitlines(keepends=True)
    at = 1 + len(recorded.leaves)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    found = recorded.audit(b"".join(lines)).misfit
    assert found is not None
    assert (found.kind, found.line) == ("blob", at + 2)

"""`KeptVectors` of a transcript and `ShownVectors` of a co-signing keep to `Vectors`."""

import io
from collections.abc import Callable
from typing import Final

import pytest
from tests.support.runs.transcripts import Recorder

from fieldfare.client.custodian.cosigning import ShownVectors
from fieldfare.shared.audit.audit import Vectors
from fieldfare.shared.audit.evidence import KeptVectors
from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript.file import read_transcript


def kept(recorded: Recorder, *, purged: bool) -> Vectors:
    return KeptVectors(read_transcript(io.BytesIO(recorded.to_bytes(purged=purged))))


def shown(recorded: Recorder, *, purged: bool) -> Vectors:
    return ShownVectors(() if purged else tuple(recorded.blobs.values()))


VECTORS: Final[dict[str, Callable[..., Vectors]]] = {"kept": kept, "shown": shown}
every_kind = pytest.mark.parametrize("kind", VECTORS)


@every_kind
def test_vectors_are_found_by_their_hash(kind: str, recorded: Recorder) -> None:
    vectors = VECTORS[kind](recorded, purged=False)
    for name, content in recorded.blobs.items():
        assert vectors.holds(name)
        assert vectors.vector(name) == content
        assert bytes_hash(vectors.vector(name)) == name


@every_kind
def test_a_vector_that_is_missing_is_an_error(kind: str, recorded: Recorder) -> None:
    name = next(iter(recorded.blobs))
    purged = VECTORS[kind](recorded, purged=True)
    assert not purged.holds(name)
    with pytest.raises(ProtocolError, match="found none"):
        purged.vector(name)

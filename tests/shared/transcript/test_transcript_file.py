import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.transcript import file as transcript_file
from fieldfare.shared.transcript.file import (
    MAX_HEADER_BYTES,
    MisfitError,
    TranscriptFile,
    read_transcript,
    write_transcript,
)
from fieldfare.shared.transcript.leaves import Leaf, LeafKind

STUDY = "1" * 64
LEAVES = [Leaf(LeafKind.ROSTER, b"r"), Leaf(LeafKind.STUDY, b"s"), Leaf(LeafKind.END, b"e")]
BLOBS = {bytes_hash(content): content for content in (b"a", b"b", b"c")}
COSIGNATURES = {"bank-b": b"by b", "bank-a": b"by a"}


def written(**changes: Any) -> bytes:
    parts: dict[str, Any] = {
        "study": STUDY,
        "run": "run-1",
        "leaves": LEAVES,
        "blobs": BLOBS,
        "head": b"head",
        "cosignatures": COSIGNATURES,
    }
    out = io.BytesIO()
    write_transcript(out, **(parts | changes))
    return out.getvalue()


def read(content: bytes) -> TranscriptFile:
    return read_transcript(io.BytesIO(content))


def refused(content: bytes) -> MisfitError:
    with pytest.raises(MisfitError) as caught:
        read(content)
    return caught.value


def line(name: str, content: bytes) -> bytes:
    return rfc8785.dumps({name: base64.b64encode(content).decode()}) + b"\n"


def test_a_transcript_is_read_as_it_was_written() -> None:
    found = read(written())
    assert (found.header.study, found.header.run) == (STUDY, "run-1")
    assert found.leaves == LEAVES
    assert list(found.hashes) == [leaf.hash for leaf in LEAVES]
    assert found.head == b"head"
    assert found.cosignatures == [b"by a", b"by b"]
    assert [place.hash for place in found.vectors] == sorted(BLOBS)
    assert [found.read_vector(place) for place in found.vectors] == [
        BLOBS[name] for name in sorted(BLOBS)
    ]


def test_it_has_these_lines() -> None:
    lines = written().splitlines(keepends=True)
    assert lines[0] == (
        b'{"format":1,"run":"run-1","study":"' + STUDY.encode() + b'",'
        b'"type":"fieldfare.transcript.v1"}\n'
    )
    assert lines[1:4] == [leaf.to_bytes() + b"\n" for leaf in LEAVES]
    assert lines[4:7] == [line("blob", BLOBS[name]) for name in sorted(BLOBS)]
    assert lines[7] == line("hashes", b"".join(leaf.hash for leaf in LEAVES))
    assert lines[8:] == [
        line("head", b"head"),
        line("cosignature", b"by a"),
        line("cosignature", b"by b"),
    ]


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.binary(max_size=50), max_size=5))
def test_any_content_travels(leaves: list[bytes], vectors: list[bytes]) -> None:
    given_leaves = [Leaf(LeafKind.REPLY, content) for content in leaves]
    blobs = {bytes_hash(content): content for content in vectors}
    found = read(written(leaves=given_leaves, blobs=blobs))
    assert found.leaves == given_leaves
    assert {p.hash: found.read_vector(p) for p in found.vectors} == blobs


def test_a_purged_transcript_has_no_vectors() -> None:
    found = read(written(blobs={}, cosignatures={}))
    assert found.vectors == []
    assert found.cosignatures == []


def test_writing_and_reading_hold_one_vector_at_a_time() -> None:
    class Asked(dict[str, bytes]):
        asked: list[str] = []  # noqa: RUF012 -- one for this test

        def __getitem__(self, name: str) -> bytes:
            self.asked.append(name)
            return super().__getitem__(name)

    blobs = Asked(BLOBS)
    read(written(blobs=blobs))
    assert blobs.asked == sorted(BLOBS)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (1, b"\n"),
        (1, lambda found: found.replace(b"v1", b"v2")),
        (1, lambda found: found.replace(b'"format":1', b'"format":2')),
        (1, lambda found: found.replace(b'"format":1', b'"format": 1')),
        (1, lambda found: found.replace(b"run-1", b"run 1")),
        (1, b"x" * (MAX_HEADER_BYTES + 1) + b"\n"),
        (2, lambda found: found.replace(b"roster", b"rooster")),
        (2, lambda found: found.replace(b'{"', b'{ "')),
        (3, b"\n"),
        (3, b"[]\n"),
        (3, b"7\n"),
        (3, b"\xff\n"),
        (3, b'{"leaf":"eA=="}\n'),
        (3, b'{"header":"eA=="}\n'),
        (3, b"[" * 100_000 + b"\n"),
        (5, lambda found: found.replace(b"=", b"")),
        (5, line("bulb", b"x")),
        (5, b'{"blob":"eB=="}\n'),
        (5, b'{"blob":7}\n'),
        (5, b'{"blob":"eA==","more":1}\n'),
        (8, line("hashes", b"short")),
        (9, b'{"head":"eB=="}\n'),
        (10, lambda found: found.replace(b"\n", b"\r\n")),
        (11, lambda found: found[:-1]),
        (11, lambda found: found[:-1] + b" "),
    ],
)
def test_the_first_line_that_is_not_well_formed_is_named(
    number: int, change: bytes | Callable[[bytes], bytes]
) -> None:
    lines = written().splitlines(keepends=True)
    before = lines[number - 1]
    lines[number - 1] = change if isinstance(change, bytes) else change(before)
    assert refused(b"".join(lines)).misfit.line == number


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [(4, 5, 5), (7, 8, 8), (8, 9, 8), (9, 10, 9), (1, 2, 1)],
)
def test_sections_stand_in_order(first: int, second: int, named: int) -> None:
    lines = written().splitlines(keepends=True)
    lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
    assert refused(b"".join(lines)).misfit.line == named


@pytest.mark.parametrize("number", [1, 8, 9])
def test_some_lines_stand_once(number: int) -> None:
    lines = written().splitlines(keepends=True)
    assert refused(b"".join([*lines[:number], *lines[number - 1 :]])).misfit.line == number + 1


def test_a_leafs_number_is_said() -> None:
    found = refused(written().replace(b"study", b"stud", 2)).misfit
    assert found.line == 1
    lines = written().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"study", b"stud")
    found = refused(b"".join(lines)).misfit
    assert (found.line, found.leaf, found.kind) == (3, 1, "leaf")


@pytest.mark.parametrize("kept", range(9))
def test_a_file_that_was_cut_short_says_so(kept: int) -> None:
    lines = written().splitlines(keepends=True)
    found = refused(b"".join(lines[:kept])).misfit
    assert found.line == kept + 1
    assert "end of the file" in found.reason


def test_another_file_is_no_transcript() -> None:
    assert "transcript" in refused(b'{"hello":"world"}\n').misfit.reason


def test_there_are_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcript_file, "MAX_LINE_BYTES", 100)
    found = refused(written(leaves=[Leaf(LeafKind.END, b"x" * 200)])).misfit
    assert (found.line, found.kind) == (2, "file")
    monkeypatch.undo()
    monkeypatch.setitem(transcript_file._MOST, transcript_file._Section.LEAF, 2)
    found = refused(written()).misfit
    assert (found.line, found.kind) == (4, "leaf")


def test_a_file_that_changes_while_it_is_read_is_refused() -> None:
    file = io.BytesIO(written())
    found = read_transcript(file)
    file.seek(found.vectors[0].offset)
    file.write(line("blob", b"x")[:-1])
    with pytest.raises(ProtocolError):
        found.read_vector(found.vectors[0])

"""What is exported is one moment of the log, under a head that covers all of it."""

import hashlib
import io
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from tests.support.homes.keyed_coordinators import KeyedCoordinator

from fieldfare.server.store.export import export_transcript
from fieldfare.server.store.rows import RunStatus
from fieldfare.server.store.store import RunStore
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import open_envelope
from fieldfare.shared.transcript.file import TranscriptFile, read_transcript
from fieldfare.shared.transcript.leaves import EndRecord, Leaf, LeafKind, TreeHead, tree_head

NOW: Final = datetime(2025, 6, 1, 12, tzinfo=UTC)
RUN: Final = "run-1"
LEAVES: Final = (Leaf(LeafKind.ROSTER, b"{}"), Leaf(LeafKind.STUDY, b"{}"))
VECTORS: Final = {hashlib.sha256(v).hexdigest(): v for v in (b"one" * 100, b"two" * 100)}


@pytest.fixture
def store(keyed: KeyedCoordinator) -> Iterator[RunStore]:
    with keyed.store() as opened:
        opened.create(RUN, keyed.study.id, NOW)
        yield opened


def read(path: Path) -> TranscriptFile:
    return read_transcript(io.BytesIO(path.read_bytes()))


def test_everything_is_in_the_file_under_a_new_head(
    keyed: KeyedCoordinator, store: RunStore
) -> None:
    store.append(RUN, LEAVES, blobs=VECTORS)
    store.put_head(RUN, b"an older head", 1)
    old = tree_head(keyed.study.id, RUN, store.leaf_hashes(RUN)[:1])
    store.put_cosignature(RUN, "bank-a", b"an older signature", old.size)
    out = keyed.folder / "run.transcript"
    done = export_transcript(store, RUN, keyed.head_signer, out)
    found = read(out)
    assert (found.header.run, found.header.study) == (RUN, keyed.study.id)
    assert tuple(found.leaves) == LEAVES
    assert [place.hash for place in found.vectors] == sorted(VECTORS)
    head = open_envelope(found.head, TreeHead, keyed.roster(), Protection.EXACT)
    assert head.signer == "coordinator"
    assert head.body == tree_head(keyed.study.id, RUN, [leaf.hash for leaf in LEAVES])
    assert found.cosignatures == [b"an older signature"]
    assert (done.leaves, done.vectors, done.cosigned) == (2, 2, 1)
    assert done.root == head.body.root
    assert store.head(RUN) == found.head
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_a_run_that_goes_on_is_exported_as_far_as_it_is(
    keyed: KeyedCoordinator, store: RunStore
) -> None:
    store.append(RUN, LEAVES)
    export_transcript(store, RUN, keyed.head_signer, keyed.folder / "first")
    store.append(RUN, [EndRecord(state="stopped", reason="").leaf()])
    export_transcript(store, RUN, keyed.head_signer, keyed.folder / "second")
    assert [len(read(keyed.folder / name).leaves) for name in ("first", "second")] == [2, 3]
    again = keyed.folder / "third"
    export_transcript(store, RUN, keyed.head_signer, again)
    assert again.read_bytes() == (keyed.folder / "second").read_bytes()


def test_after_a_purge_hashes_stay(keyed: KeyedCoordinator, store: RunStore) -> None:
    store.append(RUN, LEAVES, blobs=VECTORS)
    store.set_state(RUN, RunStatus.FINISHED, "", NOW - timedelta(days=9))
    store.purge(NOW)
    done = export_transcript(store, RUN, keyed.head_signer, keyed.folder / "purged")
    assert (done.leaves, done.vectors) == (2, 0)
    assert list(read(keyed.folder / "purged").hashes) == [leaf.hash for leaf in LEAVES]


def test_an_empty_log_and_a_taken_path_are_said(keyed: KeyedCoordinator, store: RunStore) -> None:
    out = keyed.folder / "out"
    with pytest.raises(UsageError, match="found an empty log"):
        export_transcript(store, RUN, keyed.head_signer, out)
    with pytest.raises(UsageError, match="known run"):
        export_transcript(store, "run-9", keyed.head_signer, out)
    store.append(RUN, LEAVES)
    out.write_text("mine")
    with pytest.raises(UsageError, match="nothing is overwritten"):
        export_transcript(store, RUN, keyed.head_signer, out)
    assert out.read_text() == "mine"
    with pytest.raises(RunError, match="not written: No such file or directory"):
        export_transcript(store, RUN, keyed.head_signer, keyed.folder / "absent" / "out")


def test_a_vector_deleted_meanwhile_leaves_no_half_file(
    keyed: KeyedCoordinator, store: RunStore
) -> None:
    store.append(RUN, LEAVES, blobs=VECTORS)

    class Vanishing:
        """A store whose vectors are purged between two reads."""

        def __getattr__(self, name: str) -> object:
            return (lambda _: None) if name == "blob" else getattr(store, name)

    out = keyed.folder / "out"
    with pytest.raises(RunError, match="export the transcript again"):
        export_transcript(Vanishing(), RUN, keyed.head_signer, out)  # type: ignore[arg-type]
    assert not list(keyed.folder.glob("out*"))

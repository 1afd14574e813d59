"""A run's transcript as the file that auditors get: one moment of the log, signed at its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fieldfare.server.store.head_signer import HeadSigner
from fieldfare.server.store.rows import RunRow
from fieldfare.server.store.store import RunStore
from fieldfare.server.store.tables import OWN_HEAD
from fieldfare.shared.errors import RunError, UsageError
from fieldfare.shared.system.whole_files import new_file
from fieldfare.shared.transcript.file import write_transcript
from fieldfare.shared.transcript.leaves import Leaf


@dataclass(frozen=True)
class ExportCounts:
    """The written file.

    Attributes:
        leaves: in the log.
        vectors: masked vectors beside it; 0 once they were deleted.
        cosigned: institutions that signed the log's end or an earlier size.
        root: of the log, hex.
    """

    leaves: int
    vectors: int
    cosigned: int
    root: str


@dataclass(frozen=True)
class _Vectors(Mapping[str, bytes]):
    """The vectors of a run, each read when it is asked for."""

    store: RunStore
    names: tuple[str, ...]

    def __getitem__(self, name: str) -> bytes:
        content = self.store.blob(name)
        if content is None:
            raise RunError("a masked vector was deleted meanwhile: export the transcript again")
        return content

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class _SignedLog:
    """A run's log at one moment, with what was signed over it."""

    def __init__(
        self, store: RunStore, row: RunRow, leaves: Sequence[Leaf], envelope: bytes
    ) -> None:
        """Read names of vectors, and co-signatures; `envelope` is the coordinator's head."""
        self._row, self._leaves, self._envelope = row, leaves, envelope
        self.cosignatures = store.cosignatures(row.run)
        self.vectors = _Vectors(store, store.blob_names(row.run))

    def write(self, out: BinaryIO) -> None:
        """Write it as auditors get it."""
        write_transcript(
            out,
            study=self._row.study,
            run=self._row.run,
            leaves=self._leaves,
            blobs=self.vectors,
            head=self._envelope,
            cosignatures=self.cosignatures,
        )


def write_signed(store: RunStore, run: str, out: BinaryIO) -> None:
    """Write a run's transcript as the coordinator signed it at its end; no key is needed.

    Raises:
        UsageError: no such run, or a log that goes on after what was signed.
        RunError: the run store does not do.
    """
    row, leaves, envelope = store.row(run), store.leaves(run), store.head(run)
    if envelope is None or store.signed_sizes(run).get(OWN_HEAD) != len(leaves):
        raise UsageError(
            f"run {run}: expected a log that was signed to its end, found one that was not: "
            f"`fieldfare coordinator export transcript {run} --out FILE` signs it as far as it is"
        )
    _SignedLog(store, row, leaves, envelope).write(out)


def export_transcript(store: RunStore, run: str, signer: HeadSigner, path: Path) -> ExportCounts:
    """Write a run's transcript into a new file (0600), complete or not at all.

    A run that goes on is written as far as it is.

    Raises:
        UsageError: no such run, nothing in its log yet, or something is at `path`.
        RunError: the run store or the disk does not do.
    """
    row = store.row(run)
    with store.together():  # one moment: a log and a head of the same size
        leaves = store.leaves(run)
        if not leaves:
            raise UsageError(f"run {run}: expected a run that was opened, found an empty log")
        head = signer.sign(store, row.study, run, store.leaf_hashes(run))
        log = _SignedLog(store, row, leaves, store.head(run) or b"")
    try:
        with new_file(path) as out:
            log.write(out)
    except OSError as error:
        raise RunError(f"{path}: not written: {error.strerror}: make room and repeat") from None
    return ExportCounts(len(leaves), len(log.vectors), len(log.cosignatures), head.root)

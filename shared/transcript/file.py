"""A run's transcript as one file that travels to an auditor: JSON Lines, written and read.

Each line is the RFC 8785 bytes of one object and a line feed, nothing else:

    {"format":1,"run":...,"study":...,"type":"fieldfare.transcript.v1"}
    {"content":base64,"format":1,"kind":...}   one for each leaf, in order
    {"blob":base64}                            masked vectors, sorted by SHA-256; none once purged
    {"hashes":base64}                          the leaves' 32-byte hashes, one after the other
    {"head":base64}                            the coordinator's signed TreeHead
    {"cosignature":base64}                     institutions' signed TreeHeads, sorted by institution

The hashes say nothing that the leaves do not; they tell *which* leaf was changed where only
the root shows that one was. Reading goes through the file once, in order, and holds leaves
but no vectors; those are read again when they are added up.

The first thing in a transcript that does not fit: where it stands, and what was expected.
"""

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, BinaryIO, ClassVar, Final, Literal, NoReturn

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError

from fieldfare.shared.canonical import bytes_hash, canonical_bytes
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.protocol.messages import RunId
from fieldfare.shared.protocol.roster import Hex32
from fieldfare.shared.transcript.leaves import MAX_LEAF_BYTES, Leaf
from fieldfare.shared.transcript.merkle import hashes_in


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Where something does not fit, and why.

    Attributes:
        line: of the file, from 1.
        leaf: of the log, from 0; None for other lines.
        kind: of the leaf or line, such as "reply" or "head".
        institution: whose it is, where that is known.
        step: of the run, where that is known.
        reason: what was expected and what was found.
    """

    line: int
    kind: str
    reason: str
    leaf: int | None = None
    institution: str | None = None
    step: int | None = None

    @property
    def place(self) -> str:
        """Where, in words."""
        parts = [f"line {self.line}: {self.kind}"]
        if self.institution is not None:
            parts.append(f"of {self.institution}")
        inside = [] if self.leaf is None else [f"leaf {self.leaf}"]
        if self.step is not None:
            inside.append(f"step {self.step}")
        if inside:
            parts.append(f"({', '.join(inside)})")
        return " ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "line": self.line,
            "leaf": self.leaf,
            "kind": self.kind,
            "institution": self.institution,
            "step": self.step,
            "reason": self.reason,
        }


class MisfitError(ProtocolError):
    """A transcript does not fit; carries the place."""

    def __init__(self, misfit: Misfit) -> None:
        """Say where and why."""
        self.misfit = misfit
        super().__init__(f"{misfit.place}: {misfit.reason}")


def expect(what: str, expected: object, found: object) -> None:
    """Compare two values of one kind.

    Raises:
        ProtocolError: they differ; says both.
    """
    if expected != found:
        raise ProtocolError(f"expected {what}: {expected}; found: {found}")


# -- transcript file ------------------------------------------------------------------------------

MAX_LINE_BYTES: Final = MAX_LEAF_BYTES
MAX_LEAVES: Final = 2**19  # their hashes fit one line
MAX_VECTORS: Final = 2**19
MAX_COSIGNATURES: Final = 10_000  # institutions of one study
MAX_HEADER_BYTES: Final = 1024
LINE_END: Final = b"\n"
_MOST_FORMATS: Final = 10_000  # that are repeated: the file may be anything


class Header(BaseModel):
    """The first line: whose transcript this is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    TYPE: ClassVar[str] = "fieldfare.transcript.v1"

    format: Literal[1] = 1
    run: RunId
    study: Hex32
    type: Literal["fieldfare.transcript.v1"] = "fieldfare.transcript.v1"


class _Section(IntEnum):
    """What a line may be; lines come in this order."""

    HEADER = 0
    LEAF = 1
    BLOB = 2
    HASHES = 3
    HEAD = 4
    COSIGNATURE = 5


_SECTIONS: Final = {
    frozenset({"content", "format", "kind"}): _Section.LEAF,
    frozenset({"blob"}): _Section.BLOB,
    frozenset({"hashes"}): _Section.HASHES,
    frozenset({"head"}): _Section.HEAD,
    frozenset({"cosignature"}): _Section.COSIGNATURE,
}
_NEXT: Final = {  # at most one of these, and no way back
    _Section.HEADER: {_Section.LEAF, _Section.BLOB, _Section.HASHES},
    _Section.LEAF: {_Section.LEAF, _Section.BLOB, _Section.HASHES},
    _Section.BLOB: {_Section.BLOB, _Section.HASHES},
    _Section.HASHES: {_Section.HEAD},
    _Section.HEAD: {_Section.COSIGNATURE},
    _Section.COSIGNATURE: {_Section.COSIGNATURE},
}
_MOST: Final = {
    _Section.LEAF: MAX_LEAVES,
    _Section.BLOB: MAX_VECTORS,
    _Section.COSIGNATURE: MAX_COSIGNATURES,
}


def write_transcript(
    out: BinaryIO,
    *,
    study: str,
    run: str,
    leaves: Iterable[Leaf],
    blobs: Mapping[str, bytes],
    head: bytes,
    cosignatures: Mapping[str, bytes],
) -> None:
    """Write a transcript line by line; nothing is held but one line and the hashes.

    Args:
        out: written to, not closed.
        study: the study's id.
        run: the run's id.
        leaves: in the log's order.
        blobs: masked vectors by SHA-256, hex; one is asked for at a time.
        head: the coordinator's signed TreeHead over all leaves.
        cosignatures: signed TreeHeads by institution.
    """
    out.write(canonical_bytes(Header(study=study, run=run)) + LINE_END)
    hashes = bytearray()
    for leaf in leaves:
        out.write(leaf.to_bytes() + LINE_END)
        hashes += leaf.hash
    out.writelines(_line("blob", blobs[name]) for name in sorted(blobs))
    out.write(_line("hashes", bytes(hashes)))
    out.write(_line("head", head))
    out.writelines(
        _line("cosignature", cosignatures[institution]) for institution in sorted(cosignatures)
    )


def _line(name: str, content: bytes) -> bytes:
    return rfc8785.dumps({name: base64.b64encode(content).decode()}) + LINE_END


@dataclass(frozen=True)
class VectorPlace:
    """A vector in the file: its line, its hash, and where the line's bytes are."""

    line: int
    hash: str
    offset: int
    length: int


@dataclass
class TranscriptFile:
    """A transcript whose every line is well formed and in its section; nothing more is checked.

    Attributes:
        header: whose transcript.
        leaves: in order; leaf i stands on line i + 2.
        vectors: where masked vectors are, in the file's order.
        hashes: what the file says the leaves' hashes are.
        head: the coordinator's signed head.
        cosignatures: in the file's order.
        hashes_line, head_line: where those stand; co-signatures follow the head.
    """

    file: BinaryIO
    header: Header
    leaves: list[Leaf] = field(default_factory=list)
    vectors: list[VectorPlace] = field(default_factory=list)
    hashes: Sequence[bytes] = ()
    head: bytes = b""
    cosignatures: list[bytes] = field(default_factory=list)
    hashes_line: int = 0
    head_line: int = 0

    def read_vector(self, place: VectorPlace) -> bytes:
        """Return one vector.

        Raises:
            ProtocolError: the file changed while it was read.
        """
        self.file.seek(place.offset)
        content = _content_of(self.file.read(place.length), "blob")
        if bytes_hash(content) != place.hash:
            raise ProtocolError("expected a file that stays as it is while it is read")
        return content


def read_transcript(file: BinaryIO) -> TranscriptFile:
    """Read a transcript strictly: only what `write_transcript` can write is one.

    Args:
        file: at its start; seekable, and not closed before vectors are read.

    Raises:
        MisfitError: the first line that is out of place, malformed, not canonical, too long,
            or missing.
    """
    reader = _Reader(file)
    while reader.take():
        pass
    return reader.finished()


class _Reader:
    """Takes lines in order; goes from section to section and never back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._line = 0
        self._section = _Section.HEADER
        self._counts = dict.fromkeys(_Section, 0)
        self._offset = 0
        self._found: TranscriptFile | None = None

    def take(self) -> bool:
        """Take the next line; returns False at the end of the file."""
        limit = MAX_LINE_BYTES if self._line else MAX_HEADER_BYTES
        content = self._file.readline(limit + 1)
        if not content:
            return False
        self._line += 1
        if not content.endswith(LINE_END):
            self._complain(f"expected a line of at most {limit} bytes, ended by a line feed")
        line = content[: -len(LINE_END)]
        if self._found is None:
            self._found = TranscriptFile(self._file, self._header(line))
        else:
            self._add(self._found, line)
        self._offset += len(content)
        return True

    def finished(self) -> TranscriptFile:
        """Return the transcript, if the file was whole."""
        found = self._found
        if found is None or not found.head_line:
            self._line += 1
            self._complain("expected a line up to the signed head, found the end of the file")
        return found

    def _header(self, line: bytes) -> Header:
        try:
            header = Header.model_validate_json(line)
            canonical = canonical_bytes(header)
        except (ValidationError, ValueError, RecursionError):
            why = _later_format(line) or "is this a transcript?"
            self._complain(f"expected a {Header.TYPE} of format 1: {why}")
        if canonical != line:
            self._complain("expected the header's canonical bytes")
        return header

    def _add(self, found: TranscriptFile, line: bytes) -> None:
        section = self._section_of(line)
        kind = section.name.lower()
        if section not in _NEXT[self._section]:
            self._complain(f"expected no {kind} after a {self._section.name.lower()}", kind)
        self._section = section
        self._counts[section] += 1
        if self._counts[section] > _MOST.get(section, 1):
            self._complain(f"expected at most {_MOST[section]} lines of this kind", kind)
        try:
            self._keep(found, section, line)
        except ProtocolError as error:
            self._complain(str(error), kind)

    def _section_of(self, line: bytes) -> _Section:
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            self._complain("expected one JSON object in its canonical form")
        section = _SECTIONS.get(frozenset(fields)) if isinstance(fields, dict) else None
        if section is None:
            self._complain("expected a leaf, vector, head or co-signature")
        return section

    def _keep(self, found: TranscriptFile, section: _Section, line: bytes) -> None:
        if section is _Section.LEAF:
            found.leaves.append(Leaf.from_bytes(line))
            return
        content = _content_of(line, section.name.lower())
        if section is _Section.BLOB:
            place = VectorPlace(self._line, bytes_hash(content), self._offset, len(line))
            found.vectors.append(place)
        elif section is _Section.HASHES:
            found.hashes, found.hashes_line = hashes_in(content), self._line
        elif section is _Section.HEAD:
            found.head, found.head_line = content, self._line
        else:
            found.cosignatures.append(content)

    def _complain(self, reason: str, kind: str = "") -> NoReturn:
        leaf = self._line - 2 if kind == "leaf" else None
        where = kind or ("header" if self._line == 1 else "file")
        raise MisfitError(Misfit(line=self._line, leaf=leaf, kind=where, reason=reason))


def _later_format(line: bytes) -> str:
    """Return what to do about a header of a later format; empty for anything else."""
    try:
        found = json.loads(line)["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
    if not isinstance(found, int) or not 1 < found < _MOST_FORMATS:
        return ""
    return f"found {found}: a later version of Fieldfare wrote it, install that version"


def _content_of(line: bytes, name: str) -> bytes:
    """Return the bytes in a line of one field, if they are spelt as `write_transcript` does."""
    try:
        fields: dict[str, Any] = json.loads(line)
        content = base64.b64decode(fields[name], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        raise ProtocolError("expected base64") from None
    if _line(name, content) != line + LINE_END:
        raise ProtocolError("expected the line's canonical bytes")
    return content

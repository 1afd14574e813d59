"""A pack of evidence as one file: a ZIP archive of plain members, and its manifest.

Members are stored, not compressed, in the manifest's order, with nothing else in the archive: the
same members are the same bytes on every machine. So whoever verifies a pack makes the archive again
and compares all of it, and a changed byte is found wherever it stands: in a member, in an
archive's header, its order, a comment, or a file that was added.

The manifest holds every member's hash and says who made the pack, under which key. A signature
shows that the holder of that key made it; whether the key is whose the pack says, a roster says, or
a fingerprint that was compared out of band.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.privacy.protection import Protection
from fieldfare.shared.protocol.messages import (
    Count,
    MessageBody,
    RunId,
    Signer,
    open_envelope,
    sign_envelope,
)
from fieldfare.shared.protocol.roster import (
    COORDINATOR,
    Hex32,
    InstitutionId,
    Member,
    Roster,
    is_institution_id,
)
from fieldfare.shared.terminal.texts import UTC_TEXT

MANIFEST: Final = "manifest.json"
LARGEST_PACK: Final = 256 * 1024 * 1024
MOST_FILES: Final = 1000
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # of an archive's clock; the manifest says when it was made
UNIX: Final = 3
PLAIN_FILE: Final = 0o100644 << 16  # a regular file that everybody may read
NOBODY: Final = ""  # who signs where there is no key

NAME: Final = r"^[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)*$"  # no "..", nothing hidden
FileName = Annotated[str, Field(pattern=NAME, max_length=100)]


class PackedFile(BaseModel):
    """One member of a pack: its name, its SHA-256 and its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: FileName
    sha256: Hex32
    size: Count


class EvidenceManifest(MessageBody):
    """Everything in a pack, who made it when, and of what.

    Attributes:
        made: when, UTC.
        role: whose home it was made in.
        maker: its name on the roster.
        key: the public key that signs this, hex; empty: nobody did.
        study, run: what it is of; the run is empty where it is of a study.
        roster: hash of the roster.
        transcript: root of the run's log, hex; empty where no transcript was read.
        policy: SHA-256 of the institution's policy; empty for others.
        software: SHA-256 over the installed files that made it; empty where nobody noted them.
        files: in the archive's order.
    """

    TYPE: ClassVar[str] = "fieldfare.evidence-pack.v1"

    made: Annotated[str, Field(pattern=UTC_TEXT)]
    role: Literal["coordinator", "institution", "auditor"]
    maker: InstitutionId
    key: Hex32 | Literal[""]
    study: Hex32
    run: RunId | Literal[""]
    roster: Hex32
    transcript: Hex32 | Literal[""]
    policy: Hex32 | Literal[""]
    software: Hex32 | Literal[""]
    files: tuple[PackedFile, ...] = Field(max_length=MOST_FILES, strict=False)

    @field_validator("files")
    @classmethod
    def _can_be_unpacked(cls, files: tuple[PackedFile, ...]) -> tuple[PackedFile, ...]:
        names = {one.name for one in files}
        folders = {str(above) for name in names for above in PurePosixPath(name).parents}
        if len(names) != len(files) or names & folders:
            raise ValueError("expected each name once, and no file that is a folder too")
        return files


class DigestAlone:
    """In place of a signature where there is no key: the SHA-256 of what would be signed.

    It shows that nothing of the manifest was changed by accident; anybody can make it.
    """

    def sign(self, content: bytes) -> bytes:
        """Return the digest of typed bytes, 32 bytes."""
        return bytes.fromhex(bytes_hash(content))


@dataclass(frozen=True)
class PackSigner:
    """Who signs a pack: the name on the roster, the public key in hex, and the key itself."""

    name: str
    key: str
    signer: Signer


@dataclass(frozen=True)
class PackCheck:
    """What a verification found.

    Attributes:
        problems: what does not fit, in words; none: every byte is as it was made.
        manifest: as far as it could be read.
        signer: name under which it is signed; empty: nobody signed it.
    """

    problems: tuple[str, ...]
    manifest: EvidenceManifest | None = None
    signer: str = NOBODY

    @property
    def signed(self) -> bool:
        """Tell whether some key signed it."""
        return self.signer != NOBODY


def listed_files(files: Mapping[str, bytes]) -> tuple[PackedFile, ...]:
    """Return the manifest's lines of files, in their order."""
    return tuple(
        PackedFile(name=name, sha256=bytes_hash(content), size=len(content))
        for name, content in files.items()
    )


def pack_bytes(
    manifest: EvidenceManifest, files: Mapping[str, bytes], by: PackSigner | None
) -> bytes:
    """Return a pack; the same manifest, files and key give the same bytes.

    Args:
        manifest: that lists the files in their order.
        files: by name.
        by: who signs; None: nobody, and the pack says so.
    """
    name, signer = (by.name, by.signer) if by else (NOBODY, DigestAlone())
    envelope = sign_envelope(manifest, name, signer)
    return _archive({**files, MANIFEST: envelope})


def _archive(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = UNIX, PLAIN_FILE
            archive.writestr(info, content)
    return out.getvalue()


def check_pack(content: bytes) -> PackCheck:
    """Verify every byte of a pack, and the signature on its manifest by the key that it names.

    Formal Guarantees:
        Without a problem and with a signer, the archive is byte for byte one that the holder of the
        manifest's key signed. Whose key that is, is another question (`roster_says`). Without a
        signer it is whole, and anybody can have made it.
    """
    try:
        files = _members(content)
        envelope = files.pop(MANIFEST, b"")
        manifest, signer = open_manifest(envelope)
    except ProtocolError as error:
        return PackCheck((str(error),))
    problems = [*_changed(manifest, files)]
    if not problems and _archive({**files, MANIFEST: envelope}) != content:
        problems.append(
            "expected the archive as it was made, found another order, time, attribute or comment, "
            "or bytes that belong to no file"
        )
    return PackCheck(tuple(problems), manifest, signer)


def packed_files(content: bytes) -> dict[str, bytes]:
    """Return a pack's members by name, whoever made it.

    Raises:
        ProtocolError: no archive of stored members.
    """
    return _members(content)


def _members(content: bytes) -> dict[str, bytes]:
    if len(content) > LARGEST_PACK:
        raise ProtocolError(f"expected a pack of at most {LARGEST_PACK:,} bytes, found more")
    found, total = dict[str, bytes](), 0
    name = ""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist()[: MOST_FILES + 1]:
                name = info.filename
                total += info.file_size  # files that overlap would be more than the archive
                if info.compress_type != zipfile.ZIP_STORED or total > len(content):
                    raise ProtocolError("expected stored files in the archive, found others")
                if name in found:
                    raise ProtocolError("expected each file once in the archive, found one twice")
                found[name] = archive.read(info)
    # A hostile archive fails in many ways; each of these was raised by a changed byte in a test.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError):
        where = f", in {ascii(name)[1:-1][:100]}" if name else ""
        raise ProtocolError(f"expected a whole archive, found a damaged one{where}") from None
    return found


def open_manifest(envelope: bytes) -> tuple[EvidenceManifest, str]:
    """Return a manifest and its signer's name, where the key that it names signed it.

    Raises:
        ProtocolError: no manifest, not canonical, or a signature that is not that key's.
    """
    try:
        opened = open_envelope(envelope, EvidenceManifest, _of_key("", ""), Protection.SIMULATED)
    except ProtocolError as error:
        raise ProtocolError(f"{MANIFEST}: {error}") from None
    manifest, signer = opened.body, opened.signer
    if not manifest.key:
        if envelope != sign_envelope(manifest, NOBODY, DigestAlone()):
            raise ProtocolError(f"{MANIFEST}: expected it as it was made, found it changed")
        return manifest, NOBODY
    if signer == NOBODY:
        raise ProtocolError(
            f"{MANIFEST}: expected a signature by the key that it names, found none"
        )
    expected = COORDINATOR if manifest.role == "coordinator" else manifest.maker
    if signer != expected or not (signer == COORDINATOR or is_institution_id(signer)):
        raise ProtocolError(f"{MANIFEST}: expected a signature in the maker's name, found another")
    try:
        open_envelope(envelope, EvidenceManifest, _of_key(signer, manifest.key), Protection.EXACT)
    except ProtocolError as error:
        raise ProtocolError(f"{MANIFEST}: {error}") from None
    return manifest, signer


def _of_key(signer: str, key: str) -> Roster:
    """Return a roster that knows one signer alone."""
    if signer == COORDINATOR:
        return Roster(version=1, coordinator=key, members=())
    members = (Member(id=signer, key=key),) if signer else ()
    return Roster(version=1, coordinator="", members=members)


def _changed(manifest: EvidenceManifest, files: Mapping[str, bytes]) -> list[str]:
    """Say which files are not as the manifest says."""
    named = {one.name: one for one in manifest.files}
    shown = [f"{name}: expected as it was packed, found another content"
             for name, one in named.items()
             if name in files and (bytes_hash(files[name]), len(files[name]))
             != (one.sha256, one.size)]  # fmt: skip
    missing = [f"{name}: expected in the pack, found no such file" for name in named
               if name not in files]  # fmt: skip
    added = [f"{ascii(name)[1:-1][:100]}: expected no such file, found one that was added"
             for name in files if name not in named]  # fmt: skip
    if not shown + missing + added and list(named) != list(files):
        return ["expected the files in the manifest's order, found another order"]
    return shown + missing + added


def roster_says(check: PackCheck, roster: Roster) -> str:
    """Return what a roster says of the key that signed a pack; empty: it is the maker's own there.

    Args:
        check: of a pack that some key signed.
        roster: that whoever asks knows to be right.
    """
    manifest = check.manifest
    if manifest is None or not check.signed:
        return "nobody signed it"
    keys = {COORDINATOR: roster.coordinator, **{one.id: one.key for one in roster.members}}
    found = keys.get(check.signer, "")
    if not found:
        return f"the roster names no {check.signer}"
    if found == manifest.key:
        return ""
    owner = next((name for name, key in keys.items() if key == manifest.key), "")
    whose = f": it is {owner}'s there" if owner else ": nobody's on the roster"
    return f"the key that signed it is not {check.signer}'s on the roster{whose}"

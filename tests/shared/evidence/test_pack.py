"""One byte changed anywhere in a pack is found, and whoever signed it is named."""

import io
import random
import struct
import zipfile
import zlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evidence.facts import EvidenceFacts, MakerRole
from fieldfare.shared.evidence.pack import (
    MANIFEST,
    EvidenceManifest,
    PackSigner,
    check_pack,
    listed_files,
    open_manifest,
    pack_bytes,
    packed_files,
    roster_says,
)
from fieldfare.shared.evidence.writing import evidence_pack
from fieldfare.shared.protocol.identity import public_hex
from fieldfare.shared.protocol.messages import IdentitySigner, open_envelope
from fieldfare.shared.protocol.roster import COORDINATOR, Member, Roster

POSITIONS = 200
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
FILES = {"evidence.html": b"<p>page</p>", "evidence.json": b"{}\n", "papers/x.signed": b"\0\1"}


def signer(key: Ed25519PrivateKey = KEY, name: str = COORDINATOR) -> PackSigner:
    return PackSigner(name, public_hex(key), IdentitySigner(key))


def manifest(by: PackSigner | None, files: dict[str, bytes] | None = None) -> EvidenceManifest:
    return EvidenceManifest(
        made="2026-03-04 05:06:07 UTC",
        role="auditor"
        if by is None
        else "coordinator"
        if by.name == COORDINATOR
        else "institution",
        maker="auditor" if by is None else by.name,
        key=by.key if by else "",
        study="1" * 64,
        run="run-1",
        roster="2" * 64,
        transcript="3" * 64,
        policy="",
        software="4" * 64,
        files=listed_files(FILES if files is None else files),
    )


def made(by: PackSigner | None) -> bytes:
    return pack_bytes(manifest(by), FILES, by)


@pytest.fixture(params=[True, False], ids=["signed", "unsigned"])
def small(request: pytest.FixtureRequest) -> bytes:
    return made(signer() if request.param else None)


def test_a_pack_is_whole_and_says_who_signed_it() -> None:
    check = check_pack(made(signer()))
    assert (check.problems, check.signer, check.signed) == ((), COORDINATOR, True)
    assert check.manifest == manifest(signer())
    unsigned = check_pack(made(None))
    assert (unsigned.problems, unsigned.signer, unsigned.signed) == ((), "", False)
    assert packed_files(made(None)).keys() == {*FILES, MANIFEST}


def test_every_byte_counts(small: bytes) -> None:
    """Every single one of a small pack: members, headers, directory, end."""
    for place in range(len(small)):
        changed = bytearray(small)
        changed[place] ^= 1
        assert check_pack(bytes(changed)).problems, place


def test_random_bytes_of_a_whole_pack(facts: EvidenceFacts) -> None:
    by = signer()
    whole = evidence_pack(replace(facts, role=MakerRole.COORDINATOR, maker=COORDINATOR), by)
    assert check_pack(whole).problems == ()
    draws = random.Random(18)  # noqa: S311 -- places of a test
    for _ in range(POSITIONS):
        changed = bytearray(whole)
        changed[draws.randrange(len(whole))] ^= 1 << draws.randrange(8)
        assert check_pack(bytes(changed)).problems


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_changed_member_is_named(small: bytes, name: str) -> None:
    files = packed_files(small)
    files[name] = files[name].replace(b"p", b"q", 1).replace(b"\1", b"\2").replace(b"{", b"[")
    problems = check_pack(archived(files)).problems
    assert problems
    assert name in problems[0]


def archived(files: dict[str, bytes], **settings: object) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o100644 << 16
            for key, value in settings.items():
                setattr(info, key, value)
            archive.writestr(info, content)
    return out.getvalue()


def test_the_archive_itself_may_not_change(small: bytes) -> None:
    files = packed_files(small)
    assert archived(files) == small
    backwards = dict(reversed(files.items()))
    for changed in (
        archived(backwards),
        archived(files, date_time=(2026, 1, 1, 0, 0, 0)),
        archived(files, comment=b"note"),
        archived(files, external_attr=0o100755 << 16),
        archived(files, compress_type=zipfile.ZIP_DEFLATED),
        archived({**files, "added.txt": b"x"}),
        archived({name: files[name] for name in list(files)[1:]}),
        small + b"\0",
        b"\0" + small,
        small[:-1],
        b"",
    ):
        assert check_pack(changed).problems


def test_what_was_added_or_taken_is_named(small: bytes) -> None:
    files = packed_files(small)
    added = check_pack(archived({**files, "added.txt": b"x"})).problems
    assert any("added.txt" in one for one in added)
    taken = check_pack(archived({n: c for n, c in files.items() if n != "evidence.json"})).problems
    assert any("evidence.json" in one for one in taken)


def test_a_file_twice_is_refused(small: bytes) -> None:
    out = io.BytesIO(small)
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("evidence.html", b"another")
    with pytest.raises(ProtocolError, match="twice"):
        packed_files(out.getvalue())


def test_a_pack_signed_anew_names_the_other_key() -> None:
    roster = Roster(
        version=1,
        coordinator=public_hex(KEY),
        members=(Member(id="bank-a", key=public_hex(OTHER)),),
    )
    assert roster_says(check_pack(made(signer())), roster) == ""
    forged = check_pack(made(signer(OTHER)))
    assert forged.problems == ()
    assert forged.manifest is not None
    assert forged.manifest.key == public_hex(OTHER)
    assert roster_says(forged, roster).endswith("it is bank-a's there")
    assert roster_says(check_pack(made(signer(OTHER, "bank-a"))), roster) == ""
    assert "names no bank-b" in roster_says(check_pack(made(signer(OTHER, "bank-b"))), roster)
    assert roster_says(check_pack(made(None)), roster) == "nobody signed it"


@pytest.mark.parametrize("name", ["coordinator-roster", "bank-b", ""])
def test_nobody_signs_in_anothers_name(name: str) -> None:
    by = PackSigner(name, public_hex(KEY), IdentitySigner(KEY))
    content = pack_bytes(manifest(signer(KEY, "bank-a")), FILES, by)
    assert check_pack(content).problems


def test_a_key_without_its_signature_is_refused() -> None:
    content = pack_bytes(manifest(signer()), FILES, signer(OTHER))
    assert "signature" in check_pack(content).problems[0]


def test_a_manifest_is_no_other_message() -> None:
    envelope = packed_files(made(signer()))[MANIFEST]
    assert open_manifest(envelope)[1] == COORDINATOR
    assert b'"type":"fieldfare.evidence-pack.v1"' in envelope
    assert open_envelope is not None


def test_files_beside_the_manifest_are_found() -> None:
    by = signer()
    extra = {**FILES, "more.txt": b"1"}
    content = pack_bytes(manifest(by), extra, by)
    assert any("more.txt" in one for one in check_pack(content).problems)
    assert bytes_hash(made(by)) == bytes_hash(made(signer()))


def _overlapping(count: int, size: int) -> bytes:
    """An archive whose stored files are each all that follows in it."""
    content, files = bytes(size), list[tuple[bytes, int, int]]()
    for number in range(count):
        name, crc, length = f"a{number}".encode(), zlib.crc32(content), len(content)
        files.insert(0, (name, crc, length))
        head = (b"PK\3\4", 20, 0, 0, 0, 0x21, crc, length, length, len(name), 0)
        content = struct.pack("<4s5H3L2H", *head) + name + content
    listed, at = b"", 0
    for name, crc, length in files:
        line = (b"PK\1\2", 20, 20, 0, 0, 0, 0x21, crc, length, length, len(name), 0, 0, 0, 0, 0, at)
        listed += struct.pack("<4s6H3L5H2L", *line) + name
        at += 30 + len(name)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(listed), len(content), 0)
    return content + listed + end


def test_files_that_overlap_are_not_unpacked() -> None:
    """With 1,000 files each would be read: a pack of 256 MB would take 256 GB."""
    with pytest.raises(ProtocolError, match="stored files"):
        packed_files(_overlapping(3, 10_000))

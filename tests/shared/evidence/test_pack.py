"""One byte changed anywhere in a pack is found, and whoever signed it is named."""

import base64
import io
import json
import random
import struct
import zipfile
import zlib
from dataclasses import replace
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from fieldfare.shared.canonical import bytes_hash
from fieldfare.shared.errors import ProtocolError
from fieldfare.shared.evidence.facts import EvidenceFacts, MakerRole
from fieldfare.shared.evidence.pack import (
    MANIFEST,
    EvidenceManifest,
    PackCheck,
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


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "papers/../../x",
        "a/./b",
        "a//b",
        "a/",
        "/etc/x",
        ".x",
        "a/.ssh",
        "A",
        "a\\b",
        "\u00e9",
    ],
)
def test_no_name_leaves_the_folder_or_hides_in_it(name: str) -> None:
    """Whoever signs it: people unpack what was called intact."""
    by = signer()
    with pytest.raises((ProtocolError, ValidationError)):
        pack_bytes(manifest(by, {name: b"x"}), {name: b"x"}, by)
    lie = json.loads(packed_files(made(by))[MANIFEST])["body"]
    lie["files"] = [{"name": name, "sha256": bytes_hash(b"x"), "size": 1}]
    assert signed_lie(lie, {name: b"x"}).problems


def signed_lie(body: dict[str, Any], files: dict[str, bytes]) -> PackCheck:
    """Check a pack with a manifest that its holder's key really signed, whatever is in it."""
    content = rfc8785.dumps(body)
    kind = EvidenceManifest.TYPE
    signature = KEY.sign(kind.encode() + b"\0" + content)
    told = {"signature": base64.b64encode(signature).decode(), "signer": COORDINATOR, "type": kind}
    return check_pack(archived({**files, MANIFEST: rfc8785.dumps({"body": body, **told})}))


def test_what_is_signed_so_is_a_pack() -> None:
    body = json.loads(packed_files(made(signer()))[MANIFEST])["body"]
    assert signed_lie(body, FILES).problems == ()


def test_a_name_that_is_a_folder_too_is_refused() -> None:
    files = {"papers": b"x", "papers/x": b"y"}
    body = json.loads(packed_files(made(signer()))[MANIFEST])["body"]
    body["files"] = [one.model_dump() for one in listed_files(files)]
    assert signed_lie(body, files).problems


@pytest.mark.parametrize("lie", [b"NaN", b"Infinity", b"1e999", b"9" * 5000, b"-1", b"[" * 100_000])
def test_numbers_that_are_none_are_refused(lie: bytes) -> None:
    files = packed_files(made(signer()))
    files[MANIFEST] = files[MANIFEST].replace(b'"size":3', b'"size":' + lie)
    assert lie in files[MANIFEST]
    assert check_pack(archived(files)).problems


@pytest.mark.parametrize(
    ("key", "value"), [("format", 2), ("format", 0), ("made", 5), ("role", "owner"), ("more", 1)]
)
def test_another_format_is_refused_and_named(key: str, value: object) -> None:
    body = json.loads(packed_files(made(signer()))[MANIFEST])["body"] | {key: value}
    assert MANIFEST in signed_lie(body, FILES).problems[0]


def test_a_link_a_bomb_and_an_encrypted_file_are_refused(small: bytes) -> None:
    files = packed_files(small)
    assert check_pack(archived(files, external_attr=0o120777 << 16)).problems
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("evidence.html", bytes(50_000_000))
    assert len(bomb.getvalue()) < 100_000
    assert "stored" in check_pack(bomb.getvalue()).problems[0]
    locked = bytearray(small)
    for place in (6, small.index(b"PK\1\2") + 8):
        locked[place] |= 1
    assert check_pack(bytes(locked)).problems


@pytest.mark.parametrize("name", ["EVIDENCE.HTML", "evidence.html\0x", "evidence\u0301.html"])
def test_a_name_that_looks_like_another_is_found(small: bytes, name: str) -> None:
    assert check_pack(archived({**packed_files(small), name: b"x"})).problems


def test_files_that_overlap_are_not_unpacked() -> None:
    """With 1,000 files each would be read: a pack of 256 MB would take 256 GB."""
    with pytest.raises(ProtocolError, match="stored files"):
        packed_files(_overlapping(3, 10_000))

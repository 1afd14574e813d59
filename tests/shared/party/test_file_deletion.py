"""What a person may have deleted is known by its content; nothing else goes."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.shared.evidence.test_pack import FILES, KEY, manifest, signer

from fieldfare.shared.errors import UsageError
from fieldfare.shared.evidence.pack import pack_bytes
from fieldfare.shared.party.encrypted_stream import EncryptedWriter
from fieldfare.shared.party.file_deletion import OwnFileKind, examined, remove
from fieldfare.shared.party.recovery_key import RecoveryPrivate


def pack(path: Path) -> Path:
    by = signer(KEY, "bank-a")
    path.write_bytes(pack_bytes(manifest(by), FILES, by))
    return path


def backup(path: Path) -> Path:
    with path.open("wb") as file:
        writer = EncryptedWriter(file, RecoveryPrivate.generate().public)
        writer.write(b"a home")
        writer.finish()
    return path


@pytest.mark.parametrize(("make", "kind"), [(pack, OwnFileKind.PACK), (backup, OwnFileKind.BACKUP)])
def test_a_file_is_known_by_its_content_and_goes(
    make: Callable[[Path], Path], kind: OwnFileKind, tmp_path: Path
) -> None:
    path = make(tmp_path / "of any name")
    found = examined(path)
    assert (found.kind, found.size) == (kind, path.stat().st_size)
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    remove(found)
    assert not path.exists()


def linked(folder: Path) -> Path:
    (folder / "link").symlink_to(backup(folder / "a.backup"))
    return folder / "link"


def twice_named(folder: Path) -> Path:
    os.link(backup(folder / "a.backup"), folder / "b.backup")
    return folder / "b.backup"


def of_another(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "file").write_bytes(content)
        return folder / "file"

    return make


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (linked, "found a link"),
        (twice_named, "expected a file with one name, found 2"),
        (lambda folder: folder, "Is a directory"),
        (lambda folder: folder / "absent", "No such file"),
        (of_another(b""), "expected an evidence pack, a transcript or a backup"),
        (of_another(b"PK\x03\x04 a zip of others"), "expected an evidence pack"),
        (of_another(b'{"customers": []}\n'), "expected an evidence pack"),
    ],
)
def test_nothing_else_is_taken(make: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        examined(make(tmp_path))


def test_a_file_that_was_replaced_meanwhile_stays(tmp_path: Path) -> None:
    found = examined(backup(tmp_path / "a.backup"))
    backup(tmp_path / "new").rename(found.path)
    with pytest.raises(UsageError, match="found another: repeat"):
        remove(found)
    assert found.path.exists()

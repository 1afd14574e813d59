"""A backup's stream opens whole and unchanged, under its own key, or not at all."""

import io
from pathlib import Path
from typing import Final

import pytest

from fieldfare.shared.errors import FieldfareError, KeysError, UsageError
from fieldfare.shared.party.encrypted_stream import (
    ENCRYPTED_KEY,
    PIECE,
    TAG,
    EncryptedReader,
    EncryptedWriter,
)
from fieldfare.shared.party.recovery_key import RecoveryPrivate

KEY: Final = RecoveryPrivate.generate()
BEGIN: Final = 18
MARKER: Final = b"bank-a owns this marker"


def written(content: bytes, key: RecoveryPrivate = KEY) -> bytes:
    file = io.BytesIO()
    writer = EncryptedWriter(file, key.public)
    for at in range(0, len(content), 50_000):
        writer.write(content[at : at + 50_000])
    writer.finish()
    return file.getvalue()


def opened(content: bytes, size: int, key: RecoveryPrivate = KEY) -> bytes:
    reader = EncryptedReader(io.BufferedReader(io.BytesIO(content)), "b", key)
    found = reader.read(size)
    reader.finish()
    return found


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 200_001])
def test_what_was_written_is_read(size: int) -> None:
    content = (MARKER * (size // len(MARKER) + 1))[:size]
    file = written(content)
    assert opened(file, size) == content
    pieces = max(1, -(-size // PIECE))
    assert len(file) == BEGIN + ENCRYPTED_KEY + size + pieces * TAG
    assert MARKER not in file


def test_every_changed_byte_is_refused() -> None:
    file = written(MARKER)
    for at in range(len(file)):
        changed = bytearray(file)
        changed[at] ^= 1
        with pytest.raises(FieldfareError):
            opened(bytes(changed), len(MARKER))


def test_every_cut_is_refused() -> None:
    content = bytes(2 * PIECE + 5)
    file = written(content)
    begin = BEGIN + ENCRYPTED_KEY
    for end in (0, 5, BEGIN, begin - 1, begin, begin + 9, begin + PIECE + TAG, len(file) - 1):
        with pytest.raises(FieldfareError):
            opened(file[:end], len(content))
    whole = begin + 2 * (PIECE + TAG)
    with pytest.raises(UsageError, match="changed or cut off"):
        opened(file[:whole], 2 * PIECE)  # cut where a piece ends: the last one says that it is


def test_what_follows_or_changes_places_is_refused() -> None:
    content = bytes(range(256)) * (3 * PIECE // 256)
    file, begin, piece = written(content), BEGIN + ENCRYPTED_KEY, PIECE + TAG
    parts = [file[begin + piece * at : begin + piece * (at + 1)] for at in range(3)]
    for order in ([1, 0, 2], [0, 0, 2], [0, 2], [0, 1, 2, 2]):
        changed = file[:begin] + b"".join(parts[at] for at in order)
        with pytest.raises(UsageError, match="changed or cut off"):
            opened(changed, len(content))
    with pytest.raises(UsageError, match="changed or cut off"):
        opened(file + b"x", len(content))
    with pytest.raises(UsageError, match="changed or cut off"):
        opened(file, len(content) - 1)  # something is left that nobody asked for


def test_pieces_of_another_backup_are_refused() -> None:
    one, other, begin = written(bytes(10)), written(bytes(10)), BEGIN + ENCRYPTED_KEY
    assert one[begin:] != other[begin:]
    with pytest.raises(UsageError, match="changed or cut off"):
        opened(one[:begin] + other[begin:], 10)


def test_another_key_a_later_format_and_no_backup_each_have_their_words() -> None:
    file, stranger = written(MARKER), RecoveryPrivate.generate()
    with pytest.raises(KeysError, match="that this recovery key opens"):
        opened(file, len(MARKER), stranger)
    later = file[: BEGIN - 1] + bytes([2]) + file[BEGIN:]
    with pytest.raises(UsageError, match="found format 2: use the newer Fieldfare"):
        opened(later, len(MARKER))
    with pytest.raises(UsageError, match="expected a backup of Fieldfare"):
        opened(b"PK" + file, len(MARKER))


def test_a_key_is_read_as_it_was_written_and_only_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "recovery.key"
    path.write_bytes(KEY.content)
    path.chmod(0o644)
    with pytest.raises(KeysError, match="expected mode 0600"):
        RecoveryPrivate.read(path)
    path.chmod(0o600)
    again = RecoveryPrivate.read(path)
    assert again.public.spoken == KEY.public.spoken
    assert opened(written(MARKER), len(MARKER), again) == MARKER
    path.write_bytes(KEY.content.replace(b'"format":1', b'"format":2'))
    with pytest.raises(KeysError, match="a later format needs the Fieldfare that wrote it"):
        RecoveryPrivate.read(path)

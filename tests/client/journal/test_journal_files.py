import errno
import os
import stat
from pathlib import Path

import pytest

from fieldfare.client.journal.files import (
    append_line,
    closed_name,
    closed_numbers,
    cut,
    first_line,
    last_bytes,
    locked,
    move,
    overwrite,
    size_of,
)
from fieldfare.shared.errors import LedgerError


def test_lines_are_added_in_order_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"

    assert append_line(path, b"one\n") == 0
    assert append_line(path, b"two\n") == 4
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_line_that_does_not_fit_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, b"one\n")
    real = os.write
    calls = []

    def half(descriptor: int, content: memoryview) -> int:
        calls.append(len(content))
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "full")
        return real(descriptor, content[:2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="full"):
        append_line(path, b"second\n")

    assert calls == [7, 5]
    assert path.read_bytes() == b"one\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    (tmp_path / "log.jsonl").symlink_to(elsewhere)

    with pytest.raises(OSError, match="symbolic"):
        append_line(tmp_path / "log.jsonl", b"one\n")
    assert elsewhere.read_bytes() == b""


def test_closed_files_are_found_by_their_numbers(tmp_path: Path) -> None:
    for name in (closed_name(12), closed_name(3), "log.jsonl", "log-x.jsonl", "log-000001.json"):
        (tmp_path / name).touch()

    assert closed_numbers(tmp_path) == [3, 12]


def test_cut_overwrite_move_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert size_of(path) == 0
    path.write_bytes(b"0123456789")

    overwrite(path, b"abc")
    assert path.read_bytes() == b"abc3456789"
    cut(path, 4)
    assert (path.read_bytes(), size_of(path)) == (b"abc3", 4)
    move(path, tmp_path / "b")
    assert (path.exists(), size_of(tmp_path / "b")) == (False, 4)


@pytest.mark.parametrize(
    ("content", "lines", "rest"),
    [
        (b"", [], b""),
        (b"one\n", [b"one"], b""),
        (b"one\ntwo\n", [b"one", b"two"], b""),
        (b"one\ntor", [b"one"], b"tor"),
        (b"tor", [], b"tor"),
    ],
)
def test_the_end_of_a_file_is_read(
    content: bytes, lines: list[bytes], rest: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    assert last_bytes(path) == ([], b"")

    path.write_bytes(content)
    assert last_bytes(path) == (lines, rest)


def test_the_first_line_is_read_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"one\ntwo\n")

    assert first_line(path) == b"one"


def test_one_holds_the_lock_and_readers_share_it(tmp_path: Path) -> None:
    with locked(tmp_path, busy_timeout=0):
        with pytest.raises(LedgerError, match="lock"), locked(tmp_path, busy_timeout=0):
            pytest.fail("two hold it")
        with (
            pytest.raises(LedgerError, match="lock"),
            locked(tmp_path, busy_timeout=0, shared=True),
        ):
            pytest.fail("a reader beside a writer")
    with (
        locked(tmp_path, busy_timeout=0, shared=True),
        locked(tmp_path, busy_timeout=0, shared=True),
    ):
        pass


def test_a_reader_of_a_copy_creates_nothing(tmp_path: Path) -> None:
    with locked(tmp_path, busy_timeout=0, shared=True):
        assert list(tmp_path.iterdir()) == []

"""A new file or folder appears whole, under a name that nothing had, or not at all."""

import os
from pathlib import Path

import pytest

from fieldfare.shared.backup.whole_files import new_file
from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import move_to_new


def test_a_second_writer_of_one_name_is_refused_and_harms_no_draft(tmp_path: Path) -> None:
    out = tmp_path / "backup"
    with new_file(out) as first:
        first.write(b"first")
        with pytest.raises(UsageError, match="another at work"), new_file(out):
            pass
    assert out.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "backup"
    with pytest.raises(UsageError, match="existing one"), new_file(out):
        out.write_bytes(b"somebody else's")
    assert out.read_bytes() == b"somebody else's"
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_kill_left_is_taken_over(tmp_path: Path) -> None:
    out, left = tmp_path / "backup", tmp_path / ".backup.part"
    left.write_bytes(b"half of a longer one")
    left.chmod(0o644)
    with new_file(out) as file:
        file.write(b"whole")
    assert (out.read_bytes(), out.stat().st_mode & 0o777) == (b"whole", 0o600)


def test_a_file_that_somebody_laid_in_the_drafts_place_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, draft, other = tmp_path / "backup", tmp_path / ".backup.part", tmp_path / "other"
    other.write_bytes(b"of another name")
    draft.hardlink_to(other)
    with pytest.raises(UsageError, match="another's file"), new_file(out):
        pass
    assert other.read_bytes() == b"of another name"
    draft.unlink()
    os.mkfifo(draft)
    with pytest.raises(UsageError, match="another's file"), new_file(out):
        pass
    draft.unlink()
    draft.write_bytes(b"whose reader waits")
    monkeypatch.setattr(os, "geteuid", lambda: draft.stat().st_uid + 1)
    with pytest.raises(UsageError, match="another's file"), new_file(out):
        pass
    assert (draft.read_bytes(), out.exists()) == (b"whose reader waits", False)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "backup"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", [True, False])
def test_nothing_moves_over_another(tmp_path: Path, folder: bool) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.mkdir() if folder else path.write_text(path.name)
    with pytest.raises(FileExistsError):
        move_to_new(one, other)
    assert one.exists()
    move_to_new(one, tmp_path / "third")
    assert not one.exists()

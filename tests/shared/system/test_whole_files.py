"""A new file or folder appears whole, under a name that nothing had, or not at all."""

import fcntl
import os
import pwd
import resource
import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest
from tests.support.system.typed_as import OUTSIDER, typed_as

from fieldfare.shared.cli.root import run
from fieldfare.shared.errors import RecordsError, UsageError
from fieldfare.shared.party.backup_archive import BackupHeader, write_archive
from fieldfare.shared.party.encrypted_stream import EncryptedWriter
from fieldfare.shared.party.recovery_key import RecoveryPrivate
from fieldfare.shared.system.private_files import move_to_new
from fieldfare.shared.system.whole_files import new_file, own_folder, passing_folder


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


def test_a_disk_that_says_no_is_said_of_the_file(tmp_path: Path) -> None:
    """A command said `file: No space left on device`: a write to an open file names none."""
    out, before = tmp_path / "backup", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as refused, new_file(out) as file:
            file.write(b"a backup")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.filename == str(out)
    assert list(tmp_path.iterdir()) == []


def test_a_no_names_the_file_that_it_is_about_and_never_a_draft(tmp_path: Path) -> None:
    """A file that is read meanwhile keeps its name: the one that is written is not to blame."""
    out, read = tmp_path / "backup", tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as refused, new_file(out):
        read.read_bytes()
    assert str(refused.value.filename) == str(read)
    lost = tmp_path / "none" / "backup"
    with pytest.raises(FileNotFoundError) as refused, new_file(lost):
        pass
    assert refused.value.filename == str(lost)


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


def test_a_passing_folder_is_empty_and_for_one_command_and_goes(tmp_path: Path) -> None:
    path = tmp_path / ".backup"
    (path / "of-a-killed-one").mkdir(parents=True)
    (path / "link").symlink_to(tmp_path)
    path.chmod(0o755)
    with passing_folder(path) as alone:
        assert (alone, list(alone.iterdir()), alone.stat().st_mode & 0o777) == (path, [], 0o700)
        (alone / "rows").write_text("x")
        with pytest.raises(RecordsError, match="no other command"):
            passing_folder(path, RecordsError).__enter__()
        assert (alone / "rows").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [False, True], ids=["another's", "a share that renames owners"])
def test_a_passing_folder_is_of_who_makes_files_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: bool
) -> None:
    path = tmp_path / ".backup"
    path.mkdir()
    (path / "theirs").write_text("x")
    found = os.fstat

    def owned_by(opened: int) -> os.stat_result:
        seen = list(found(opened))
        folder = (path.stat().st_dev, path.stat().st_ino) == (seen[2], seen[1])
        seen[4] += 1 if folder or share else 0
        return os.stat_result(seen)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", owned_by)
        if share:
            with passing_folder(path) as alone:
                assert not list(alone.iterdir())
            return
        with pytest.raises(UsageError, match="found another's"):
            passing_folder(path).__enter__()
    assert (path / "theirs").exists()


def test_an_existing_folder_is_this_users_and_nobody_elses_to_change(tmp_path: Path) -> None:
    made = tmp_path / "new" / "days"
    own_folder(made)
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o755)
    own_folder(made)
    made.chmod(0o775)
    with pytest.raises(UsageError, match="found one that others may"):
        own_folder(made)
    (tmp_path / "link").symlink_to(tmp_path / "new")
    with pytest.raises(UsageError, match="found another's, or no folder"):
        own_folder(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user of this machine")
def test_days_are_not_computed_into_a_folder_of_another_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner could put a folder of theirs in the place of the one with parts of records."""
    days = tmp_path / "days"
    days.mkdir()
    os.chown(days, pwd.getpwnam(OUTSIDER).pw_uid, -1)
    words = ["typologies", "run", str(tmp_path), "--as-of", "2026-03-02", "--since", "2026-03-01"]
    assert run([*words, "--out", str(days)]) == 2
    assert "found another's" in capsys.readouterr().err
    assert not list(days.iterdir())


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_passing_folder_is_no_file_and_no_link(tmp_path: Path, what: str) -> None:
    path, other = tmp_path / ".backup", tmp_path / "other"
    other.mkdir()
    (other / "kept").write_text("x")
    path.write_text("x") if what == "file" else path.symlink_to(other)
    with pytest.raises(UsageError, match="or no folder"):
        passing_folder(path).__enter__()
    assert (other / "kept").exists()
    assert path.exists()


def test_a_passing_folder_that_its_last_user_took_away_is_left_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".backup"

    def taken_away(held: int, how: int) -> None:
        del held, how
        path.rename(tmp_path / "gone")
        path.mkdir()
        (path / "of-the-next").write_text("x")

    monkeypatch.setattr(fcntl, "flock", taken_away)
    with pytest.raises(UsageError, match="no other command"):
        passing_folder(path).__enter__()
    assert (path / "of-the-next").exists()


def empty_backup(path: Path, party: str, key: RecoveryPrivate) -> Path:
    header = {"party": party, "name": "x", "made": "2026-01-02T03:04:05+00:00", "software": "1"}
    with path.open("wb") as file:
        whole = BackupHeader.model_validate({**header, "facts": {}, "files": ()})
        write_archive(EncryptedWriter(file, key.public), whole, path.parent)
    path.chmod(0o644)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user of this machine")
@pytest.mark.parametrize("party", ["institution", "coordinator"])
def test_a_service_is_told_what_to_do_where_it_cannot_make_its_home(party: str) -> None:
    """A service's home lies in /var/lib, where its user makes nothing."""
    folder = Path(mkdtemp(prefix="ff-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        key, private = folder / "recovery.key", RecoveryPrivate.generate()
        key.write_bytes(private.content)
        key.chmod(0o600)
        os.chown(key, pwd.getpwnam(OUTSIDER).pw_uid, -1)
        file = empty_backup(folder / "backup", party, private)
        words = ("restore", file, "--recovery-key", key, "--reason", "the disk failed")
        status, _, said = typed_as(OUTSIDER, *words, "--home", folder / "home")
        assert status == 2
        assert "let root move the home to its place" in said
        assert {*folder.iterdir()} == {file, key}
    finally:
        shutil.rmtree(folder)

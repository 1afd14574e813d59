import os
import pwd
import resource
import stat
import threading
from pathlib import Path

import pytest

from fieldfare.shared.errors import KeysError, UsageError
from fieldfare.shared.system.private_files import (
    MAX_PRIVATE_BYTES,
    OTHERS,
    create_private,
    create_private_folder,
    exposed_mode,
    os_user,
    path_problems,
    read_private,
    read_public,
    replace_private,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_a_new_file_is_0600_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create_private(tmp_path / "key", b"secret")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "key") == 0o600
    assert read_private(tmp_path / "key") == b"secret"


def test_a_disk_that_takes_half_of_a_file_keeps_none_of_it(tmp_path: Path) -> None:
    """Half of a key stayed under its name, where the next attempt found one already."""
    path, before = tmp_path / "key", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))  # the kernel takes three bytes
    try:
        with pytest.raises(OSError, match="too large"):
            create_private(path, b"secret")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    create_private(path, b"secret")


def test_nothing_is_overwritten_not_even_through_a_link(tmp_path: Path) -> None:
    create_private(tmp_path / "key", b"old")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("key", "link"):
        with pytest.raises(UsageError, match="nothing is overwritten"):
            create_private(tmp_path / name, b"new")
    assert (tmp_path / "key").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_replacing_leaves_the_new_content_0600_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    (tmp_path / "key.new").write_bytes(b"left behind by a crash")
    replace_private(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert [item.name for item in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o660, 0o777])
def test_a_secret_that_others_may_reach_is_refused_with_the_remedy(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"tell nobody")
    path.chmod(mode)
    with pytest.raises(KeysError, match=rf"found {mode:04o}.*chmod 600") as refused:
        read_private(path)
    assert "tell nobody" not in str(refused.value)
    assert read_public(path) == b"tell nobody"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none", "No such file"), (tmp_path, "directory")):
        with pytest.raises(KeysError, match=said):
            read_private(path)
    with pytest.raises(KeysError, match="expected a file"):
        read_private(Path("/dev/null"))


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    create_private(tmp_path / "most", b"x" * MAX_PRIVATE_BYTES)
    create_private(tmp_path / "more", b"x" * (MAX_PRIVATE_BYTES + 1))
    assert len(read_private(tmp_path / "most")) == MAX_PRIVATE_BYTES
    with pytest.raises(KeysError, match="at most"):
        read_private(tmp_path / "more")


def test_a_secret_may_come_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o644)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"handed over",))
    writer.start()
    assert read_private(pipe) == b"handed over"
    writer.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(tmp_path: Path) -> None:
    create_private(tmp_path / "key", b"x")
    os.chown(tmp_path / "key", 12345, 12345)
    with pytest.raises(KeysError, match="uid 12345"):
        read_private(tmp_path / "key")


@pytest.mark.parametrize(
    ("mode", "owner", "group", "reader", "exposed"),
    [
        (0o600, 7, 7, 7, 0),
        (0o640, 7, 7, 7, 0o040),
        (0o440, 0, 0, 7, 0),  # a service manager's credential
        (0o460, 0, 0, 7, 0o020),
        (0o444, 0, 0, 7, 0o004),
        (0o440, 0, 7, 7, 0o040),  # of a group with members
        (0o440, 0, 0, 0, 0o040),
    ],
)
def test_only_roots_own_group_is_nobody(
    mode: int, owner: int, group: int, reader: int, exposed: int
) -> None:
    assert exposed_mode(mode, owner=owner, group=group, reader=reader) == exposed


def test_a_folder_is_private_and_new_or_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o755)
    for name in ("deep/new", "empty"):
        create_private_folder(tmp_path / name)
        assert mode_of(tmp_path / name) == 0o700
    (tmp_path / "empty" / "mine").touch()
    (tmp_path / "file").touch()
    for name in ("empty", "file"):
        with pytest.raises(UsageError, match="nothing is overwritten"):
            create_private_folder(tmp_path / name)


def test_a_problem_is_told_with_its_remedy_and_a_missing_path_has_none(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert list(path_problems(path, OTHERS, 0o600)) == []
    path.touch(0o600)
    assert list(path_problems(path, OTHERS, 0o600)) == []
    path.chmod(0o640)
    told = f"{path}: expected mode 0600, found 0640: chmod 600 {path}"
    assert list(path_problems(path, OTHERS, 0o600)) == [told]
    assert "can reach" in next(path_problems(path / "inside", OTHERS, 0o600))


# -- os user --------------------------------------------------------------------------------------


def test_the_environment_cannot_name_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert os_user() == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    assert os_user() == "uid 4000000001"

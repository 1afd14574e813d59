"""Who can reach a socket, who serves it, and what becomes of a name that the dead left."""

import grp
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.sockets import Claim, UnixSocket, claimed

HOLD: Final = """
import socket, sys
from contextlib import ExitStack
from pathlib import Path
from fieldfare.shared.system.sockets import UnixSocket, claimed
with claimed(UnixSocket(Path(sys.argv[1]))) as claim:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(claim.binding))
    listening.listen()
    if sys.argv[2] == "publish":
        claim.publish()
    print("serving", flush=True)
    input()
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def listen(claim: Claim) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(claim.binding))
    listening.listen()
    return listening


@contextmanager
def another_process(path: Path, until: str = "publish") -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(path), until]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
        if process.poll() is None:
            process.communicate("\n")


def connects(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_modes_do_not_depend_on_the_umask(umask: int, room: Path) -> None:
    with claimed(UnixSocket(room)) as claim, closing(listen(claim)):
        # Whatever bind() made of it, nobody else can reach it before it has its mode.
        assert mode(claim.binding.parent) == 0o700
        assert not room.exists()
        claim.publish()
        assert connects(room)
        assert (mode(room), mode(room.parent)) == (0o660, 0o750)
        assert mode(room.with_name(f"{room.name}.lock")) == 0o600


def test_everything_but_the_lock_is_gone_afterwards(room: Path) -> None:
    with claimed(UnixSocket(room)) as claim, closing(listen(claim)):
        claim.publish()
    assert [path.name for path in room.parent.iterdir()] == [f"{room.name}.lock"]


def test_a_claim_that_was_not_published_leaves_nothing(room: Path) -> None:
    with claimed(UnixSocket(room)) as claim:
        listen(claim).close()
        assert claim.binding.exists()
    assert [path.name for path in room.parent.iterdir()] == [f"{room.name}.lock"]


def test_an_own_mode_for_administration(room: Path) -> None:
    private = UnixSocket(room, mode=0o600, directory_mode=0o700)
    with claimed(private) as claim, closing(listen(claim)):
        claim.publish()
        assert (mode(room), mode(room.parent)) == (0o600, 0o700)


def test_two_sockets_share_a_directory(room: Path) -> None:
    other = UnixSocket(room.with_name("admin.sock"), mode=0o600, directory_mode=0o700)
    with claimed(UnixSocket(room)), claimed(other):
        assert mode(room.parent) == 0o750


# -- the living and the dead -------------------------------------------------------------------


@pytest.mark.parametrize("until", ["publish", "bind"])
def test_a_living_process_keeps_its_name(until: str, room: Path) -> None:
    with another_process(room, until):
        with (
            pytest.raises(UsageError, match=r"no process that serves at .*, found one"),
            claimed(UnixSocket(room)),
        ):
            pass
        assert connects(room) == (until == "publish")


def test_the_same_process_cannot_claim_twice(room: Path) -> None:
    with (
        claimed(UnixSocket(room)),
        pytest.raises(UsageError, match=r"no process that serves at .*, found one"),
        claimed(UnixSocket(room)),
    ):
        pass


@pytest.mark.parametrize("until", ["publish", "bind"])
def test_what_a_killed_process_left_is_replaced(until: str, room: Path) -> None:
    with another_process(room, until) as process:
        process.kill()
        process.wait()
    assert room.exists() == (until == "publish")
    assert not connects(room)
    with claimed(UnixSocket(room)) as claim, closing(listen(claim)):
        claim.publish()
        assert connects(room)


def test_a_name_that_lives_without_a_lock_is_refused(room: Path) -> None:
    room.parent.mkdir(mode=0o750)
    with closing(socket.socket(socket.AF_UNIX)) as stranger:
        stranger.bind(str(room))
        stranger.listen()
        with (
            pytest.raises(UsageError, match=r"no process that serves at .*, found one"),
            claimed(UnixSocket(room)),
        ):
            pass
        assert connects(room)


def test_a_file_that_is_no_socket_is_left_alone(room: Path) -> None:
    room.parent.mkdir(mode=0o750)
    room.write_text("records")
    with pytest.raises(UsageError, match="found another file"), claimed(UnixSocket(room)):
        pass
    assert room.read_text() == "records"


# -- directories, groups, paths ------------------------------------------------------------------


@pytest.mark.parametrize("found", [0o770, 0o755, 0o751, 0o777])
def test_a_directory_that_others_may_use_is_refused(found: int, room: Path) -> None:
    room.parent.mkdir()
    room.parent.chmod(found)
    with pytest.raises(UsageError, match="mode 0750 or less"), claimed(UnixSocket(room)):
        pass
    assert mode(room.parent) == found


def test_a_closed_directory_is_opened_to_the_group(room: Path) -> None:
    room.parent.mkdir(mode=0o700)
    with claimed(UnixSocket(room)):
        assert mode(room.parent) == 0o750


def test_a_missing_parent_is_named(room: Path) -> None:
    deep = room.parent / "deep" / "custodian.sock"
    with pytest.raises(UsageError, match="No such file"), claimed(UnixSocket(deep)):
        pass


def test_an_unknown_group_is_named(room: Path) -> None:
    wanted = UnixSocket(room, group="no-such-group")
    with pytest.raises(UsageError, match="no-such-group"), claimed(wanted):
        pass
    assert not room.parent.exists()


def other_group() -> grp.struct_group | None:
    """A group that this user may give files to."""
    mine = set(os.getgroups()) - {os.getegid()}
    known = [g for g in grp.getgrall() if g.gr_gid != os.getegid()]
    return next((g for g in known if os.geteuid() == 0 or g.gr_gid in mine), None)


def test_the_socket_and_its_directory_get_the_group(room: Path) -> None:
    group = other_group()
    if group is None:
        pytest.skip("this user is in one group only")
    wanted = UnixSocket(room, group=group.gr_name)
    with claimed(wanted) as claim, closing(listen(claim)):
        claim.publish()
        assert {path.lstat().st_gid for path in (room, room.parent)} == {group.gr_gid}
        assert (mode(room), mode(room.parent)) == (0o660, 0o750)


def assert_claimed_up_to_107(length: int, path: Path) -> None:
    """A path of such a length, its own or where it is bound, is served, or refused as too long."""
    if length > 107:
        with pytest.raises(UsageError, match="107 bytes"), claimed(UnixSocket(path)):
            pass
        return
    with claimed(UnixSocket(path)) as claim, closing(listen(claim)):
        claim.publish()
        assert connects(path)


@pytest.mark.parametrize("length", [107, 108])
def test_the_longest_path(length: int, room: Path) -> None:
    bare = len(os.fsencode(room.parent / ".x" / "s")) - 1
    assert_claimed_up_to_107(length, room.parent / ("x" * (length - bare)))


@pytest.mark.parametrize("length", [107, 108, 109])
def test_a_path_is_short_enough_to_be_reached_not_only_bound(length: int, room: Path) -> None:
    """Its name is longer than where it is bound: a node never reached one of 108 bytes."""
    path = room.parent / ("x" * (length - len(os.fsencode(room.parent)) - 6) + ".sock")
    assert len(os.fsencode(path)) == length
    assert_claimed_up_to_107(length, path)


def test_a_relative_path_stands_when_the_process_moves(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(room.parents[1])
    with claimed(UnixSocket(Path("run/custodian.sock"))) as claim, closing(listen(claim)):
        monkeypatch.chdir("/")
        claim.publish()
        assert connects(room)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_only_the_group_connects(room: Path) -> None:
    """As the kernel sees it: another user in the group, and another user outside of it."""
    room.parents[1].chmod(0o755)
    group = other_group()
    assert group is not None
    connect = (
        "import os, socket, sys; os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(65534);"
        " sys.exit(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"
    )
    wanted = UnixSocket(room, group=group.gr_name)
    with claimed(wanted) as claim, closing(listen(claim)):
        claim.publish()
        for gid, expected in ((group.gr_gid, 0), (65533, 13)):  # 13: permission denied
            done = subprocess.run([sys.executable, "-c", connect, room, str(gid)], check=False)
            assert done.returncode == expected

"""The limit that this part measures under is one: what is beyond it is killed, children too."""

import sys

import pytest
from tests.support.system.memory_group import memory_group

pytestmark = pytest.mark.promises

LIMIT = 96 << 20
HOLD = "import sys; held = bytearray(int(sys.argv[1]) << 20); held[::4096] = held[1::4096]"
CHILD = (
    "import subprocess, sys; sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)"
)


@pytest.mark.parametrize("wrapped", [(), ("-c", CHILD)])
def test_what_is_within_the_limit_ends_and_what_is_beyond_is_killed(wrapped: tuple[str]) -> None:
    with memory_group(LIMIT) as group:
        small = group.run([sys.executable, *wrapped, "-c", HOLD, "40"], seconds=60)
        assert (small.returncode, group.killed) == (0, 0), small.stderr
        assert 40 << 20 <= group.peak <= LIMIT
        assert group.anonymous < 40 << 20  # nobody is there any more
        assert group.run([sys.executable, *wrapped, "-c", HOLD, "300"], seconds=60).returncode
        assert group.killed == 1


def test_a_group_is_gone_afterwards() -> None:
    with memory_group(LIMIT) as group:
        assert group.folder.is_dir()
    assert not group.folder.exists()

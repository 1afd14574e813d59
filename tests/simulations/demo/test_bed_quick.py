"""Commands in this process: what a process of their own would print, and its status."""

import os
from pathlib import Path

import pytest
from tests.support.federations.beds import small_bed
from tests.support.rows import night

from fieldfare.shared.errors import RunError
from fieldfare.shared.study.allowed_packages import VARIABLE
from fieldfare.simulations.demo.testbed import in_a_process, in_this_process


@pytest.mark.parametrize(
    "command", [["study", "check", "nowhere"], *night(["study", "new", "--help"])]
)
def test_it_is_the_same_command(command: list[str]) -> None:
    here, there = in_this_process(command), in_a_process(command)
    assert here.returncode == there.returncode
    assert here.stderr == there.stderr
    assert here.stdout.split() == there.stdout.split()  # the terminal's width may differ


def test_what_one_command_allows_is_not_left_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("", "b==2"):
        monkeypatch.setenv(VARIABLE, before)
        in_this_process(["--package", "a==1", "study"])
        assert os.environ[VARIABLE] == before
    monkeypatch.delenv(VARIABLE)
    in_this_process(["--package", "a==1", "study"])
    assert VARIABLE not in os.environ


def test_a_bed_is_founded_here(tmp_path: Path) -> None:
    bed = small_bed(tmp_path)
    bed.command = in_this_process
    bed.found()
    assert (bed.coordinator_home / "roster.signed").is_file()
    for name in bed.names:
        pinned = bed.home(name) / "roster.signed"
        assert pinned.read_bytes() == (bed.coordinator_home / "roster.signed").read_bytes()
    with pytest.raises(RunError, match="`enrol nobody` ended with"):
        bed.coordinator("enrol", "nobody")

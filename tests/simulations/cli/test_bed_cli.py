"""`federation up` and `down`: what they leave alone. The whole is in tests/deployment."""

import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from fieldfare.shared.cli.root import commands, run

DOWN = commands()["federation.down"]()


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert run(["federation", "up", "--out", str(tmp_path)]) == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_runs_is_not_started_twice(tmp_path: Path) -> None:
    (tmp_path / "coordinator").mkdir()
    code = "print(flush=True); input()"
    ours = subprocess.Popen(
        [sys.executable, "-c", code, "fieldfare"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert ours.stdout is not None
        ours.stdout.readline()  # its command line can be read from here on
        (tmp_path / "processes.json").write_text(json.dumps({"coordinator": ours.pid}))
        assert run(["federation", "up", "--out", str(tmp_path)]) == 2
        assert (tmp_path / "coordinator").is_dir()
        said = CliRunner().invoke(DOWN, ["--out", str(tmp_path)])
        assert said.output == "stopped coordinator\n"
        assert ours.wait(60) != 0
    finally:
        ours.kill()


def test_nothing_that_runs_is_nothing_to_end(tmp_path: Path) -> None:
    said = CliRunner().invoke(DOWN, ["--out", str(tmp_path)])
    assert (said.exit_code, said.output) == (0, "nothing runs\n")


def test_a_number_that_was_given_anew_is_not_ended(tmp_path: Path) -> None:
    (tmp_path / "processes.json").write_text(json.dumps({"coordinator": 1}))  # init is none of ours
    said = CliRunner().invoke(DOWN, ["--out", str(tmp_path)])
    assert said.output == "nothing runs\n"
    assert not (tmp_path / "processes.json").exists()

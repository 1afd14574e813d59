"""`make bench-large`: the command of every line works, whatever it finds on few units."""

import subprocess
import sys

import pytest
from tests.benchmarks.kept.large import LINES

pytestmark = pytest.mark.promises


@pytest.mark.timeout(900)
def test_every_line_can_be_measured() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.kept.large", "--small"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    said = done.stdout.splitlines()[-len(LINES) :]
    assert [line.partition(":")[0] for line in said] == [
        f"line {one.number}, {one.module}" for one in LINES
    ]
    assert "NOT MEASURED" not in done.stdout + done.stderr

"""The smoke test of questions over real processes: asked once, paid once, read for nothing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.federations.beds import NAMES, UNITS, check_whole, small_bed
from tests.support.homes.keyed_coordinators import COMMAND

from fieldfare.simulations.demo.testbed import Bed

ASKS = """
[[queries]]
name = "amounts"
kind = "histogram"
column = "amount"
bins = 4

[allowance]
kinds = ["count", "mean"]
columns = ["reported", "amount"]
groups = 2
spare_releases = 0
"""
LATER = """
[[queries]]
name = "{name}"
kind = "count"
where = [{{ column = "reported", levels = ["1"] }}]

[[queries]]
name = "usual amount"
kind = "mean"
column = "amount"
"""
FORBIDDEN = """
[[queries]]
name = "channels"
kind = "histogram"
column = "channel"
"""


def query(bed: Bed, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "query",
        *map(str, arguments),
        "--home",
        str(bed.coordinator_home),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@contextmanager
def allowed_to_ask(bed: Bed) -> Iterator[None]:
    """Found and start a bed whose institutions' policies let questions be answered."""
    bed.found()
    for name in bed.names:
        policy = bed.home(name) / "policy.toml"
        text = policy.read_text()
        policy.write_text(text.replace('"evaluation"]', '"evaluation", "query"]'))
    try:
        bed.start()
        yield
    finally:
        bed.stop()


@pytest.mark.faults  # slow: a whole federation of processes starts
def test_questions_are_asked_of_processes_and_the_same_again_costs_nothing(tmp_path: Path) -> None:
    bed = small_bed(tmp_path, steps=0)
    bed.study.write_text(bed.study.read_text() + ASKS)
    files = {
        name: tmp_path / f"{name}.toml" for name in ("reported", "renamed", "channels", "declared")
    }
    for name in ("reported", "renamed"):
        files[name].write_text(LATER.format(name=name))
    files["channels"].write_text(FORBIDDEN)
    files["declared"].write_text(ASKS.partition("[allowance]")[0])
    with allowed_to_ask(bed):
        study = bed.agree()
        refused = query(bed, "ask", study, files["channels"], "--yes")
        assert refused.returncode == 2
        assert "a kind of the allowance" in refused.stderr
        asked = query(bed, "ask", study, files["reported"], "--yes", "--format", "json")
        assert asked.returncode == 0, asked.stderr
        assert "one of 2 groups that are still left of the allowance" in asked.stderr
        (found,) = json.loads(asked.stdout)["answered"]
        reported, usual = found["answers"]
        assert 0 < reported["value"] < UNITS * len(NAMES)
        assert usual["value"] == pytest.approx(5, abs=8 * usual["sigma"])
        assert usual["institutions"] == len(NAMES)
        again = query(bed, "ask", study, files["renamed"], "--format", "json")
        assert "answered before: the stored answer costs nothing" in again.stderr
        (same,) = json.loads(again.stdout)["answered"]
        assert (same["run"], same["answers"][0]["name"]) == (found["run"], "renamed")
        assert same["answers"][0]["value"] == reported["value"]
        declared = query(bed, "ask", study, files["declared"], "--yes")
        assert declared.returncode == 0, declared.stderr
        assert "5 to 7.5" in declared.stdout
        report = check_whole(bed, bed.until_ended(found["run"]))
        assert (report["verified"], report["sums"], report["steps"]) == (True, 2, 0)
        assert (report["questions"], report["model"]) == (2, None)
        anew = query(bed, "ask", study, files["reported"], "--yes", "--again", "--format", "json")
        (other,) = json.loads(anew.stdout)["answered"]
        assert other["answers"][0]["value"] != reported["value"]
        over = query(bed, "ask", study, files["reported"], "--yes", "--again")
        assert over.returncode == 3
        assert "is left of the allowance" in over.stderr

"""`fieldfare sweep` as it is typed; killed and typed again; on Ray."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.simulations.conftest import SimulationFolder
from tests.support.records.scored import quick_grid

from fieldfare.shared.cli.root import run

COMMAND = (sys.executable, "-c", "from fieldfare.shared.cli.root import main; main()")
SWEEP = """
study = "study.toml"
records = ["records.parquet"]
seeds = [0, 1]
beside = ["pooled"]
engine = "custodians"
[axes]
epsilon = [0.5, 1.0, 2.0, 4.0]
institutions = [3, 4]
"""
SMALL = SWEEP.replace("[0.5, 1.0, 2.0, 4.0]", "[0.5, 1.0]")


def write_sweep(work: SimulationFolder, text: str = SWEEP) -> Path:
    path = work.folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_sweep_is_shown_and_written(
    work: SimulationFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    small = SWEEP.replace("[0.5, 1.0, 2.0, 4.0]", "[1.0]").replace("[0, 1]", "[0]")
    out = work.folder / "out"
    assert run(["sweep", str(write_sweep(work, small)), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 institutions" in said
    assert "sweep.html" in "".join(said.split())  # a long path is folded
    assert {path.name for path in out.iterdir()} == {"points", "sweep.html", "sweep.parquet"}


def test_a_mistake_is_a_line_and_status_2(
    work: SimulationFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(work, SWEEP.replace("epsilon =", "epsilons ="))
    assert run(["sweep", str(path), "--out", str(work.folder / "out")]) == 2
    assert "axes.epsilons: expected no such key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "kills"),
    [
        pytest.param(SMALL, (2,), marks=pytest.mark.promises, id="once"),
        pytest.param(SWEEP, (1, 4, 9), marks=pytest.mark.promises, id="three times"),
    ],
)
def test_killed_and_typed_again_and_on_ray_it_gives_the_same_table(
    text: str, kills: tuple[int, ...], work: SimulationFolder
) -> None:
    path, folder = write_sweep(work, text), work.folder

    def typed(out: str, sweep: Path = path) -> subprocess.Popen[bytes]:
        arguments = [*COMMAND, "sweep", str(sweep), "--out", str(folder / out), "--quiet"]
        return subprocess.Popen(arguments, start_new_session=True)

    assert typed("whole").wait(timeout=600) == 0
    table = (folder / "whole" / "sweep.parquet").read_bytes()
    for kept in kills:
        process = typed("killed")
        points = folder / "killed" / "points"
        while len(list(points.glob("*.json"))) < kept and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "killed" / "sweep.parquet").exists()
    assert typed("killed").wait(timeout=600) == 0
    assert (folder / "killed" / "sweep.parquet").read_bytes() == table

    ray = folder / "ray.toml"
    ray.write_text(text.replace('"custodians"', '"ray"'), encoding="utf-8")
    assert typed("ray", ray).wait(timeout=600) == 0
    assert (folder / "ray" / "sweep.parquet").read_bytes() == table

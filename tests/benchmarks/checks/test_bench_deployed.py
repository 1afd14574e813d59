"""What is made of a deployed federation's steps; the federation itself is in tests/deployment."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.benchmarks import deployed as bench_deployed
from tests.benchmarks.deployed import (
    RUN_PROCESS,
    SUPERLINK,
    Steps,
    line,
    measure,
    new_bed,
    processor_seconds,
    promises,
    table,
)

from fieldfare.server.store.rows import Progress, RunRow, RunStatus
from fieldfare.shared.privacy.sides import SideCosts
from fieldfare.shared.study.file import load_study
from fieldfare.simulations.demo.testbed import Bed

BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def row(step: int, seconds: float, phase: str = "training") -> RunRow:
    at = BEGUN + timedelta(seconds=seconds)
    progress = Progress(step, 4, 0, 0.0, SideCosts(), phase, at)
    return RunRow("run-1", "0" * 64, RunStatus.RUNNING, "", None, BEGUN, None, progress)


def deployed(count: int, superlink: float, median: float = 0.5) -> dict[str, float]:
    return {
        "institutions": count,
        "load_before": 0.5,
        "median_seconds": median,
        "most_seconds": 2 * median,
        "superlink_processor_seconds": superlink,
        "run_processor_seconds": 0.01 * count,
    }


def found(*rows: dict[str, float]) -> dict[str, Any]:
    stock = {"institutions": 3, "load_before": 0.5, "median_seconds": 5.0, "most_seconds": 6.0}
    return {"limit": 0.7, "steps": 15, "deployed": list(rows), "stock": stock}


def test_a_step_lasts_from_the_end_of_one_to_the_end_of_the_next() -> None:
    steps = Steps("run-1")
    for step, seconds in [(0, 0.0), (1, 9.0), (1, 9.1), (2, 9.5), (3, 10.5), (3, 10.6), (4, 10.9)]:
        steps.see(row(step, seconds), os.getpid())
    steps.see(row(4, 15.0, "evaluation"), os.getpid())
    assert steps.seconds == pytest.approx([0.5, 1.0, 0.4])  # the first one warms up
    assert steps.processor(SUPERLINK) == 0.0  # below this process there is none


def test_a_hello_is_no_step() -> None:
    steps = Steps("run-1")
    steps.see(row(0, 0.0, "hello"), os.getpid())
    assert steps.ended == {}


def test_processor_time_is_that_of_a_process_below(tmp_path: Path) -> None:
    """A grandchild that works, a child that waits, and nobody else's process."""
    busy = "import time; e = time.process_time() + 0.3\nwhile time.process_time() < e: pass\n"
    worker = tmp_path / "superlink.process.py"
    worker.write_text(f"{busy}print('done', flush=True); input()")
    waits = tmp_path / "waits.py"
    waits.write_text(f"import subprocess as s, sys; s.run([sys.executable, {str(worker)!r}])")
    command = [sys.executable, str(waits)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        assert processor_seconds(os.getpid(), SUPERLINK) >= 0.3
        assert processor_seconds(child.pid, SUPERLINK) >= 0.3
        assert processor_seconds(os.getpid(), RUN_PROCESS) == 0.0
        assert processor_seconds(1 << 30, SUPERLINK) == 0.0
        child.communicate("\n")


def test_figures_within_every_promise_hold() -> None:
    rows = promises(found(deployed(3, 0.3), deployed(20, 2.0, 3.0)))
    assert [holds for *_, holds in rows] == [True, True]
    assert rows[0][0].endswith("stock Flower 5.00 s a round, 10 x as long")


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        ((deployed(3, 0.3, 0.71), deployed(20, 2.0)), "step of 3"),
        ((deployed(3, 0.3), deployed(20, 3.0)), "processor time of a step for each"),
    ],
)
def test_a_broken_promise_is_said(rows: tuple[dict[str, float], ...], broken: str) -> None:
    assert [what.startswith(broken) for what, _, _, holds in promises(found(*rows)) if not holds]


def test_one_size_says_nothing_of_growth() -> None:
    assert len(promises(found(deployed(3, 0.3)))) == 1


def test_work_is_put_on_a_line() -> None:
    rows = [deployed(count, 0.2 + 0.1 * count) for count in (3, 6, 12, 20)]
    assert line(rows, "superlink_processor_seconds") == pytest.approx((0.2, 0.1))
    shown = table(found(*rows))
    assert "SuperLink: 0.200 s + 0.100 s for each institution, a step" in shown
    assert shown[-1].startswith("stock Flower: 5.00 / 6.00 s a round of 3")


def test_a_bed_has_records_and_a_study_for_each(tmp_path: Path) -> None:
    bed = new_bed(tmp_path / "few", 4, steps=7)
    assert bed.names == ["bank-01", "bank-02", "bank-03", "bank-04"]
    assert all(path.is_file() for path in bed.records.values())
    study = load_study(bed.study)
    assert (study.training.steps, study.records.units) == (7, 4 * bench_deployed.UNITS)


def test_sizes_are_measured_one_after_another_and_stock_flower_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What takes minutes stands aside: its own tests run it."""
    nodes: list[int] = []

    def trained(bed: Bed) -> Steps:
        steps, coordinator = Steps("run-1"), os.getpid()
        for step in range(5):
            steps.see(row(step, step * 0.1 * len(bed.names)), coordinator)
        return steps

    def rounds(fabric: Any, *, entries: int, rounds: int) -> list[float]:
        nodes.append(len(fabric.nodes))
        assert entries > 0
        return [6.0, 5.0, 7.0][:rounds]

    monkeypatch.setattr(bench_deployed, "trained", trained)
    monkeypatch.setattr(bench_deployed, "stock_rounds", rounds)
    monkeypatch.setattr(Bed, "found", lambda _: None)
    figures = measure("3,4", 4)
    medians = [(r["institutions"], r["median_seconds"]) for r in figures["deployed"]]
    assert medians == [(3, pytest.approx(0.3)), (4, pytest.approx(0.4))]
    assert figures["stock"]["median_seconds"] == 6.0
    assert nodes == [3]
    assert "stock Flower: 6.00 / 7.00 s" in "\n".join(table(figures))

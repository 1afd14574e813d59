"""Each sentence of the demo's screen is true of its run; `make nightly PART=demo` has 20 seeds."""

import os
import sys
from pathlib import Path

import pytest
from tests.support.runs.demo_screen import DemoRun, untrue

from fieldfare.shared.cli.root import run
from fieldfare.simulations.demo.five_banks import PEOPLE, banks_study

SEEDS = range(int(os.environ.get("FIELDFARE_DEMO_SEEDS", "1")))
MANY = int(os.environ.get("FIELDFARE_DEMO_PEOPLE", str(PEOPLE)))
LIES = (
    ("own cases, institutions find ", "own cases, institutions find 1"),
    ("may be chance", "more than chance"),
    ("Epsilon 1", "Epsilon 2"),
    ("nobody exists", "somebody exists"),
    ("1,000 own", "100 own"),
    ("report.html", "page.html"),
    ("bank-a\n", "bank-b\n"),
)


def demo(folder: Path, seed: int, people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fieldfare.simulations.demo.five_banks.PEOPLE", people)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.chdir(folder)
    assert run(["demo", "--out", "demo", "--seed", str(seed)]) == 0


@pytest.mark.faults
@pytest.mark.parametrize("seed", SEEDS)
def test_every_sentence_is_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    demo(tmp_path, seed, MANY, monkeypatch)
    screen = capsys.readouterr().out
    found = DemoRun.of(tmp_path / "demo", banks_study(), seed)
    assert untrue(found, screen) == [], screen
    for one, other in LIES:
        lie = screen.replace(one, other, 1)
        assert lie == screen or untrue(found, lie), other

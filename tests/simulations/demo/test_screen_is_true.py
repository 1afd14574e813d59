"""Each sentence of the demo's screen is true of its run; `make nightly PART=demo` has 20 seeds."""

import os
import sys
from pathlib import Path

import pytest
from tests.support.runs.demo_screen import DemoRun, untrue

from fieldfare.shared.cli.root import run
from fieldfare.simulations.demo.five_banks import banks_study
from fieldfare.simulations.world.institutions import WorldFederation

SEEDS = range(int(os.environ.get("FIELDFARE_DEMO_SEEDS", "1")))
MANY = int(os.environ.get("FIELDFARE_DEMO_PEOPLE", "70000"))
LIES = (
    ("cases that no bank knows, ", "cases that no bank knows, 1"),
    ("more than", "may be"),
    (" gain", " lose"),
    ("cannot be told", "gains"),
    ("2.72 times", "2.62 times"),
    ("nobody exists", "somebody exists"),
    (" reviews ", "0 reviews "),
    ("report.html", "page.html"),
    ("bank-a\n", "bank-b\n"),
)


def demo(folder: Path, seed: int, people: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terms = {WorldFederation.TWENTY: (people, 0.02)}
    monkeypatch.setattr("fieldfare.simulations.demo.five_banks.SIZES", terms)
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
    found = DemoRun.of(tmp_path / "demo", banks_study(WorldFederation.TWENTY), seed)
    assert untrue(found, screen) == [], screen
    assert found.results["found"]["difference"]["value"] > 0
    for one, other in LIES:
        lie = screen.replace(one, other, 1)
        assert lie == screen or untrue(found, lie), other

"""Notebooks do what they say: each runs from its first cell to its last, and shows something."""

import os
from pathlib import Path

import pytest
from docs.site.notebooks import executed
from docs.site.staging import DATA, FIRST, NOTEBOOKS

ROOT = Path(__file__).parents[2]
RECORDS = Path(os.environ.get(DATA) or ROOT / ".." / "shared" / "data").resolve()
LONG = bool(os.environ.get("FIELDFARE_LAB_LONG"))  # make nightly PART=lab
NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.py")) if LONG else [FIRST]


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_to_its_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (NOTEBOOKS / name).read_text()
    if DATA in source and not RECORDS.is_dir():
        pytest.skip(f"{RECORDS} is not at hand: name its folder in {DATA}")
    monkeypatch.setenv(DATA, str(RECORDS))
    monkeypatch.chdir(ROOT)
    before = sorted(ROOT.iterdir())
    shown = {cell.text: said for cell, said in executed(source, name) if not cell.prose}
    assert len(shown) > 2
    assert list(shown.values())[-1], "expected the last cell to show something"
    assert sorted(ROOT.iterdir()) == before  # nothing is written
    if name == FIRST:
        lines, (picture,) = next(iter(shown.items()))
        assert "<svg" in picture
        assert "Average precision" in picture
        assert sum(1 for line in lines.splitlines() if line) == 10

"""The page says no where it should: three small banks, .05 % prevalence (docs/world.md)."""

import re
from pathlib import Path

import pytest
from tests.support.records.scored import quick_grid

from fieldfare.shared.joining.words import answer
from fieldfare.simulations.demo.five_banks import banks_study
from fieldfare.simulations.joining.join import PAGE, join
from fieldfare.simulations.joining.seeds import JoinTask
from fieldfare.simulations.joining.worlds import WorldTerms
from fieldfare.simulations.world.institutions import load_institutions

DOCS = Path(__file__).parents[3] / "docs" / "world.md"
PEOPLE, PREVALENCE = 6_000, 0.0005


def quiet(what: str, done: int, total: int) -> None:
    del what, done, total


@pytest.mark.faults
def test_three_small_banks_with_hardly_a_case_are_told_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fieldfare.client.own_model.stack.own_grid", quick_grid)
    text = DOCS.read_text("utf-8")
    assert f"--people {PEOPLE} --prevalence {PREVALENCE}" in text
    found = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    file = tmp_path / "three.toml"
    file.write_text(found[1], encoding="utf-8")
    source = WorldTerms(PEOPLE, PREVALENCE, load_institutions(file))
    task = JoinTask(banks_study(), source, (0,), tmp_path / "join", (1.0,), whole=False)
    figures = join(task, quiet)
    assert figures["verdict"]["word"] == "no", figures["verdict"]
    assert [one["word"] for one in figures["institutions"]] == ["too few to say"] * 3
    page = (task.out / PAGE).read_text("utf-8")
    assert f"<strong>{answer(figures)}</strong>" in page

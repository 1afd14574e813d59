"""What people read of a sweep: a page without outside resources, and 80 columns."""

import re

import pytest
from rich.console import Console
from tests.simulations.conftest import SimulationFolder
from tests.simulations.sweeps.conftest import MakePlan, rows_of

from fieldfare.simulations.sweeps.page import sweep_page
from fieldfare.simulations.sweeps.points import SweepGrid
from fieldfare.simulations.sweeps.running import sweep
from fieldfare.simulations.sweeps.screen import sweep_screen
from fieldfare.simulations.sweeps.summary import Summary


def screen_of(summary: Summary) -> list[str]:
    console = Console(width=80, record=True, file=None, highlight=False)
    with console.capture() as found:
        console.print(sweep_screen(summary, "small", {"Table": "out/sweep.parquet"}))
    return found.get().splitlines()


PLACES = [(epsilon, count) for epsilon in (1.0, 8.0) for count in (3, 5)]


@pytest.fixture
def summary() -> Summary:
    shift = {place: 0.01 * number for number, place in enumerate(PLACES)}
    pairs = {at: ([0.21, 0.34], [0.25 + up, 0.39 + up]) for at, up in shift.items()}
    return Summary(rows_of(pairs), 0.2)


def test_page_and_screen_say_what_the_table_says(summary: Summary) -> None:
    page, screen = sweep_page("<small>", summary), screen_of(summary)
    assert max(map(len, screen)) <= 80
    assert "<small>" not in page.split("<body>")[1].split("<main>")[0].replace("&lt;small&gt;", "")
    assert not re.search(r"(src|href)=\"?(https?:)?//|<script", page)
    assert [title in page for title in ("Utility", "Gain over alone", "Rounds and bytes")] == [
        True
    ] * 3
    for place in summary.places:
        gain = summary.gain(place)
        assert gain is not None
        assert f"{gain.value:+.3f}" in page
        assert f"{gain.value:+.3f}" in "\n".join(screen)
        alone = summary.mean(place, summary.joined)
        assert alone is not None
        assert f"{alone.value:.3f}" in page
    assert sweep_page("<small>", summary) == page  # the same table gives the same bytes
    assert any("from epsilon" in line or "not known to pay" in line for line in screen)


def test_one_seed_and_one_point_promise_nothing() -> None:
    summary = Summary(rows_of({(1.0, 3): ([0.2], [0.3])}), 0.2)
    assert any("One seed does not tell" in line for line in screen_of(summary))
    page = sweep_page("small", summary)
    assert "<svg" not in page
    assert "not known" in page


def test_runs_that_did_not_end_are_said(make_plan: MakePlan, work: SimulationFolder) -> None:
    table = sweep(SweepGrid.of(make_plan(dropouts=(0.9,))), work.folder / "left")
    summary = Summary(table.to_pylist(), 0.2)
    assert "as the study fixes them" in sweep_page("small", summary)
    assert any("1 not ended" in line for line in screen_of(summary))

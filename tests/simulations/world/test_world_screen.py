"""A world on the terminal."""

from pathlib import Path

from rich.console import Console

from fieldfare.simulations.world.making import WorldPlan
from fieldfare.simulations.world.marginals import world_screen
from fieldfare.simulations.world.writing import write_world


def test_the_screen_shows_institutions_lives_and_scenarios(tmp_path: Path) -> None:
    found = write_world(WorldPlan.of(people=800, months=1, seed=0, prevalence=0.05), tmp_path / "w")
    console = Console(width=110)
    with console.capture() as capture:
        console.print(world_screen(found, "out/w"))
    said = capture.get()
    assert f"{found['totals']['transactions']:,} transactions" in said
    assert "bank-d" in said
    assert "Look-alikes: labelled negatives" in said
    assert "S4_labour" in said
    assert all(len(line) <= 110 for line in said.splitlines())

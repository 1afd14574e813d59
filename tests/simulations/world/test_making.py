"""A world made: the same plan gives the same world, and plans that cannot be are refused."""

import numpy as np
import pytest
from tests.simulations.world.conftest import Written

from fieldfare.shared.errors import UsageError
from fieldfare.simulations.world.making import BLOCK, WorldPlan, blocks, make_society


def test_blocks_cover_every_customer_once(written: Written) -> None:
    society = written.society
    for holder in range(len(society.plan.holders)):
        rows = [block.rows for block in blocks(society, holder)]
        assert np.concatenate(rows).tolist() == society.customers_of(holder).tolist()
        assert max(part.size for part in rows) <= BLOCK


def test_only_ring_members_have_lines_that_serve_a_ring(written: Written) -> None:
    society = written.society
    for block in blocks(society, 1):
        assert society.labels[block.lines.unit[block.served]].all()


def test_prevalence_is_exact(written: Written) -> None:
    society = written.society
    assert society.labels[society.customers.main].sum() == 200  # 5 % of 4,000
    assert make_society(WorldPlan.of(people=600, months=1, seed=0, prevalence=0)).labels.sum() == 0


def test_one_concern_does_not_move_another() -> None:
    """More rings leave everybody else's person, bank and home alone."""
    few, many = (
        make_society(WorldPlan.of(people=2_000, months=1, seed=3, prevalence=p))
        for p in (0.01, 0.03)
    )
    same = ~few.labels & ~many.labels
    for name in ("person", "holder", "home", "device", "opened"):
        one, two = (getattr(society.customers, name)[same] for society in (few, many))
        assert (one == two).all(), name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"people": 499}, "people"),
        ({"people": 10_000_001}, "people"),
        ({"months": 0}, "months"),
        ({"months": 25}, "months"),
        ({"prevalence": 0.21}, "prevalence"),
        ({"prevalence": float("nan")}, "prevalence"),
        ({"version": 0}, "version"),
    ],
)
def test_what_no_world_can_be_is_refused(change: dict[str, float], said: str) -> None:
    asked = {"people": 1_000, "months": 1, "seed": 0, "prevalence": 0.01, **change}
    with pytest.raises(UsageError, match=said):
        WorldPlan.of(**asked)  # type: ignore[arg-type]

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.scoring.selection import (
    AlertBudget,
    alerted,
    choose,
    parse_suppression,
    queue_of,
    review_order,
)
from fieldfare.shared.errors import UsageError


def draw(units: int, budget: AlertBudget, *, seed: int = 0, resting: int = 0) -> list[int]:
    ranks = np.arange(1, units + 1)
    eligible = np.arange(units) >= resting
    found = choose(ranks, eligible, budget, np.random.default_rng(seed))
    return [int(one) for one in found]


def test_the_top_is_chosen_and_a_twentieth_is_drawn_below() -> None:
    chosen = draw(1000, AlertBudget(units=40))
    assert chosen[:40] == [1] * 40
    assert (chosen.count(1), chosen.count(2)) == (40, 2)


def test_the_sample_is_random_and_from_everywhere_below() -> None:
    budget = AlertBudget(units=10)
    drawn = {draw(30, budget, seed=seed).index(2) for seed in range(300)}
    assert drawn == set(range(10, 30))


def test_who_rests_is_not_chosen_and_uses_up_nothing() -> None:
    chosen = draw(100, AlertBudget(units=5), resting=3)
    assert chosen[:8] == [0, 0, 0, 1, 1, 1, 1, 1]
    shared = draw(100, AlertBudget(share=0.05), resting=50)  # a share of everybody
    assert (shared.count(1), shared[50:55]) == (5, [1] * 5)


@given(st.integers(0, 50), st.integers(0, 60), st.floats(0, 1))
def test_nobody_is_chosen_twice_and_the_budget_holds(units: int, asked: int, below: float) -> None:
    chosen = draw(units, AlertBudget(units=asked, below_line=below))
    assert chosen.count(1) == min(units, asked)
    assert chosen.count(2) <= units - chosen.count(1)


def test_a_share_of_everybody_is_a_budget() -> None:
    assert AlertBudget(share=0.01).alerts(1000) == 10
    assert AlertBudget(share=0.0001).alerts(1000) == 1
    assert AlertBudget(units=0).alerts(1000) == 0  # nobody scores above a released cut


def test_a_suppression_list_names_units_and_reasons() -> None:
    found = parse_suppression(
        "unit,reason\nc1,survivor in recovery\n\n c2 , court order\n", "s.csv"
    )
    assert found == {"c1": "survivor in recovery", "c2": "court order"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "header"),
        ("unit\nsecret", "header"),
        ("unit,reason\nsecret,", "row 1"),
        ("unit,reason\nsecret", "row 1"),
        ("unit,reason\nsecret,a\nsecret,b", "row 2"),
    ],
)
def test_a_wrong_list_is_refused_without_a_value(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_suppression(text, "s.csv")
    assert "secret" not in str(caught.value)


def test_the_tier_comes_before_the_score_and_the_score_before_chance() -> None:
    scores = np.array([5.0, 1.0, 1.0, 3.0])
    tiers = np.array([0, 1, 1, 1], np.int8)
    assert review_order(scores, tiers, np.array([0, 9, 1, 0])).tolist() == [3, 2, 1, 0]
    assert review_order(scores).tolist()[:2] == [0, 3]


def test_the_order_of_the_file_finds_nobody() -> None:
    """Among equals no unit is reviewed for where it stands: files list cases first."""
    level, first = np.zeros(1000), np.arange(1000) < 100
    for queue in (level, queue_of(level), queue_of(level, np.zeros(1000, np.int8))):
        found = alerted(queue, AlertBudget(units=100))
        assert found.sum() == 100
        assert (found & first).sum() < 25  # ten by chance
        assert (found == alerted(level, AlertBudget(units=100))).all()  # alike for all models


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 1), st.booleans()), max_size=40))
def test_a_queue_holds_who_may_be_reviewed_in_the_order_of_review(
    drawn: list[tuple[float, int, bool]],
) -> None:
    scores, tier, out = (np.array([one[at] for one in drawn]) for at in range(3))
    tiers, excluded = tier.astype(np.int8), out.astype(np.bool_)
    queue = queue_of(scores.astype(float), tiers, excluded)
    assert len(np.unique(queue[~excluded])) == int((~excluded).sum())
    if len(drawn):
        chosen = alerted(queue, AlertBudget(units=5))
        assert chosen.sum() == min(5, int((~excluded).sum()))
        assert not (chosen & excluded).any()
        rest = ~excluded & ~chosen
        if chosen.any() and rest.any():
            key = tiers.astype(float) * 100 + scores.astype(float)
            assert key[chosen].min() >= key[rest].max()

"""Tries are bounded for each key, come back with time, and one key takes nothing from another."""

from fieldfare.shared.console.turns import MOST_KEYS, Turns


def test_turns_end_and_come_back() -> None:
    turns = Turns(burst=3, every=10.0)
    assert [turns.take("a", 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert turns.take("a", 100.0) == 10.0
    assert turns.take("a", 104.0) == 6.0
    assert turns.take("b", 104.0) == 0.0
    assert turns.take("a", 110.0) == 0.0
    assert turns.take("a", 110.0) > 0


def test_a_refused_try_costs_nothing_more() -> None:
    turns = Turns(burst=1, every=10.0)
    turns.take("a", 0.0)
    assert [turns.take("a", 5.0) for _ in range(100)] == [5.0] * 100
    assert turns.take("a", 10.0) == 0.0


def test_who_succeeds_gets_all_turns_back() -> None:
    turns = Turns(burst=2, every=1000.0)
    turns.take("a", 0.0)
    turns.give_back("a")
    assert [turns.take("a", 0.0) for _ in range(2)] == [0.0, 0.0]


def test_many_names_fill_no_memory() -> None:
    turns = Turns(burst=1, every=1000.0)
    for number in range(MOST_KEYS + 10):
        turns.take(str(number), 0.0)
    assert turns.take(str(MOST_KEYS), 0.0) > 0
    assert turns.take("0", 0.0) == 0.0

"""The search finds the old attacks under the old rules, and nothing under all of them."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.security.protocol_model.parties import Rules
from tests.security.protocol_model.scenarios import ATTACKS, BEFORE, LIMITS, THREE, Attack
from tests.security.protocol_model.search import Bounds, Search, explore
from tests.security.protocol_model.terms import (
    PRIME,
    Row,
    Symbol,
    noise_views,
    reads_alone,
    reduced,
)

ANY = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
NEEDED = [attack for attack in ATTACKS if attack.rule]


@ANY
def test_the_attack_is_found_in_the_protocol_as_it_was(attack: Attack) -> None:
    found = explore(BEFORE, attack.bounds, attack.promise, deep=attack.long)
    assert found.broken == attack.promise
    assert found.trace  # a shortest way there


@pytest.mark.parametrize("attack", NEEDED, ids=lambda attack: f"{attack.rule}: {attack.name}")
def test_without_its_rule_alone_the_attack_works_again(attack: Attack) -> None:
    rules = replace(Rules(), **{attack.rule: False})
    found = explore(rules, attack.bounds, attack.promise, deep=attack.long)
    assert found.broken == attack.promise


@pytest.mark.parametrize(
    "attack", [a for a in ATTACKS if not a.long], ids=lambda attack: attack.name
)
def test_under_all_rules_every_state_keeps_every_promise(attack: Attack) -> None:
    found = explore(Rules(), attack.bounds)
    assert (found.broken, found.trace) == ("", ())


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.name)
def test_what_the_rules_do_not_end_is_found_too(limit: Attack) -> None:
    assert explore(Rules(), limit.bounds, limit.promise, deep=True).broken == limit.promise


def test_an_honest_run_comes_to_its_end() -> None:
    """A model in which nobody can do anything would keep every promise, too."""
    search = Search(Rules(), replace(THREE, heads=True))
    state, steps = search.start(), 0
    while True:
        after = [s for move, s in search.moves(state) if "killed" not in move]
        if not after:
            break
        state, steps = after[0], steps + 1
    assert [len(copy.disk.accepted) for copy in state.copies] == [1, 1]
    assert [len(copy.disk.cosigned) for copy in state.copies] == [1, 1]
    assert {name for name, _, _ in state.replies} == {"a", "b"}
    assert noise_views(state.seen(), "a") == 1


WIDE = Bounds(
    ("a", "b", "d"),
    ("c", "e"),
    (("a", "b", "c", "d", "e"), ("a", "b", "d", "e"), ("a", "b", "c", "d")),
    tolerance=2,
    openings=3,
    runs=2,
    steps=2,
    attempts=2,
    choices=2,
    restarts=2,
    restores=1,
    heads=True,
)


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(st.integers(0, 2**16), min_size=5, max_size=60))
def test_long_walks_with_five_institutions_keep_every_promise(turns: list[int]) -> None:
    search = Search(Rules(), WIDE)
    state = search.start()
    for turn in turns:
        after = [s for _, s in search.moves(state)]
        if not after:
            break
        state = after[turn % len(after)]
        assert search.broken(state) == ""


SYMBOLS = [Symbol(kind, who, (n,)) for kind in ("mask", "signal") for who in "ab" for n in (0, 1)]
ROWS = st.lists(
    st.dictionaries(st.sampled_from(SYMBOLS), st.integers(-2, 2).filter(bool), max_size=5),
    max_size=5,
)


def _rank(rows: list[dict[Symbol, Fraction]]) -> int:
    """Gauss over the rationals: slow, exact."""
    left, rank = [dict(row) for row in rows], 0
    for column in SYMBOLS:
        pivot = next((row for row in left if row.get(column)), None)
        if pivot is None:
            continue
        left.remove(pivot)
        rank += 1
        for row in left:
            factor = row.get(column, Fraction(0)) / pivot[column]
            for symbol, value in pivot.items():
                row[symbol] = row.get(symbol, Fraction(0)) - factor * value
    return rank


@given(rows=ROWS)
def test_elimination_leaves_what_exact_arithmetic_leaves(rows: list[dict[Symbol, int]]) -> None:
    kept = reduced([{s: v % PRIME for s, v in row.items()} for row in rows], _is_mask)
    exact = [{s: Fraction(v) for s, v in row.items()} for row in rows]
    masks = [{s: v for s, v in row.items() if _is_mask(s)} for row in exact]
    assert len(kept) == _rank(exact) - _rank(masks)
    assert not any(_is_mask(s) for row in kept for s in row)


def _is_mask(symbol: Symbol) -> bool:
    return symbol.kind == "mask"


def test_a_difference_of_two_sums_reads_who_is_in_one_of_them() -> None:
    a, b = Symbol("signal", "a", (0,)), Symbol("signal", "b", (0,))
    both: Row = {a: 1, b: 1}
    assert not reads_alone([both], "a")
    assert reads_alone([both, {b: 1}], "a")

"""The search finds the old attacks under the old rules, and nothing under all of them."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.security.protocol_model.parties import Rules
from tests.security.protocol_model.promises import broken_promise
from tests.security.protocol_model.scenarios import (
    ATTACKS,
    BEFORE,
    FORGOTTEN,
    LIMITS,
    STUDIES,
    THREE,
    Attack,
)
from tests.security.protocol_model.search import Search, explore
from tests.security.protocol_model.states import Bounds
from tests.security.protocol_model.terms import (
    PRIME,
    Row,
    Symbol,
    noise_views,
    reads_alone,
    reduced,
)
from tests.support.rows import one_of_each

FOUND = [attack for attack in ATTACKS if not attack.nightly]
NEEDED = [attack for attack in FOUND if attack.rules]
SHORT = {attack.bounds: attack for attack in ATTACKS if not attack.long}  # each bounds once


@pytest.mark.parametrize(
    "attack", one_of_each(FOUND, lambda attack: attack.promise), ids=lambda attack: attack.name
)
def test_the_attack_is_found_in_the_protocol_as_it_was(attack: Attack) -> None:
    found = explore(BEFORE, attack.bounds, attack.promise, deep=attack.long)
    assert found.broken == attack.promise
    assert found.trace  # a shortest way there


@pytest.mark.parametrize(
    "attack",
    one_of_each(NEEDED, lambda attack: attack.promise),
    ids=lambda attack: f"{attack.rules}: {attack.name}",
)
def test_without_its_rules_alone_the_attack_works_again(attack: Attack) -> None:
    rules = attack.without(*attack.rules)
    found = explore(rules, attack.bounds, attack.promise, deep=attack.long)
    assert found.broken == attack.promise


@pytest.mark.parametrize("attack", SHORT.values(), ids=lambda attack: attack.name)
def test_under_all_rules_every_state_keeps_every_promise(attack: Attack) -> None:
    found = explore(Rules(), attack.bounds)
    assert (found.broken, found.trace) == ("", ())


@pytest.mark.promises
@pytest.mark.parametrize(
    "limit", [limit for limit in LIMITS if not limit.nightly], ids=lambda limit: limit.name
)
def test_what_the_rules_do_not_end_is_found_too(limit: Attack) -> None:
    assert explore(limit.under, limit.bounds, limit.promise, deep=True).broken == limit.promise


SEEN_BEFORE = (
    "a is backed up",
    *("a answers hello", "b answers hello", "opening", "a agrees", "b agrees"),
    *("a answers (0", "b answers (0", "c chooses", "a opens", "b opens", "b takes the sum"),
    *("a is restored", "a answers hello", "b answers hello", "opening", "a agrees"),
)  # the second opening is of a second run


@pytest.mark.parametrize(
    ("studies", "over", "found"),
    [(2, False, {FORGOTTEN}), (2, True, set()), (1, False, set()), (1, True, set())],
)
def test_a_reply_that_a_peer_saw_stops_the_next_opening_of_any_study(
    studies: int, over: bool, found: set[str]
) -> None:
    """One way through, not a search: where nobody is asked at a start, or a copy had been."""
    rules = replace(Rules(), everyone_asked=False, over_studies=over)
    bounds = replace(STUDIES, studies=studies, restores=1, sums_shown=True)
    search = Search(rules, bounds)
    states = [search.start()]
    for words in SEEN_BEFORE:
        moves = [pair for state in states for pair in search.moves(state)]
        states = [after for move, after in moves if move.startswith(words)]
    assert {broken_promise(bounds, state) for state in states} == found


BOTH_RESTORED = (
    *("a answers hello", "a is backed up", "b answers hello", "b is backed up", "opening"),
    *("a agrees", "a answers (0", "b agrees", "b answers (0", "c chooses"),
    *("a opens", "a is restored", "b opens", "b is restored"),
)


@pytest.mark.parametrize("witnesses", [(), ("a", "b")])
def test_what_left_stays_known_to_a_witness_elsewhere(witnesses: tuple[str, ...]) -> None:
    bounds = replace(THREE, restores=2, sums_shown=False, witnesses=witnesses)
    search = Search(Rules(), bounds)
    states = [search.start()]
    for words in BOTH_RESTORED:
        moves = [pair for state in states for pair in search.moves(state)]
        states = [after for move, after in moves if move.startswith(words)]
    broken = "" if witnesses else "a release without a debit"
    assert {broken_promise(bounds, state) for state in states} == {broken}
    asked = {move for state in states for move, _ in search.moves(state) if "witness" in move}
    assert not asked  # it holds replies that the homes lack: nothing goes on


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
    (("a", "b", "c", "d", "e"), ("a", "b", "c", "e"), ("a", "c", "d", "e")),
    tolerance=2,
    openings=3,
    runs=2,
    studies=2,
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
        assert broken_promise(WIDE, state) == ""


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

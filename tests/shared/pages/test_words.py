"""How numbers and strangers' names are written."""

import math

import pytest

from fieldfare.shared.pages import words
from fieldfare.shared.terminal.texts import short


def test_names_lose_what_could_steer_a_terminal_or_a_page() -> None:
    hostile = {"a\x1b[2J": ["x\u202ey", "one\ntwo\tthree", "\ud800", 3, None]}
    cleaned = words.plain(hostile)
    assert cleaned == {"a\ufffd[2J": ["x\ufffdy", "one two three", "\ufffd", 3, None]}


def test_best_guess_is_the_exact_bound_rounded_up() -> None:
    # mu = 0 leaves a coin toss; mu = 1: Phi(1/2) = .6915; a large mu gives everything away.
    assert [words.best_guess(mu2) for mu2 in (0.0, 1.0, 400.0)] == ["50", "70", "100"]


@pytest.mark.parametrize(
    ("epsilon", "said"),
    [(0.0, "1.00"), (1.0, "2.72"), (2.52, "12.5"), (5.0, "149"), (50.0, "more than a million")],
)
def test_odds(epsilon: float, said: str) -> None:
    assert words.odds_factor(epsilon) == said
    assert words.odds_factor(math.inf) == "more than a million"


def test_numbers_are_written_the_same_everywhere() -> None:
    assert [words.decimals(x) for x in (0.12345, None)] == ["0.123", "-"]
    assert [words.signed(x, 1) for x in (0.25, -1.0, None)] == ["+0.2", "-1.0", "-"]
    assert [short(x) for x in (1e-6, 0.123456, None)] == ["1e-06", "0.1235", "-"]
    assert [words.number(x) for x in (1234.5, 12.3456, math.inf, None)] == [
        "1,234",
        "12.35",
        "-",
        "-",
    ]
    assert [words.number(x, 3) for x in (0.123456, 12.3456)] == ["0.123", "12.3"]
    assert [words.percent(x) for x in (0.0123, None)] == ["1.2%", "-"]
    assert [words.one_in(x) for x in (1e-6, 0.0)] == ["1 in 1,000,000", "0"]

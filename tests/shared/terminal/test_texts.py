"""Words on a terminal: of strangers, of many, of times."""

from datetime import timedelta

import pytest

from fieldfare.shared.terminal.texts import (
    ago,
    ascii_line,
    bar,
    counted,
    cut,
    duration,
    elapsed,
    folded,
    listed,
    plain,
)


def test_plain_text_is_cut_where_it_is_too_long() -> None:
    assert plain("abc", 3) == "abc"
    assert plain("a\nb\tc", 10) == "a b c"
    assert plain("abcdefgh", 6) == "abc..."
    assert plain("x" * 3000) == cut("x" * 3000, 2000)


def test_nothing_that_moves_a_cursor_or_turns_a_line_is_plain() -> None:
    assert plain("a\x00b\x1b[2J\u202ec\u2028d\ud800") == "a b [2J c d "


def test_a_line_for_logs_is_ascii_with_single_spaces() -> None:
    assert ascii_line(" a\n\tb\x1b[2J \u9280 c ") == "a b [2J c"


@pytest.mark.parametrize(
    ("names", "said"), [((), ""), (("a",), "a"), (("a", "b"), "a, b"), ("abcde", "a, b and 3 more")]
)
def test_of_many_the_first_are_listed(names: tuple[str, ...], said: str) -> None:
    assert listed(names, 2) == said


def test_one_is_no_plural() -> None:
    found = [counted(1, "step"), counted(2, "step"), counted(2, "entry", "entries")]
    assert found == ["1 step", "2 steps", "2 entries"]


def test_lines_are_folded_beside_their_head() -> None:
    assert folded("a  ", "one two-three\nfour", 12) == ["a  one", "   two-three", "   four"]
    assert folded("a  ", "") == ["a  "]


def test_a_bar_is_as_wide_as_it_is_told() -> None:
    assert (bar(0, 3), bar(2, 3, "."), bar(3, 3)) == ("[---]", "[##.]", "[###]")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7200, "2 h ago"), (90_000, "1 d ago")],
)
def test_how_long_ago(seconds: float, said: str) -> None:
    assert ago(timedelta(seconds=seconds)) == said


def test_a_unit_counts_from_two_on_where_that_is_asked() -> None:
    spans = [timedelta(seconds=s) for s in (119, 120, 7199, 172_800)]
    found = [elapsed(span, least=2, day="days") for span in spans]
    assert found == ["119 s", "2 min", "119 min", "2 days"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (5400, "1.5 h")]
)
def test_how_long(seconds: float, said: str) -> None:
    assert duration(seconds) == said

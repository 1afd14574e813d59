import pytest

from fieldfare.shared.terminal.screen import WIDTH, console, plain


def test_plain_text_is_cut_where_it_is_too_long() -> None:
    assert plain("abc", 3) == "abc"
    assert plain("a\nb\tc", 10) == "a b c"
    assert plain("abcdefgh", 6) == "abc..."


def test_without_a_terminal_the_width_is_fixed(capsys: pytest.CaptureFixture[str]) -> None:
    assert console().width == WIDTH

"""Where commands write: the terminal as it is, a fixed width into pipes; tables and facts."""

import io
import sys

import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from fieldfare.shared.terminal.screen import WIDTH, console, facts, table


def shown(what: RenderableType, width: int = 40) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(what)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_pipe_has_a_fixed_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", "40")
    assert console().width == WIDTH


def test_a_terminal_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm")
    assert (console().is_terminal, console().width) == (True, 90)


def test_a_table_puts_numbers_to_the_right_and_reads_no_markup() -> None:
    rows: list[tuple[str | Text, str]] = [("[red]a\x1b[2J", "7"), (Text("b"), "1,200")]
    assert shown(table(("name", "count"), rows, numbers=["count"])) == [
        "name        count",
        "[red]a [2J      7",
        "b           1,200",
    ]


def test_a_column_that_is_whole_is_never_folded() -> None:
    long, narrow = "0123456789 abcdefghij", 16
    assert shown(table(("id", "why"), [("0123", long)], whole=["id"]), narrow) == [
        "id    why",
        "0123  0123456789",
        "      abcdefghij",
    ]


def test_facts_stand_beside_their_topics() -> None:
    assert shown(facts([("study", "pay\nments"), ("", Text("and more"))])) == [
        "study  pay ments",
        "       and more",
    ]

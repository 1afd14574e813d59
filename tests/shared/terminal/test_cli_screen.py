"""Where commands write: the terminal as it is, a fixed width into pipes."""

import io
import sys

import pytest

from fieldfare.shared.terminal.screen import WIDTH, console


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

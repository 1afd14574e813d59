"""What a parent writes to its child's standard input, and what the child reads of it."""

import os

import pytest

from fieldfare.shared.system.processes import MOST_GIVEN, given_line, read_given


@pytest.mark.parametrize(
    ("given", "read"),
    [(b"secret\nmore", b"secret"), (b"\n", None), (b"", None), (b"x" * 9000, b"x" * MOST_GIVEN)],
)
def test_one_line_is_read_and_no_more(
    given: bytes, read: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = os.pipe()
    os.write(writing, given)
    os.close(writing)
    real = os.read
    monkeypatch.setattr(os, "read", lambda _, count: real(reading, count))
    assert read_given() == read
    monkeypatch.undo()
    os.close(reading)


def test_lines_come_one_after_another_and_the_rest_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading, writing = os.pipe()
    os.write(writing, given_line(b"token") + given_line(b"pass phrase \xff") + b"rest")
    real = os.read
    monkeypatch.setattr(os, "read", lambda _, count: real(reading, count))
    assert [read_given(), read_given()] == [b"token", b"pass phrase \xff"]
    monkeypatch.undo()
    assert os.read(reading, 10) == b"rest"
    os.close(reading)
    os.close(writing)


def test_no_secret_is_an_empty_line() -> None:
    assert given_line(None) == b"\n"

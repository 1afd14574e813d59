"""Logs of JSON lines, newest first, in parts: nothing twice, nothing left out."""

import json
from itertools import chain
from pathlib import Path

import pytest

from fieldfare.server.home import log_lines
from fieldfare.server.home.log_lines import newest_entries
from fieldfare.shared.errors import RunError


def written(path: Path, numbers: range) -> None:
    with path.open("a") as file:
        file.writelines(f"{json.dumps({'n': number, 'x': 'y' * number})}\n" for number in numbers)


def numbers(path: Path, most: int, every: int = 1) -> list[list[int]]:
    """The numbers of each part until the log's begin."""
    found, before = [], None
    while True:
        part = newest_entries(path, lambda one: one["n"] % every == 0, most, before)
        found.append([one["n"] for one in part.entries])
        before = part.older
        if before is None:
            return found


@pytest.mark.parametrize(("block", "read"), [(7, 100_000), (64, 300), (1000, 1000), (10**6, 10**6)])
def test_parts_hold_each_entry_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, read: int
) -> None:
    monkeypatch.setattr(log_lines, "BLOCK", block)
    monkeypatch.setattr(log_lines, "MOST_READ", read)
    path = tmp_path / "log.jsonl"
    written(path, range(100))
    with path.open("a") as file:
        file.write('["odd"]\n\n{"n": cut')  # cut off by a full disk
    for most, every in ((7, 1), (1000, 1), (3, 10)):
        parts = numbers(path, most, every)
        assert [*chain(*parts)] == list(range(99, -1, -1))[(every - 1) % 10 :: every]
        assert max(map(len, parts)) <= most


def test_no_log_is_an_empty_one_and_a_folder_is_none(tmp_path: Path) -> None:
    none = newest_entries(tmp_path / "none", lambda _: True, 5)
    assert (none.entries, none.older) == ((), None)
    with pytest.raises(RunError, match="expected a log"):
        newest_entries(tmp_path, lambda _: True, 5)


def test_a_line_longer_than_a_look_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "MOST_READ", 300)
    path = tmp_path / "log.jsonl"
    written(path, range(2))
    written(path, range(1000, 1001))
    written(path, range(2, 4))
    assert [*chain(*numbers(path, 50))] == [3, 2, 1000, 1, 0]

"""Copies of several databases are of one moment, whoever writes meanwhile."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fieldfare.shared.errors import UsageError
from fieldfare.shared.sqlite.copies import all_held, check_database, copy_database


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """Two databases of which a writer raises the first, then the second."""
    paths = [tmp_path / "one.sqlite", tmp_path / "two.sqlite"]
    for path in paths:
        with closing(sqlite3.connect(path, isolation_level=None)) as link:
            link.execute("PRAGMA journal_mode = WAL")
            link.execute("CREATE TABLE number (value INTEGER)")
            link.execute("INSERT INTO number VALUES (0)")
    return paths


@pytest.fixture
def writing(pair: list[Path]) -> Iterator[None]:
    """A writer in a loop: what stands in the first file stands in the second right after."""
    stop = threading.Event()

    def loop() -> None:
        links = [sqlite3.connect(path, isolation_level=None, timeout=30) for path in pair]
        value = 0
        while not stop.is_set():
            value += 1
            for link in links:
                link.execute("UPDATE number SET value = ?", (value,))
        for link in links:
            link.close()

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    stop.set()
    thread.join()


def value_in(path: Path) -> int:
    with closing(sqlite3.connect(path)) as link:
        return int(link.execute("SELECT value FROM number").fetchone()[0])


@pytest.mark.usefixtures("writing")
def test_copies_under_the_locks_are_of_one_moment(pair: list[Path], tmp_path: Path) -> None:
    before = 0
    for turn in range(12):
        while value_in(pair[1]) <= before:  # SQLite lets a waiting writer starve
            time.sleep(0.001)
        copies = [tmp_path / f"{turn}-{path.name}" for path in pair]
        with all_held(pair):
            for path, copy in zip(pair, copies, strict=True):
                copy_database(path, copy)
        one, two = map(value_in, copies)
        assert one - two in {0, 1}, "the second file was copied later than the first"
        before = two


def test_a_file_that_stays_locked_is_named(pair: list[Path]) -> None:
    with (
        all_held(pair[1:]),
        pytest.raises(UsageError, match=r"two\.sqlite.*locked"),
        all_held(pair, busy_seconds=0.05),
    ):
        pass
    with all_held(pair):  # nothing of the failed one is left
        pass


def test_a_damaged_file_and_a_taken_name_are_refused(pair: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a new file"):
        copy_database(pair[0], pair[1])
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(UsageError, match=r"damaged\.sqlite"):
        check_database(damaged)

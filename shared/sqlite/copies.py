"""Copies of several SQLite files that are in use, all as of one moment.

Every file's write lock is held while all are copied: whoever writes waits, readers do not. A copy
is made by SQLite's own backup over a second connection, for a file that is being written must not
be read as bytes ("How To Corrupt An SQLite Database File", 1.2).
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.system.private_files import create_private

BUSY_SECONDS: Final = 30.0  # the longest single write of others


@contextmanager
def all_held(paths: Sequence[Path], busy_seconds: float = BUSY_SECONDS) -> Iterator[None]:
    """Keep everybody from writing into any of these files.

    Args:
        paths: of SQLite files that exist, in the order in which writers take them.
        busy_seconds: how long to wait for each.

    Raises:
        UsageError: one is locked for longer, damaged, or not writable.
    """
    with ExitStack() as stack:
        for path in paths:
            with _faults(path):
                uri = f"{path.absolute().as_uri()}?mode=rw"
                link = sqlite3.connect(uri, timeout=busy_seconds, isolation_level=None, uri=True)
                stack.enter_context(closing(link))
                link.execute("BEGIN IMMEDIATE")
        yield


def copy_database(path: Path, to: Path) -> None:
    """Copy what is committed into a new file, mode 0600.

    Nobody can write while it copies: `check_database` looks at the copy afterwards.

    Raises:
        UsageError: the file is damaged, something is at `to`, or it cannot be written.
    """
    create_private(to, b"")
    with _faults(path), closing(_to_read(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whatever the source keeps beside


def check_database(path: Path) -> None:
    """Let SQLite compare every page and index of a file that nobody else uses.

    Raises:
        UsageError: the first problem.
    """
    with _faults(path), closing(_to_read(path)) as link:
        found = link.execute("PRAGMA integrity_check(1)").fetchall()
    if found != [("ok",)]:
        raise UsageError(f"{path.name}: expected an undamaged database, found {found[0][0]}")


def _to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UsageError(
            f"{path}: expected a database that can be copied, found: {error}: let other processes "
            "finish, look at the disk, then repeat"
        ) from error

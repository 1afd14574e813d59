"""The version of a SQLite file's tables, found without writing a byte or waiting for anybody."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

OPEN_EARLIER: Final = (
    "an earlier build wrote it; open the home with the build of 29 November 2026 (commit ca71956f) "
    "first, which brings it up to date (docs/upgrade.md); nothing was changed"
)


def version_in(path: Path) -> int | None:
    """Return the version of the tables of a file; None where it says none, or cannot be read now.

    Whoever opens the file to use it looks again, under its lock (database.py).
    """
    beside = path.with_name(f"{path.name}-wal")
    try:
        # Without a log, nobody has to lay an index of it beside the file: a look leaves nothing.
        held = beside.stat().st_size > 0 if beside.exists() else False
        mode = "mode=ro" if held else "immutable=1"
        uri = f"{path.absolute().as_uri()}?{mode}"
        with closing(sqlite3.connect(uri, timeout=0, uri=True)) as link:
            return tables_version(lambda query: int(link.execute(query).fetchone()[0]))
    except (sqlite3.Error, OSError, TypeError):
        return None


def tables_version(number: Callable[[str], int]) -> int:
    """Return the version of a database's tables; 0 is an empty one.

    Args:
        number: runs a query that finds one whole number.
    """
    named = number("SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'")
    query = "SELECT coalesce(max(version), 0) FROM migrations" if named else "PRAGMA user_version"
    return number(query)

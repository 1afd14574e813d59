"""The version of a SQLite file's tables, found without writing a byte or waiting for anybody."""

import sqlite3
from contextlib import closing
from pathlib import Path


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
            return _version(link)
    except (sqlite3.Error, OSError, TypeError):
        return None


def _version(link: sqlite3.Connection) -> int:
    query = "SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'"
    listed = link.execute(query).fetchone() == (1,)
    query = "SELECT coalesce(max(version), 0) FROM migrations" if listed else "PRAGMA user_version"
    return int(link.execute(query).fetchone()[0])

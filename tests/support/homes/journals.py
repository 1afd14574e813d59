"""What stands in an institution's log, as a test reads it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fieldfare.client.journal.journal import FILE, read


def logged_text(folder: Path) -> str:
    """Every entry as a line; nothing where no log was ever begun."""
    entries = read(folder) if (folder / FILE).exists() else []
    return "".join(entry.line.decode() + "\n" for entry in entries)


def logged(folder: Path) -> list[dict[str, Any]]:
    """Every entry as the object that it is."""
    return [json.loads(line) for line in logged_text(folder).splitlines()]


def rewrite_entries(folder: Path) -> None:
    """Change every entry, as somebody with the account and no scruples."""
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.executescript("DROP TRIGGER entries_UPDATE; UPDATE entries SET line = '{}'")

"""The coordinator's logs of JSON lines, newest first: a part of a long one at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from fieldfare.shared.errors import RunError

BLOCK: Final = 256 * 1024  # bytes that are read at once
MOST_READ: Final = 16 * 1024 * 1024  # bytes that one look reads

Entry = dict[str, Any]


@dataclass(frozen=True)
class LogPart:
    """Entries of a log, newest first.

    Attributes:
        entries: those that were asked for.
        older: the place in bytes before which others may stand; None: the log's begin was seen.
    """

    entries: tuple[Entry, ...]
    older: int | None


def newest_entries(
    path: Path, fits: Callable[[Entry], bool], most: int, before: int | None = None
) -> LogPart:
    """Return the newest entries that fit; a line that is no entry is left out.

    Args:
        path: the log; none is an empty one.
        fits: tells which entries are asked for.
        most: how many of them.
        before: the place, in bytes, before which to look; None: the end.

    Raises:
        RunError: the file cannot be read.
    """
    found: list[tuple[int, Entry]] = []
    at: int | None = None
    for at, line in _lines(path, before):
        entry = _entry(line)
        if entry is None or not fits(entry):
            continue
        if len(found) == most:
            return LogPart(tuple(one for _, one in found), found[-1][0])
        found.append((at, entry))
    return LogPart(tuple(one for _, one in found), at or None)


def _entry(line: bytes) -> Entry | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # cut off by a full disk, or no line of ours
        return None
    return found if isinstance(found, dict) else None


def _lines(path: Path, before: int | None) -> Iterator[tuple[int, bytes]]:
    """Yield lines with their places, newest first, of at most `MOST_READ` bytes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            yield from _read(file, size if before is None else min(before, size))
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"{path}: expected a log, found: {error.strerror}") from None


def _read(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """Read backwards; at least one line, however long it is, so that each look comes further."""
    last, rest, found = end - MOST_READ, b"", False
    while end > 0 and (end > last or not found):
        begin = max(0, end - BLOCK)
        file.seek(begin)
        content = file.read(end - begin) + rest
        end = begin
        lines = content.splitlines(keepends=True)
        rest = b"" if begin == 0 else lines.pop(0)  # its begin may stand before
        at = begin + len(rest) + sum(map(len, lines))
        for line in reversed(lines):
            at, found = at - len(line), True
            yield at, line

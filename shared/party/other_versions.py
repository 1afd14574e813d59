"""Files that a later version wrote, or a too early one, are refused before anything is written."""

import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from fieldfare.shared.errors import UsageError
from fieldfare.shared.party.file_form import Form, NumberPlace
from fieldfare.shared.party.home_files import HomeFile, kind_of
from fieldfare.shared.sqlite.versions import OPEN_EARLIER, version_in

MOST_READ: Final = 1024 * 1024  # of a file; a reader refuses a larger one
MOST_LINE: Final = 64 * 1024
MOST_KEPT: Final = 16_384  # files, at some 500 bytes each
INSTALL_LATER: Final = (
    "a later version of Fieldfare wrote here: install that version, or restore an earlier backup "
    "(docs/upgrade.md); nothing was changed"
)
_HEADER_LENGTH: Final = 8  # safetensors
_PREFIX: Final = "fieldfare."


def refuse_other_versions(home: Path, table: Sequence[HomeFile], shown: Path | None = None) -> None:
    """Refuse a home in which a later version wrote, or one too early to be read.

    Nothing is written. A file that is no file of its kind, or that cannot be read now, is left to
    its reader.

    Args:
        home: the folder.
        table: of its files.
        shown: what people know the folder as, where it is another.

    Raises:
        UsageError: names every such file, what it has and what this version knows, a line each.
    """
    found = list(_unknown(home, table, shown or home))
    if found:
        remedies = dict.fromkeys(remedy for _, remedy in found)
        raise UsageError("\n".join([*(line for line, _ in found), *remedies]))


def _unknown(home: Path, table: Sequence[HomeFile], shown: Path) -> Iterator[tuple[str, str]]:
    for folder, below, names in os.walk(home):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name).relative_to(home)
            kind = kind_of(path.as_posix(), table)
            if kind is None:
                continue
            for said, number, newest in _numbers(home / path, kind.form):
                later = number > newest
                if later or 0 < number < kind.form.oldest:
                    limit = f"{newest} or earlier" if later else f"{kind.form.oldest} or later"
                    line = f"{shown / path}: expected {said} {limit}, found {number}"
                    yield line, INSTALL_LATER if later else OPEN_EARLIER
                    break


def _numbers(path: Path, form: Form) -> Iterable[tuple[str, int, int]]:
    """Return what is numbered, the number in the file, and the newest one that is known.

    A console opens its home for each page: what is said of a file stays while nobody touches it.
    A database is looked at each time, since what is written lies in its log first.
    """
    if form.numbered in {None, NumberPlace.SQLITE}:
        return _looked_up(path, form)
    try:
        found = path.stat()
    except OSError:
        return ()
    return _kept(path, form, (found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns))


@lru_cache(maxsize=MOST_KEPT)
def _kept(path: Path, form: Form, stood: tuple[int, ...]) -> tuple[tuple[str, int, int], ...]:
    del stood  # a part of the key alone: a file that was written or replaced has another
    return tuple(_looked_up(path, form))


def _looked_up(path: Path, form: Form) -> Iterator[tuple[str, int, int]]:
    if form.numbered is None:
        return
    if form.numbered is NumberPlace.SQLITE:
        version = version_in(path)
        if version is not None:
            yield "tables of version", version, form.newest
        return
    for said in _said(path, form.numbered):
        if form.numbered is NumberPlace.SIGNED:
            yield from _signed(said, form)
        elif (number := _number(said.get("format"))) is not None:
            yield "format", number, form.newest


def _said(path: Path, numbered: NumberPlace) -> list[dict[str, Any]]:
    try:
        said = list(_parsed(path, numbered))
    except (OSError, ValueError, RecursionError, AttributeError):
        return []
    return [one for one in said if isinstance(one, dict)]


def _parsed(path: Path, numbered: NumberPlace) -> Iterator[Any]:
    with path.open("rb") as file:
        if numbered is NumberPlace.SAFETENSORS:
            length = int.from_bytes(file.read(_HEADER_LENGTH), "little")
            yield json.loads(file.read(min(length, MOST_READ))).get("__metadata__")
            return
        if numbered is NumberPlace.LINES:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MOST_LINE))
        content = file.read(MOST_READ + 1)
    if len(content) > MOST_READ:
        return
    if numbered is NumberPlace.TOML:
        yield tomllib.loads(content.decode())
    elif numbered is NumberPlace.JSON:
        yield json.loads(content)
    else:
        lines = content.splitlines()
        yield from map(json.loads, lines if numbered is NumberPlace.SIGNED else lines[-1:])


def _number(said: object) -> int | None:
    """Return a number; safetensors' metadata holds nothing but text."""
    if isinstance(said, str) and said.isascii() and said.isdigit():
        return int(said[:9])
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _signed(said: dict[str, Any], form: Form) -> Iterator[tuple[str, int, int]]:
    kind, _, version = str(said.get("type", "")).removeprefix(_PREFIX).rpartition(".v")
    known = dict(form.types).get(kind)
    if known is not None and (number := _number(version)) is not None:
        yield f"version of {kind}", number, known
    for part in _parts(said.get("body")):
        if (number := _number(part.get("format"))) is not None:
            yield "format", number, form.newest


def _parts(body: object) -> Iterator[dict[str, Any]]:
    """Yield a body, and the papers in it, each of which has a format of its own."""
    if not isinstance(body, dict):
        return
    yield body
    for value in body.values():
        if isinstance(value, str) and value.startswith("{"):
            try:
                yield json.loads(value)
            except (ValueError, RecursionError):
                continue

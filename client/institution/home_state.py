"""A fingerprint of a home's state, taken without reading the content of its files.

A file's state is its modification time, its size and its inode. What a database server holds
cannot be seen from outside.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

from fieldfare.client.institution.building import Institution
from fieldfare.client.institution.home import Home

FileState = tuple[str, int, int, int]


def file_state(path: Path) -> FileState:
    """Return what tells one state of a file from another, also where there is none."""
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, -1, 0
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino


def standing_state(home: Home) -> tuple[FileState, ...]:
    """Return the state of everything that a custodian stands on.

    Of the ledger only which file it is: its content changes with every release, while another
    file in its place is a copy that was put back.
    """
    named = (home.settings, home.policy, home.coordinator_key, home.roster)
    keys = (home.identity_key, home.identity_public)
    ledger, *_, inode = file_state(home.ledger)
    return (*map(file_state, (*named, *keys)), (ledger, 0, 0, inode))


def decisions_state(home: Home) -> tuple[FileState, ...]:
    """Return the state of the home's studies and decisions; empty where they cannot be listed."""
    try:
        return tuple(file_state(path) for path in sorted(home.studies.iterdir()))
    except OSError:
        return ()


def records_state(institution: Institution) -> object:
    """Return the state of an institution's records: their settings, and the files named there."""
    named = [institution.home.holdout_key, *_named_files(institution)]
    return institution.settings.records, tuple(sorted(_states(named)))


def _named_files(institution: Institution) -> Iterator[Path]:
    for source in institution.settings.records:
        for name in ("path", "mapping", "uri_file"):
            text = getattr(source, name, None)
            if text is not None:
                yield institution.home.resolve(text)


def _states(paths: Collection[Path]) -> Iterator[FileState]:
    for path in paths:
        yield file_state(path)
        if path.is_dir():
            yield from (file_state(inside) for inside in path.rglob("*"))

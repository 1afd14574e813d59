"""A log of lines becomes rows, whole or not at all; what does not fit is named, and stays."""

import shutil
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import rfc8785
from tests.support.homes.journals import logged

from fieldfare.client.journal.entries import Event, JournalEntry, next_entry, parse_entry
from fieldfare.client.journal.journal import FILE, Journal, read, verify
from fieldfare.shared.canonical import chained_hash
from fieldfare.shared.errors import LedgerError

WRITTEN: Final = Path(__file__).parent / "old_log"  # by the version before rows: 5 entries
FIRST, SECOND, LAST, HEAD = "log-000001.jsonl", "log-000002.jsonl", "log.jsonl", "head.json"
NOON: Final = datetime(2025, 1, 2, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WRITTEN, tmp_path / "log"))


def opened(folder: Path) -> Journal:
    return Journal.open(folder, clock=lambda: NOON)


def old_lines() -> list[bytes]:
    return [
        line for path in sorted(WRITTEN.glob("log-*")) for line in path.read_bytes().splitlines()
    ] + [*(WRITTEN / LAST).read_bytes().splitlines()]


def test_an_old_log_goes_on_as_rows(folder: Path) -> None:
    assert verify(folder).sequence == 5  # as it is
    with opened(folder) as journal:
        assert journal.append(Event.START, "custodian").sequence == 6
    found = [*read(folder)]
    assert [entry.line for entry in found[:5]] == old_lines()
    assert found[5].previous == found[4].hash
    assert verify(folder) == found[5].mark
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "old"]
    for path in (folder / "old").glob("*.json*"):
        assert path.read_bytes() == (WRITTEN / path.name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    opened(folder).close()
    assert verify(folder).sequence == 6


def test_an_old_log_without_entries_begins_a_new_one(folder: Path) -> None:
    """What the version before left when it was killed at its very first start."""
    for name in (FIRST, SECOND, LAST):
        (folder / name).unlink()
    zero = "0" * 64
    content: dict[str, Any] = {
        "format": 1,
        "start": 0,
        "start_hash": zero,
        "file": 1,
        "end": 0,
        "end_hash": zero,
    }
    line = rfc8785.dumps(content | {"hash": chained_hash(b"fieldfare.journal.head.v1\0", content)})
    (folder / HEAD).write_bytes(line.ljust(511) + b"\n")
    opened(folder).close()
    assert verify(folder).sequence == 0


@pytest.mark.parametrize("rest", [b"{", b'{"actor":"custodian","det', b"\x00" * 40 + b"\n"])
def test_an_incomplete_line_is_left_out_and_noted(folder: Path, rest: bytes) -> None:
    with (folder / LAST).open("ab") as file:
        file.write(rest)
    opened(folder).close()
    note = logged(folder)[-1]
    assert (note["sequence"], note["event"], note["actor"]) == (6, "repair", "log")
    assert (folder / "old" / LAST).read_bytes().endswith(rest)


def ahead(folder: Path) -> JournalEntry:
    """An entry that reached the disk, where the head did not."""
    end = parse_entry(old_lines()[-1]).mark
    entry = next_entry(end, time=NOON, event=Event.STOP, actor="custodian", details={})
    with (folder / LAST).open("ab") as file:
        file.write(entry.line + b"\n")
    return entry


def test_lines_may_be_ahead_of_the_head(folder: Path) -> None:
    entry = ahead(folder)
    opened(folder).close()
    assert [*read(folder)][-1] == entry


def replaced(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        path = folder / name
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new))

    return harm


def shortened(name: str) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        path = folder / name
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))

    return harm


HARMS: Final = {
    "a changed entry": (replaced(FIRST, b'"step":0', b'"step":1'), f"{FIRST} line 2 .entry 2"),
    "a removed entry": (shortened(FIRST), f"{SECOND} line 1"),
    "a removed end": (shortened(LAST), "the end of the log was removed"),
    "a removed file": (lambda folder: (folder / FIRST).unlink(), f"{SECOND} line 1 .entry 1"),
    "a removed last file": (lambda folder: (folder / LAST).unlink(), "end of the log was removed"),
    "a removed head": (lambda folder: (folder / HEAD).unlink(), HEAD),
    "a changed head": (replaced(HEAD, b'"end":5', b'"end":4'), HEAD),
    "no head at all": (lambda folder: (folder / HEAD).write_bytes(b"\n"), HEAD),
    "a changed end": (replaced(LAST, b"schaal", b"schaar"), f"{LAST} line "),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_does_not_fit_is_named_and_nothing_changes(folder: Path, harm: str) -> None:
    do, named = HARMS[harm]
    do(folder)
    before = {path.name: path.read_bytes() for path in folder.glob("*.json*")}
    for use in (opened, verify):
        with pytest.raises(LedgerError, match=named):
            use(folder)
    assert {path.name: path.read_bytes() for path in folder.glob("*.json*")} == before
    assert not (folder / "old").exists()


def test_what_a_crash_left_to_put_away_is_put_away(folder: Path) -> None:
    opened(folder).close()
    for name in (HEAD, LAST):  # as they were while they were moved
        (folder / "old" / name).rename(folder / name)
        opened(folder).close()
        assert sorted(path.name for path in folder.iterdir()) == [FILE, "old"]
        assert verify(folder).sequence == 5
        if name == HEAD:
            (folder / "old" / HEAD).rename(folder / HEAD)


def test_two_different_logs_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other" / "log") as journal:
        for _ in range(9):
            journal.append(Event.START, "custodian")
    shutil.copy(tmp_path / "other" / "log" / FILE, folder / FILE)
    with pytest.raises(LedgerError, match="two logs"):
        opened(folder)
    assert (folder / LAST).exists()

"""The log as rows: appended, never changed, and refused where it cannot be written or trusted."""

import json
import resource
import shutil
import sqlite3
import stat
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.client.journal.entries import GENESIS, Event, JournalEntry, next_entry
from fieldfare.client.journal.journal import FILE, Journal, read, verify
from fieldfare.shared.errors import LedgerError, UsageError

NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)


def open_journal(folder: Path, **options: Any) -> Journal:
    return Journal.open(folder, **{"clock": lambda: NOON} | options)


def fill(folder: Path, count: int) -> Path:
    with open_journal(folder) as journal:
        for step in range(count):
            journal.append(Event.REQUEST, "coordinator", study="ab", step=step)
    return folder


def sql(folder: Path, script: str) -> None:
    """Change the file as somebody with its password, SQLite and no scruples."""
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.executescript(script)


def test_entries_are_read_as_they_were_returned(tmp_path: Path) -> None:
    ticks = iter(range(10))
    journal = open_journal(tmp_path / "log", clock=lambda: NOON + timedelta(hours=next(ticks)))
    written = [
        journal.append(Event.START, "custodian", version="1.42"),
        journal.append(Event.REFUSAL, "custodian", code="not_in_plan", asked=7, limit=2.5),
        journal.append(
            Event.REJECTION, "anna", study="ab", reason="de schaal klopt niet, zei José"
        ),
    ]
    assert [*read(journal.folder)] == written  # while it is open elsewhere
    assert [*read(journal.folder, since=2)] == written[2:]
    found = [json.loads(entry.line) for entry in written]
    assert found[1] == {
        "format": 1,
        "sequence": 2,
        "time": "2025-01-01T13:00:00.000000Z",
        "event": "refusal",
        "actor": "custodian",
        "details": {"code": "not_in_plan", "asked": 7, "limit": 2.5},
        "previous": found[0]["hash"],
        "hash": found[1]["hash"],
    }
    assert found[0]["previous"] == "0" * 64
    assert verify(journal.folder) == written[-1].mark


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    folder = fill(tmp_path / "log", 3)
    with open_journal(folder) as journal:
        assert journal.append(Event.STOP, "custodian").sequence == 4
    assert verify(fill(folder, 2)).sequence == 6


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    open_journal(tmp_path / "log").close()
    assert verify(tmp_path / "log") == GENESIS


def test_times_are_what_the_clock_said_also_if_it_was_set_back(tmp_path: Path) -> None:
    times = iter([NOON, NOON - timedelta(days=1)])
    with open_journal(tmp_path / "log", clock=lambda: next(times)) as journal:
        first, second = (journal.append(Event.START, "custodian") for _ in range(2))
    assert second.time < first.time
    verify(tmp_path / "log")


def test_folder_and_files_are_the_owners_alone(tmp_path: Path) -> None:
    with open_journal(tmp_path / "log") as journal:
        journal.append(Event.STOP, "custodian")
        assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
        for path in journal.folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.parametrize(
    "details", [{"name": "x"}, {"step": -1}, {"study": ""}, {"rule": "a\nb"}, {"asked": None}]
)
def test_what_may_not_stand_in_the_log_changes_nothing(
    tmp_path: Path, details: dict[str, Any]
) -> None:
    folder = fill(tmp_path / "log", 2)
    with open_journal(folder) as journal, pytest.raises(UsageError, match="expected"):
        journal.append(Event.RELEASE, "custodian", **details)
    assert verify(folder).sequence == 2


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET event = 'stop' WHERE sequence = 1",
        "DELETE FROM entries WHERE sequence = 3",
        "INSERT INTO entries VALUES (5, 'stop', '{}')",
        "INSERT INTO entries VALUES (2, 'stop', '{}')",
        "INSERT OR REPLACE INTO entries VALUES (3, 'stop', '{}')",
    ],
)
def test_rows_are_append_only(tmp_path: Path, statement: str) -> None:
    folder = fill(tmp_path / "log", 3)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        sql(folder, f"PRAGMA recursive_triggers = ON; {statement}")
    assert verify(folder).sequence == 3


def forged(after: JournalEntry) -> str:
    """An entry with a right hash that nobody was ever given."""
    other = next_entry(after.mark, time=NOON, event=Event.STOP, actor="a", details={})
    return other.line.decode().replace("'", "''")


DROP: Final = "".join(f"DROP TRIGGER entries_{event};" for event in ("UPDATE", "DELETE", "INSERT"))
SWAP: Final = "".join(
    f"UPDATE entries SET sequence = {to} WHERE sequence = {one};"
    for to, one in ((9, 2), (2, 3), (3, 9))
)
DAMAGES: Final = {
    "a byte": ("UPDATE entries SET line = replace(line, '2,', '3,')", "entry 2: expected the hash"),
    "an event": ("UPDATE entries SET event = 'stop'", "entry 1: expected its own number and event"),
    "a middle row": (
        "DELETE FROM entries WHERE sequence = 2",
        "entry 2: expected entry 2, found e",
    ),
    "the first row": ("DELETE FROM entries WHERE sequence = 1", "entry 1: expected entry 1, found"),
    "swapped rows": (SWAP, "entry 2: expected entry 2, found entry 3"),
    "no line": ("UPDATE entries SET line = '' WHERE sequence = 2", "entry 2: expected an entry"),
    "no text": ("UPDATE entries SET line = x'00' WHERE sequence = 2", "entry 2: expected an entry"),
    "no entry": ("UPDATE entries SET line = '{}' WHERE sequence = 3", "entry 3: expected"),
    "the last row": ("DELETE FROM entries WHERE sequence = 4", "end of the log was removed"),
    "all rows": ("DELETE FROM entries", "end of the log was removed"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_changed_is_named(tmp_path: Path, damage: str) -> None:
    folder = fill(tmp_path / "log", 4)
    statement, named = DAMAGES[damage]
    sql(folder, DROP + statement)
    with pytest.raises(LedgerError, match=named):
        verify(folder)


@pytest.mark.parametrize("damage", ["the last row", "all rows"])
def test_nothing_is_added_after_a_removed_end(tmp_path: Path, damage: str) -> None:
    folder = fill(tmp_path / "log", 4)
    journal = open_journal(folder)
    sql(folder, DROP + DAMAGES[damage][0])
    for use in (lambda: journal.append(Event.STOP, "custodian"), lambda: open_journal(folder)):
        with pytest.raises(LedgerError, match="end of the log was removed"):
            use()


def test_a_rewritten_entry_with_a_right_hash_is_named_by_the_next(tmp_path: Path) -> None:
    folder = fill(tmp_path / "log", 4)
    second = [*read(folder)][1]
    sql(
        folder,
        f"{DROP}UPDATE entries SET event = 'stop', line = '{forged(second)}' WHERE sequence = 3",
    )
    with pytest.raises(LedgerError, match="entry 4: expected an entry after the one with hash"):
        verify(folder)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "log", 1)
    (folder / FILE).write_bytes(b"something else\n" * 100)
    for use in (lambda: open_journal(folder), lambda: verify(folder)):
        with pytest.raises(LedgerError, match="bring the newest copy"):
            use()
    (folder / FILE).unlink()
    sql(folder, "CREATE TABLE entries (sequence INTEGER)")
    (folder / FILE).chmod(0o600)
    with pytest.raises(LedgerError, match="another database"):
        open_journal(folder)


def test_a_flip_in_any_page_is_found_or_changes_no_entry(tmp_path: Path) -> None:
    folder = fill(tmp_path / "log", 6)
    whole, before = (folder / FILE).read_bytes(), [*read(folder)]
    found = 0
    for place in range(0, len(whole), 53):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        (folder / FILE).write_bytes(bytes(changed))
        try:
            assert [*read(folder)] == before  # space that holds nothing
        except LedgerError:
            found += 1
        for name in (f"{FILE}-wal", f"{FILE}-shm"):
            (folder / name).unlink(missing_ok=True)
    assert found > 20


@pytest.mark.parametrize("name", ["log.jsonl", "head.json"])
def test_a_log_of_lines_is_refused_by_name_and_nothing_begins_beside_it(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / name).write_text("{}")
    for use in (open_journal, verify):
        with pytest.raises(LedgerError, match=rf"{name}: expected log\.sqlite, .* ca71956f"):
            use(folder)
    assert [path.name for path in folder.iterdir()] == [name]


def test_no_log_is_told_and_none_is_begun(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    for folder in (tmp_path / "log", tmp_path / "none"):
        with pytest.raises(LedgerError, match="expected a log in"):
            verify(folder)
    assert [*tmp_path.rglob("*")] == [tmp_path / "log"]


def test_a_place_that_cannot_hold_a_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file"):
        open_journal(tmp_path / "none" / "log")
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="File exists"):
        open_journal(tmp_path / "file")


def test_a_closed_log_is_refused(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "log")
    journal.close()
    with pytest.raises(LedgerError, match="closed"):
        journal.append(Event.STOP, "custodian")


def test_a_copy_can_be_verified(tmp_path: Path) -> None:
    folder = fill(tmp_path / "log", 3)
    assert verify(Path(shutil.copytree(folder, tmp_path / "copy"))) == verify(folder)


def test_a_full_disk_is_an_error_and_adds_nothing(tmp_path: Path) -> None:
    """A real limit: the write that crosses it is cut short, the next one fails."""
    outcomes = set()
    for room in range(0, 40_000, 5000):
        with open_journal(fill(tmp_path / f"full after {room}", 4)) as journal:
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
            try:
                journal.append(Event.RELEASE, "custodian", study="ab", reason="b" * 200)
                outcomes.add("written")
            except LedgerError:
                assert verify(journal.folder).sequence == 4
                outcomes.add("refused")
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            journal.append(Event.STOP, "custodian")
            verify(journal.folder)
    assert outcomes == {"written", "refused"}


def test_whatever_happens_every_returned_entry_is_verified(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    journal, written = open_journal(folder), []
    for number, event in enumerate(Event):
        written.append(journal.append(event, "custodian", rule="r" * (number * 15 + 1)))
        if number % 5 == 0:
            journal.close()
            journal = open_journal(folder)
    journal.close()
    assert [*read(folder)] == written
    assert [*folder.iterdir()] == [folder / FILE]


def test_the_last_release_is_the_furthest_in_the_ledger(tmp_path: Path) -> None:
    with open_journal(tmp_path / "log") as journal:
        assert journal.last_release() is None
        journal.append(Event.RELEASE, "custodian", rule="9 more within a minute, counted")
        assert journal.last_release() is None
        for epoch, sequence in ((1, 2), (1, 10), (2, 4), (2, 11), (2, 5)):
            journal.append(Event.RELEASE, "custodian", epoch=epoch, sequence=sequence)
        found = journal.last_release()
    assert found is not None
    assert found.details == {"epoch": 2, "sequence": 11}

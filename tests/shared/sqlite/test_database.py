"""A file is private, durable and erasing, has one version, and says what to do when it fails."""

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from fieldfare.shared.errors import RunError
from fieldfare.shared.sqlite.database import Database
from fieldfare.shared.sqlite.kind import DURABLE, WAL, DatabaseKind

NOTES = DatabaseKind(
    name="the notebook",
    error=RunError,
    again="write again",
    restore="take the newest backup",
    otherwise="look at it",
    so="nothing was written: ",
    pragmas=(("auto_vacuum", "INCREMENTAL", None), WAL, *DURABLE),
    migrations=(("CREATE TABLE notes (name TEXT, content BLOB)",),),
)
IN_HEADER = replace(NOTES, application=0x4E4F5445)  # its version stands in the file's header
LATER = ("CREATE TABLE later (x INTEGER)", "INSERT INTO later VALUES (7)")
BROKEN = ("CREATE TABLE later (x INTEGER)", "INSERT INTO absent VALUES (7)")
ADDED = "INSERT INTO notes VALUES (?, ?)"
SECRET = b"what must not outlive its deletion" * 400

Open = Callable[..., Database]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    made: list[Database] = []

    def make(
        kind: DatabaseKind = NOTES, where: Path = path, busy_seconds: float = 0.05
    ) -> Database:
        made.append(Database(kind, where, busy_seconds=busy_seconds))
        return made[-1]

    yield make
    for database in made:
        database.close()


@pytest.fixture(params=[NOTES, IN_HEADER], ids=["table", "header"])
def kind(request: pytest.FixtureRequest) -> DatabaseKind:
    found: DatabaseKind = request.param
    return found


def names(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT name FROM notes")]


def content(path: Path) -> bytes:
    return b"".join(p.read_bytes() for p in path.parent.iterdir() if not p.name.endswith("shm"))


def test_every_file_is_closed_to_others(opened: Open, path: Path) -> None:
    opened().rows(ADDED, "a", b"")
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    expected = (path.name, f"{path.name}-wal", f"{path.name}-shm")
    assert modes == dict.fromkeys(expected, 0o600)


def test_settings_hold(opened: Open) -> None:
    found = {
        name: opened().rows(f"PRAGMA {name}")[0][0] for name, _, _ in (NOTES.pragmas[0], *DURABLE)
    }
    assert found == {"auto_vacuum": 2} | {name: expected for name, _, expected in DURABLE}
    assert opened().rows("PRAGMA journal_mode") == [("wal",)]


def test_a_setting_that_does_not_hold_is_refused(opened: Open) -> None:
    lax = replace(NOTES, pragmas=(("synchronous", "OFF", 2),))
    with pytest.raises(RunError, match="expected SQLite to set synchronous to 2"):
        opened(lax)


@pytest.mark.parametrize("mode", [0o400, 0o640, 0o604, 0o200, 0o000])
def test_a_file_that_is_read_only_or_open_to_others_is_refused(
    opened: Open, path: Path, mode: int
) -> None:
    opened().close()
    path.chmod(mode)
    with pytest.raises(RunError, match=rf"found mode {mode:04o}: chmod 600"):
        opened()


def test_a_file_may_be_lent_to_a_group(path: Path) -> None:
    def lent() -> Database:
        return Database(NOTES, path, busy_seconds=0.05, mode=0o640)

    lent().close()
    assert path.stat().st_mode & 0o777 == 0o640
    lent().close()
    path.chmod(0o660)
    with pytest.raises(RunError, match="found mode 0660: chmod 640"):
        lent()


def test_who_only_looks_changes_nothing(opened: Open, path: Path) -> None:
    plain = replace(NOTES, pragmas=DURABLE)
    opened(plain).rows(ADDED, "a", b"")
    path.chmod(0o440)
    with Database(plain, path, busy_seconds=0.05, read_only=True) as reader:
        assert names(reader) == ["a"]
        with pytest.raises(RunError, match="readonly database; nothing was written: give this"):
            reader.rows(ADDED, "b", b"")
    absent = path.with_name("absent")
    with pytest.raises(RunError, match="unable to open"):
        Database(plain, absent, busy_seconds=0.05, read_only=True)
    assert not absent.exists()


def test_a_read_only_folder_is_refused(opened: Open, path: Path) -> None:
    path.parent.chmod(0o500)
    try:
        with pytest.raises(RunError, match="found mode 0500: give this user write access"):
            opened()
    finally:
        path.parent.chmod(0o700)


def test_a_place_that_holds_no_file_is_said(opened: Open, path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory; give a path in a folder"):
        opened(where=path / "deeper")
    path.mkdir(mode=0o700)
    with pytest.raises(RunError, match="found something else"):
        opened()


@pytest.mark.parametrize("found", [b"garbage", os.urandom(8192), b"SQLite format 3\x00" * 300])
def test_what_is_no_database_is_said_and_left_alone(opened: Open, path: Path, found: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(found)
    with pytest.raises(RunError, match=r"expected to read and write .*: take the newest backup"):
        opened()
    assert path.read_bytes() == found


def test_another_programs_database_is_left_alone(opened: Open, path: Path) -> None:
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE nodes (id INTEGER)")
    with pytest.raises(RunError, match="found another database: move it away"):
        opened(IN_HEADER)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("nodes",)]


def test_an_old_file_grows_and_keeps_its_rows(opened: Open, kind: DatabaseKind) -> None:
    before = opened(kind)
    before.rows(ADDED, "a", b"")
    before.close()
    grown = replace(kind, migrations=(*kind.migrations, LATER))
    for _ in range(2):  # the second time there is nothing to do
        after = opened(grown)
        assert (after.rows("SELECT x FROM later"), names(after)) == ([(7,)], ["a"])
    with pytest.raises(RunError, match=r"version 1 or older, found 2: use the newer Fieldfare"):
        opened(kind)


def test_a_migration_that_fails_changes_nothing(opened: Open, kind: DatabaseKind) -> None:
    def schema() -> list[tuple[object, ...]]:
        found = opened(kind)
        return [*found.rows("SELECT sql FROM sqlite_schema"), *found.rows("PRAGMA user_version")]

    before = schema()
    with pytest.raises(RunError, match="absent"):
        opened(replace(kind, migrations=(*kind.migrations, BROKEN)))
    assert schema() == before


def test_many_open_a_new_file_at_once(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fieldfare.server.store.store import run_store\n"
        "with run_store(Path(sys.argv[1])): pass"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


@pytest.mark.parametrize("nested", [False, True])
def test_an_exception_takes_everything_back(opened: Open, nested: bool) -> None:
    database = opened()
    database.rows(ADDED, "before", b"")

    def interrupted() -> None:
        with database.transaction():
            if nested:
                with database.transaction():
                    database.rows(ADDED, "a", b"")
            else:
                database.rows(ADDED, "a", b"")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(database) == ["before"]
    with database.transaction(), database.transaction():
        database.rows(ADDED, "after", b"")  # and the lock was given back
    assert names(database) == ["before", "after"]


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_writer_elsewhere_is_waited_for_and_then_named(
    opened: Open, path: Path, lock: str
) -> None:
    database = opened()
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute(lock)
        assert names(database) == []  # who reads does not wait
        with pytest.raises(RunError, match=r"nothing was written: another process holds the note"):
            database.rows(ADDED, "a", b"")
        writer.execute("ROLLBACK")
    database.rows(ADDED, "b", b"")
    assert names(database) == ["b"]


def test_a_switch_to_wal_waits_for_a_reader_and_then_names_it(opened: Open, path: Path) -> None:
    opened(replace(NOTES, pragmas=DURABLE)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM notes").fetchall()
        with pytest.raises(RunError, match=r"found it locked; .*another process holds"):
            opened()
    opened()


def test_threads_take_turns(opened: Open) -> None:
    database = opened(busy_seconds=5.0)

    def write(thread: int) -> None:
        for number in range(20):
            with database.transaction():
                database.rows(ADDED, f"{thread}-{number}", b"")
                database.rows("DELETE FROM notes WHERE name = ''")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(database)) == 80


def test_an_interruption_right_after_the_lock_gives_it_back(opened: Open) -> None:
    """It stayed in the transaction: whatever was written later was never committed."""

    def interrupt(_: FrameType, event: str, called: Any) -> None:
        if event == "c_return" and called.__name__ == "execute":
            raise KeyboardInterrupt  # Python takes a profiler away that raises

    database = opened()
    sys.setprofile(interrupt)
    with pytest.raises(KeyboardInterrupt), database.transaction():
        pass
    sys.setprofile(None)
    opened().rows(ADDED, "a", b"")
    assert database.rows("SELECT name FROM notes") == [("a",)]


def test_a_closed_database_refuses(opened: Open) -> None:
    database = opened()
    database.close()
    database.close()
    with pytest.raises(RunError, match="closed database"):
        database.rows("SELECT 1")
    with pytest.raises(RunError, match="closed database"), database.transaction():
        pass


def test_a_reader_elsewhere_keeps_the_log(opened: Open, path: Path) -> None:
    database = opened()
    database.rows(ADDED, "a", b"")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM notes").fetchall()
        database.rows("DELETE FROM notes")
        assert not database.empty_log()
    assert database.empty_log()
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0


def test_no_byte_of_what_was_deleted_stays_and_its_space_is_given_back(
    opened: Open, path: Path
) -> None:
    database = opened()
    database.rows(ADDED, "a", SECRET * 100)
    database.rows(ADDED, "b", b"kept")
    assert SECRET[:34] in content(path)  # so that the search can find it
    database.rows("DELETE FROM notes WHERE name = 'a'")
    database.give_back()
    assert SECRET[:34] not in content(path)
    assert b"kept" in content(path)
    assert path.stat().st_size < 300_000
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0


def test_a_copy_has_what_was_committed_and_takes_nobodys_place(opened: Open, path: Path) -> None:
    database, copy = opened(), path.with_name("copy")
    database.rows(ADDED, "a", b"")
    with database.transaction():
        database.copy_to(copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert names(opened(where=copy)) == ["a"]
    with pytest.raises(RunError, match="move that away"):
        database.copy_to(copy)


def test_damage_that_no_query_meets_is_found_by_the_integrity_check(opened: Open) -> None:
    database = opened()
    database.rows("CREATE INDEX by_name ON notes (name)")
    database.rows(ADDED, "a", b"")
    database.check_integrity()
    with database.transaction():
        database.rows("PRAGMA writable_schema = ON")
        database.rows("DELETE FROM sqlite_schema WHERE name = 'by_name'")
    database.close()
    with pytest.raises(RunError, match="undamaged, found"):
        opened().check_integrity()


def test_damaged_text_is_said_without_being_repeated(opened: Open) -> None:
    database = opened()
    database.rows("INSERT INTO notes VALUES (CAST(x'ff6162' AS TEXT), x'')")
    with pytest.raises(RunError, match="damaged text: take the newest backup") as caught:
        names(database)
    assert "ab" not in str(caught.value).partition("found")[2]


def test_in_memory_the_same_statements_run_without_a_file() -> None:
    with Database(NOTES, None, busy_seconds=0.05) as database:
        database.rows(ADDED, "a", b"")
        assert names(database) == ["a"]
        with pytest.raises(RunError, match="expected a file to copy"):
            database.copy_to(Path("nowhere"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 1 MiB of room."""
    place = tmp_path / "small"
    place.mkdir()
    command: list[str | Path] = ["mount", "-t", "tmpfs", "-o", "size=1m", "fieldfare-test", place]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only an administrator may mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Write until there is no room; returns what to remove to have some again."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return ballast


def test_a_full_disk_is_said_and_nothing_is_half_written(small_disk: Path, opened: Open) -> None:
    database = opened(where=small_disk / "notes.sqlite")
    database.rows(ADDED, "a", b"first")
    ballast = fill(small_disk)

    def write() -> None:
        with database.transaction():
            database.rows(ADDED, "b", b"")
            database.rows(ADDED, "c", os.urandom(300_000))

    with pytest.raises(RunError, match="full; nothing was written: free some space on the disk"):
        write()
    assert names(database) == ["a"]
    ballast.unlink()
    database.rows(ADDED, "d", os.urandom(100_000))
    database.close()
    assert names(opened(where=small_disk / "notes.sqlite")) == ["a", "d"]


def test_a_file_begun_on_a_full_disk_is_usable_when_there_is_room(
    small_disk: Path, opened: Open
) -> None:
    ballast = fill(small_disk)
    with pytest.raises(RunError, match="nothing was written"):
        opened(where=small_disk / "notes.sqlite")
    ballast.unlink()
    assert names(opened(where=small_disk / "notes.sqlite")) == []


def test_a_read_only_disk_is_said(small_disk: Path, opened: Open) -> None:
    opened(where=small_disk / "notes.sqlite").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(RunError, match="write access"):
        opened(where=small_disk / "notes.sqlite")


def test_a_file_that_may_not_grow_is_said(opened: Open) -> None:
    database = opened()
    database.rows(ADDED, "a", b"")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(RunError, match=r"nothing was written: .*disk"):
            database.rows(ADDED, "b", os.urandom(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(database) == ["a"]

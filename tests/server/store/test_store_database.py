"""The run store's file: durable settings, one version, and errors that say what to do."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fieldfare.server.store import database as store_database
from fieldfare.server.store.database import APPLICATION, MIGRATIONS, StoreDatabase
from fieldfare.shared.errors import RunError

BEGUN = "INSERT INTO last_replies VALUES (?, ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., StoreDatabase]]:
    made: list[StoreDatabase] = []

    def make(where: Path = path, **options: float) -> StoreDatabase:
        made.append(StoreDatabase(where, **options))
        return made[-1]

    yield make
    for database in made:
        database.close()


Open = Callable[..., StoreDatabase]


def names(database: StoreDatabase) -> list[str]:
    return [name for (name,) in database.rows("SELECT institution FROM last_replies")]


def test_a_commit_reaches_the_disk_and_a_deletion_leaves_nothing(opened: Open) -> None:
    database = opened()
    settings = {
        "journal_mode": "wal",
        "synchronous": 2,
        "secure_delete": 1,
        "foreign_keys": 1,
        "auto_vacuum": 2,
        "application_id": APPLICATION,
        "user_version": len(MIGRATIONS),
    }
    assert {name: database.rows(f"PRAGMA {name}")[0][0] for name in settings} == settings


def test_all_its_files_are_closed_to_others(opened: Open, path: Path) -> None:
    database = opened()
    database.rows(BEGUN, "bank-a", b"")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    expected = ("runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm")
    assert modes == dict.fromkeys(expected, 0o600)


def test_a_file_that_others_can_read_is_refused(opened: Open, path: Path) -> None:
    opened().close()
    path.chmod(0o640)
    with pytest.raises(RunError, match=r"mode 0600\), found mode 0640: chmod 600"):
        opened()


def test_a_missing_folder_is_said(opened: Open, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file or directory; give a path in a folder"):
        opened(tmp_path / "absent" / "runs.sqlite")


def test_what_is_no_database_is_said_and_left_alone(opened: Open, path: Path) -> None:
    path.write_bytes(b"a letter, not a database" * 100)
    path.chmod(0o600)
    with pytest.raises(RunError, match=r"not a database; .*backup"):
        opened()
    assert path.read_bytes() == b"a letter, not a database" * 100


def test_another_programs_database_is_left_alone(opened: Open, path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE nodes (id INTEGER)")
    path.chmod(0o600)
    with pytest.raises(RunError, match="found another database: move it away"):
        opened()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("nodes",)]


def test_a_newer_version_is_refused(opened: Open, path: Path) -> None:
    opened().close()
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(RunError, match="use the newer Fieldfare"):
        opened()


def test_an_older_file_is_brought_up_to_date(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = opened()
    before.rows(BEGUN, "bank-a", b"")
    before.close()
    added = (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)", "INSERT INTO later VALUES (7)"))
    monkeypatch.setattr(store_database, "MIGRATIONS", added)
    after = opened()
    assert (after.rows("SELECT x FROM later"), names(after)) == ([(7,)], ["bank-a"])


def test_a_migration_that_fails_leaves_the_old_version(
    opened: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened().close()
    broken = (*MIGRATIONS, ("CREATE TABLE later (x INTEGER)", "INSERT INTO absent VALUES (7)"))
    with monkeypatch.context() as patch:
        patch.setattr(store_database, "MIGRATIONS", broken)
        with pytest.raises(RunError, match="absent"):
            opened()
    database = opened()
    assert database.rows("PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert database.rows("SELECT name FROM sqlite_schema WHERE name = 'later'") == []


def test_many_open_a_new_file_at_once(path: Path) -> None:
    opening = "import sys; from pathlib import Path; from fieldfare.server.store.database import "
    code = opening + "StoreDatabase; StoreDatabase(Path(sys.argv[1])).close()"
    started = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(4)]
    assert [process.wait() for process in started] == [0] * 4


def test_an_exception_takes_everything_back(opened: Open) -> None:
    database = opened()

    def fail() -> None:
        with database.transaction():
            database.rows(BEGUN, "bank-a", b"")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(database) == []


def test_a_transaction_inside_another_is_part_of_it(opened: Open) -> None:
    database = opened()

    def fail() -> None:
        with database.transaction():
            with database.transaction():
                database.rows(BEGUN, "bank-a", b"")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert names(database) == []
    with database.transaction(), database.transaction():
        database.rows(BEGUN, "bank-b", b"")
    assert names(database) == ["bank-b"]


def test_a_writer_that_holds_on_is_named_after_the_timeout(opened: Open) -> None:
    holder, waiter = opened(), opened(busy_seconds=0.1)
    with holder.transaction():
        holder.rows(BEGUN, "bank-a", b"")
        assert names(waiter) == []  # who reads does not wait
        with pytest.raises(RunError, match=r"locked; nothing was written: another process"):
            waiter.rows(BEGUN, "bank-b", b"")
    assert names(waiter) == ["bank-a"]


def test_threads_take_turns(opened: Open) -> None:
    database = opened()

    def write(thread: int) -> None:
        for number in range(20):
            with database.transaction():
                database.rows(BEGUN, f"{thread}-{number}", b"")
                database.rows("DELETE FROM last_replies WHERE institution = ''")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(database)) == 80


def test_what_is_deleted_is_given_back_to_the_disk(opened: Open, path: Path) -> None:
    database = opened()
    database.rows(BEGUN, "bank-a", os.urandom(1_000_000))
    database.rows("DELETE FROM last_replies")
    database.give_back()
    assert path.stat().st_size < 300_000
    assert path.with_name("runs.sqlite-wal").stat().st_size == 0


def test_no_byte_of_what_was_deleted_stays(opened: Open, path: Path) -> None:
    database = opened()
    secret = b"a masked vector of somebody" * 1000
    database.rows(BEGUN, "bank-a", secret)
    database.rows(BEGUN, "bank-b", b"kept")
    database.rows("DELETE FROM last_replies WHERE institution = 'bank-a'")
    database.give_back()
    found = b"".join(p.read_bytes() for p in path.parent.iterdir() if not p.name.endswith("shm"))
    assert secret[:27] not in found
    assert b"kept" in found


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
    database = opened(small_disk / "runs.sqlite")
    database.rows(BEGUN, "bank-a", b"first")
    ballast = fill(small_disk)

    def write() -> None:
        with database.transaction():
            database.rows(BEGUN, "bank-b", b"")
            database.rows(BEGUN, "bank-c", os.urandom(300_000))

    with pytest.raises(RunError, match="full; nothing was written: free some space on the disk"):
        write()
    assert names(database) == ["bank-a"]
    ballast.unlink()
    database.rows(BEGUN, "bank-d", os.urandom(100_000))
    database.close()
    assert names(opened(small_disk / "runs.sqlite")) == ["bank-a", "bank-d"]


def test_a_file_begun_on_a_full_disk_is_usable_when_there_is_room(
    small_disk: Path, opened: Open
) -> None:
    ballast = fill(small_disk)
    with pytest.raises(RunError, match="nothing was written"):
        opened(small_disk / "runs.sqlite")
    ballast.unlink()
    assert names(opened(small_disk / "runs.sqlite")) == []


def test_a_read_only_disk_is_said(small_disk: Path, opened: Open) -> None:
    opened(small_disk / "runs.sqlite").close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(RunError, match=r"write access|access to the file"):
        opened(small_disk / "runs.sqlite")


def test_a_file_that_may_not_grow_is_said(opened: Open) -> None:
    database = opened()
    database.rows(BEGUN, "bank-a", b"")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(RunError, match=r"nothing was written: .*disk"):
            database.rows(BEGUN, "bank-b", os.urandom(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(database) == ["bank-a"]


def test_damaged_text_is_said_without_being_repeated(opened: Open) -> None:
    database = opened()
    database.rows("INSERT INTO last_replies VALUES (CAST(x'ff6162' AS TEXT), x'')")
    with pytest.raises(RunError, match="damaged text: put the newest backup"):
        names(database)

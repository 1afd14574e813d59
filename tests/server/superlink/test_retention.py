import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.network.superlink_years import LivedSuperlink

from fieldfare.server.superlink.retention import KEPT_NODES, KEPT_RUNS, purge_finished
from fieldfare.server.superlink.superlink import SuperlinkApp
from fieldfare.shared.errors import RunError

PAYLOAD = b"PAYLOAD-OF-A-RUN"
NOW = "2026-03-01 00:00:00"
THEN = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in the shape that flwr gives it."""
    path = tmp_path_factory.mktemp("state") / "superlink.sqlite"
    SuperlinkApp(path, b"secret")
    with closing(sqlite3.connect(path)) as link:
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def database(empty: Path, tmp_path: Path) -> Path:
    path = tmp_path / "superlink.sqlite"
    path.write_bytes(empty.read_bytes())
    return path


def add_run(database: Path, run: int, *, finished: bool, shared: str = "") -> None:
    """Rows of every kind that a run leaves, each with a payload that a search finds."""
    payload = PAYLOAD + str(run).encode()
    end = NOW if finished else None
    message, child = f"message-{run}", shared or f"child-{run}"
    with closing(sqlite3.connect(database)) as link, link:
        add = link.execute
        add("INSERT INTO run (run_id, primary_task_id) VALUES (?, ?)", (run, run))
        add(
            "INSERT INTO task (task_id, type, run_id, pending_at, finished_at, details)"
            " VALUES (?, 'flwr-serverapp', ?, ?, ?, '')",
            (run, run, NOW, end),
        )
        for table in ("message_ins", "message_res"):
            add(
                f"INSERT INTO {table} (message_id, run_id, content, reply_to_message_id)"
                " VALUES (?, ?, ?, ?)",
                (f"{table}-{run}", run, payload, f"{table}-to-{run}"),
            )
        for name, references in ((message, 0), (child, 1)):
            add(
                "INSERT OR IGNORE INTO objects VALUES (?, ?, 1, ?)",
                (name, payload * 300, references),
            )
            add("INSERT INTO run_objects (run_id, object_id) VALUES (?, ?)", (run, name))
        add("INSERT INTO object_children (parent_id, child_id) VALUES (?, ?)", (message, child))
        add("INSERT INTO object_push_sessions VALUES (?, ?, ?, 1)", (f"s-{run}", run, NOW))
        add(
            "INSERT INTO object_push_session_roots (session_id, root_object_id) VALUES (?, ?)",
            (f"s-{run}", message),
        )
        add(
            "INSERT INTO object_push_session_pending (session_id, object_id) VALUES (?, ?)",
            (f"s-{run}", child),
        )
        add("INSERT INTO task_logs (timestamp, task_id, log) VALUES (1, ?, ?)", (run, payload))
        add(
            "INSERT INTO task_event (timestamp, run_id, task_id, event, data)"
            " VALUES (?, ?, ?, 'e', ?)",
            (NOW, run, run, payload.decode()),
        )


def rows(database: Path) -> dict[str, int]:
    """How many rows every table has that a run writes to."""
    with closing(sqlite3.connect(database)) as link:
        names = [
            row[0] for row in link.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        return {
            name: link.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0]
            for name in names
            if name not in {"alembic_version", "sqlite_sequence", "run", "task"}
        }


def bytes_of(database: Path) -> bytes:
    return b"".join(path.read_bytes() for path in database.parent.glob("superlink.sqlite*"))


def test_no_byte_of_a_finished_run_stays(database: Path) -> None:
    before = rows(database)
    add_run(database, 7, finished=True)
    assert PAYLOAD in bytes_of(database)
    assert purge_finished(database, THEN) == 12
    assert PAYLOAD not in bytes_of(database)
    assert rows(database) == before
    assert purge_finished(database, THEN) == 0


def test_a_run_that_goes_on_keeps_everything(database: Path) -> None:
    add_run(database, 7, finished=False)
    before = rows(database)
    assert purge_finished(database, THEN) == 0
    assert rows(database) == before


def test_a_run_goes_on_as_long_as_one_of_its_tasks_does(database: Path) -> None:
    add_run(database, 7, finished=True)
    with closing(sqlite3.connect(database)) as link, link:
        task = "INSERT INTO task (task_id, type, run_id, pending_at) VALUES (9, 'other', 7, ?)"
        link.execute(task, (NOW,))
    before = rows(database)
    assert purge_finished(database, THEN) == 0
    assert rows(database) == before


def test_a_run_that_goes_on_keeps_what_it_shares_with_one_that_ended(database: Path) -> None:
    add_run(database, 8, finished=False, shared="same")
    before = rows(database)
    add_run(database, 7, finished=True, shared="same")
    purge_finished(database, THEN)
    assert rows(database) == before
    assert PAYLOAD + b"7" not in bytes_of(database)  # free pages are overwritten at once


def test_free_pages_of_earlier_deletions_are_rewritten(database: Path) -> None:
    add_run(database, 7, finished=True)
    with closing(sqlite3.connect(database)) as link, link:  # as flwr deletes: pages keep bytes
        link.execute("PRAGMA secure_delete = OFF")  # some builds of SQLite turn it on
        for table in rows(database):
            link.execute(f'DELETE FROM "{table}"')
    assert PAYLOAD in bytes_of(database)
    purge_finished(database, THEN)
    assert PAYLOAD not in bytes_of(database)


def test_a_reader_in_the_way_delays_the_rewriting_only(database: Path) -> None:
    add_run(database, 7, finished=True)
    with closing(sqlite3.connect(database)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM objects").fetchall()
        assert purge_finished(database, THEN) == 12
    assert purge_finished(database, THEN) == 0
    assert PAYLOAD not in bytes_of(database)


def test_a_file_that_is_none_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="could not be purged now"):
        purge_finished(tmp_path / "empty.sqlite", THEN)


def test_flowers_own_deletions_overwrite_too(empty: Path, tmp_path: Path) -> None:
    """In a process of its own: what is asked for here holds for all that comes after."""
    database = tmp_path / "superlink.sqlite"
    database.write_bytes(empty.read_bytes())
    program = (
        "import sys; from pathlib import Path\n"
        "from sqlalchemy import text\n"
        "from fieldfare.server.superlink.retention import overwrite_deleted\n"
        "from fieldfare.server.superlink.superlink import SuperlinkApp\n"
        "overwrite_deleted()\n"
        "flower = SuperlinkApp(Path(sys.argv[1]), b'secret').flower\n"
        "nodes = flower.state.linkstate_factory.state()\n"
        "for state in (nodes, nodes.object_store):\n"
        "    with state.session() as session:\n"
        "        print(session.execute(text('PRAGMA secure_delete')).scalar())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, database], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1"]


# -- years ---------------------------------------------------------------------------------------

# Every table that Flower gives its state, and what becomes of its rows: a new one fails here.
OF_RUNS = {
    *("run", "task", "task_usage", "task_event", "task_logs", "task_message", "series_runs"),
    *("message", "message_ins", "message_res", "run_objects", "run_connector"),
    *("object_push_sessions", "object_push_session_roots", "object_push_session_pending"),
    *("objects", "object_children", "run_series", "series_context", "compacted_contexts", "fab"),
}
BOUNDED_BY_FLOWER = {"nonce_store", "objectstore_locks"}  # what expired goes with the next one
NEVER_WRITTEN_HERE = {"automation", "federation_app", "connector", "connector_oauth_session"}


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LivedSuperlink:
    return LivedSuperlink(tmp_path / "superlink.sqlite", monkeypatch)


def test_no_table_is_left_out(lived: LivedSuperlink) -> None:
    assert set(lived.rows()) == OF_RUNS | BOUNDED_BY_FLOWER | NEVER_WRITTEN_HERE | {"node"}


def test_rows_of_runs_stay_under_their_limit(lived: LivedSuperlink) -> None:
    most = {"run": 0}
    for day in lived.days(5 * KEPT_RUNS.days, step=5):
        lived.run(bundle=b"bundle %d" % (day // 60))
        for name, count in lived.rows().items():
            most[name] = max(most.get(name, 0), count)
    assert most["run"] == most["task"] == most["series_runs"] == most["run_series"] == 7
    assert most["fab"] == 2
    assert not [name for name in OF_RUNS if most[name] > 7]


def test_a_run_that_goes_on_keeps_all_its_rows_for_years(lived: LivedSuperlink) -> None:
    live = lived.run(bundle=b"its own", ends=False)
    for _ in lived.days(800, step=100):
        lived.run()
    (found,) = lived.state.get_run_info(run_ids=[live])
    assert lived.state.get_fab(found.fab_hash).content == b"its own"
    assert [task.task_id for task in lived.state.get_tasks(run_ids=[live])]
    assert lived.state.stop_run(live)
    lived.run()
    purge_finished(lived.database, lived.now + KEPT_RUNS + timedelta(days=1))
    assert not lived.state.get_run_info(run_ids=[live])


def test_the_newest_run_keeps_its_row_and_its_bundle(lived: LivedSuperlink) -> None:
    run = lived.run()
    purge_finished(lived.database, lived.now + timedelta(days=4000))
    assert lived.state.get_run_info(run_ids=[run])
    assert lived.rows()["fab"] == 1


def test_a_time_that_cannot_be_read_keeps_a_run(lived: LivedSuperlink) -> None:
    lived.run()
    lived.run()
    with closing(sqlite3.connect(lived.database)) as link, link:
        link.execute("UPDATE task SET finished_at = 'some day'")
    purge_finished(lived.database, lived.now + timedelta(days=4000))
    assert lived.rows()["run"] == lived.rows()["task"] == 2


def test_a_node_that_was_taken_off_goes_later_and_one_that_may_come_never(
    lived: LivedSuperlink,
) -> None:
    stays, gone = lived.node(b"one key"), lived.node(b"another")
    lived.state.delete_node("aid", gone)
    purge_finished(lived.database, lived.now + KEPT_NODES - timedelta(days=1))
    assert lived.rows()["node"] == 2
    purge_finished(lived.database, lived.now + KEPT_NODES + timedelta(days=1))
    assert lived.state.get_node_id_by_public_key(b"one key") == stays
    assert lived.rows()["node"] == 1


def test_nonces_of_polls_go_as_they_expire(lived: LivedSuperlink) -> None:
    for number in range(50):
        lived.now += timedelta(minutes=5)
        assert lived.state.reserve_nonce("node", str(number), (lived.now.timestamp() + 600))
    assert lived.rows()["nonce_store"] <= 3

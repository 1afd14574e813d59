"""Years of a SuperLink's life: Flower's own state under a clock that jumps, and our purge."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab

from fieldfare.server.superlink.retention import purge_finished
from fieldfare.server.superlink.superlink import SuperlinkApp

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


class LivedSuperlink:
    """A SuperLink's state whose days pass as a test says.

    Attributes:
        database: its file.
        state: Flower's own interface to it.
        now: its present.
    """

    def __init__(self, database: Path, patch: pytest.MonkeyPatch) -> None:
        app = SuperlinkApp(database, b"secret")
        self.database, self.now = database, BEGUN
        self.state: Any = app.flower.state.linkstate_factory.state()
        for module in (
            "server.superlink.linkstate.sql_linkstate",
            "supercore.corestate.sql_corestate",
        ):
            patch.setattr(f"flwr.{module}.now", lambda: self.now)

    def run(self, *, bundle: bytes = b"bundle", ends: bool = True) -> int:
        """Let a run begin and end, or wait for its process; returns Flower's id."""
        name = self.state.store_fab(Fab("", bundle, {}))
        made: int = self.state.create_run(
            "a/b", "1", name, {}, "@none/default", None, "aid", TaskType.SERVER_APP
        )
        if ends:
            (task,) = self.state.get_tasks(run_ids=[made])
            self.state.claim_task(task.task_id)
            self.state.activate_task(task.task_id)
            assert self.state.finish_task(task.task_id, "completed", "")
        return made

    def node(self, key: bytes) -> int:
        """Register a node; returns its id."""
        made: int = self.state.create_node("aid", "name", key, 30.0, name="bank")
        return made

    def days(self, count: int, *, step: int = 1) -> Iterator[int]:
        """Let days pass; what was finished is purged at the end of each."""
        for day in range(0, count, step):
            yield day
            self.now += timedelta(days=step)
            purge_finished(self.database, self.now)

    def rows(self) -> dict[str, int]:
        """How many rows every table has."""
        with closing(sqlite3.connect(self.database)) as link:
            names = [
                row[0]
                for row in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            return {
                name: link.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0]
                for name in names
                if not name.startswith(("sqlite_", "alembic"))
            }

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(one.stat().st_size for one in self.database.parent.glob("superlink.sqlite*"))

"""A SuperLink's own state in a coordinator's home, with rows as Flower writes them."""

import sqlite3
from contextlib import closing
from datetime import datetime

from fieldfare.server.home.layout import CoordinatorHome
from fieldfare.server.superlink.node_keys import spki_of
from fieldfare.server.superlink.superlink import SuperlinkApp


def _state(home: CoordinatorHome) -> sqlite3.Connection:
    if not home.superlink_database.exists():
        SuperlinkApp(home.superlink_database, b"secret")
    return sqlite3.connect(home.superlink_database)


def add_node(
    home: CoordinatorHome,
    node: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    status: str = "online",
) -> None:
    """A node that was registered, and connected perhaps."""
    with closing(_state(home)) as link, link:
        ((count,),) = link.execute("SELECT count(*) FROM node")
        link.execute(
            "INSERT INTO node (node_id, status, last_activated_at, online_until, public_key)"
            " VALUES (?, ?, ?, ?, ?)",
            (
                count + 1,
                status if since else "registered",
                since.isoformat() if since else None,
                until.timestamp() if until else None,
                spki_of(node.encode()),
            ),
        )


def add_flower_run(
    home: CoordinatorHome,
    run: int,
    *,
    running: datetime | None = None,
    finished: datetime | None = None,
    until: datetime | None = None,
    sub_status: str = "",
    details: str = "",
) -> None:
    """A Flower run with its task."""
    with closing(_state(home)) as link, link:
        link.execute("INSERT INTO run (run_id, primary_task_id) VALUES (?, ?)", (run, run))
        times = [
            None if one is None else f"{one:%Y-%m-%d %H:%M:%S.%f}"
            for one in (running, running, running, finished, until)
        ]
        times[0] = times[0] or "2026-03-01 12:00:00.000000"
        link.execute(
            "INSERT INTO task (task_id, type, run_id, pending_at, starting_at, running_at,"
            " finished_at, active_until, sub_status, details)"
            " VALUES (?, 'flwr-serverapp', ?, ?, ?, ?, ?, ?, ?, ?)",
            (run, run, *times, sub_status, details),
        )

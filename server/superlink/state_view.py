"""The SuperLink's own state, read and never written, without a token: nodes, and how runs stand.

For who only watches. The SuperLink marks what is over when it is asked; here the same follows from
its rows and the clock: a node or a run's process that told nothing until its time is gone.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import serialization

from fieldfare.server.superlink.facts import FlowerRunStatus
from fieldfare.shared.errors import RunError

BUSY_SECONDS: Final = 5.0
SILENT: Final = "No heartbeat received from the task"  # as the SuperLink itself says it
_IDS: Final = 2**64
_NODES: Final = "SELECT public_key, status, last_activated_at, online_until FROM node"
_NAMES: Final = (
    "SELECT public_key, name FROM node WHERE status != 'unregistered'"
    " AND public_key = coalesce(?, public_key)"
)
_TASK: Final = (
    "SELECT starting_at, running_at, finished_at, sub_status, details, active_until FROM run"
    " JOIN task ON task_id = primary_task_id WHERE run.run_id = ?"
)


@dataclass(frozen=True)
class NodeContact:
    """When a node was heard.

    Attributes:
        since: when it connected last; None: never.
        until: when it was gone; None while it is connected, or where it never was.
        admitted: whether the SuperLink lets it in.
    """

    since: datetime | None
    until: datetime | None
    admitted: bool

    @property
    def connected(self) -> bool:
        """Whether it is connected now."""
        return self.admitted and self.since is not None and self.until is None


@dataclass(frozen=True)
class SuperlinkView:
    """A SuperLink's file, which may be in use, or not be there yet.

    Attributes:
        path: of the file.
        now: the present, with a time zone.
    """

    path: Path
    now: Callable[[], datetime]

    def contacts(self) -> Mapping[str, NodeContact]:
        """Return when each node was heard, by its public key: one OpenSSH line.

        Raises:
            RunError: the file cannot be read now.
        """
        with self._rows(_NODES) as rows:
            return {_openssh(key): self._contact(*values) for key, *values in rows}

    def names(self, only: bytes | None = None) -> Mapping[bytes, str]:
        """Return the names of nodes that are let in, by public key: PEM, as Flower keeps it.

        Args:
            only: this key's; None: all.

        Raises:
            RunError: the file cannot be read now.
        """
        with self._rows(_NAMES, only) as rows:
            return dict(rows)

    def run_status(self, run: int) -> FlowerRunStatus:
        """Return how a Flower run stands.

        Raises:
            RunError: the file cannot be read now.
        """
        signed = run - _IDS if run >= _IDS // 2 else run
        with self._rows(_TASK, signed) as rows:
            found = rows[0] if rows else None
        if found is None:
            return FlowerRunStatus("failed", "the SuperLink does not know it")
        starting, running, finished, sub_status, details, until = found
        if finished:
            return FlowerRunStatus(sub_status or "finished", details)
        if running and until and _moment(until) < self.now():
            return FlowerRunStatus("failed", SILENT)
        state = "running" if running else "starting" if starting else "pending"
        return FlowerRunStatus(state, "")

    def _contact(self, status: str, activated: str | None, until: float | None) -> NodeContact:
        since = _moment(activated) if activated else None
        ends = datetime.fromtimestamp(until, UTC) if until else None
        gone = None if status == "online" and ends and ends > self.now() else ends
        return NodeContact(since, gone, status != "unregistered")

    @contextmanager
    def _rows(self, query: str, *values: object) -> Iterator[list[tuple[Any, ...]]]:
        if not self.path.exists():  # it never ran
            yield []
            return
        address = f"{self.path.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(address, timeout=BUSY_SECONDS, uri=True)) as link:
                yield link.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise RunError(
                f"{self.path}: expected the SuperLink's state, found: {error}: look again"
            ) from None


def _openssh(pem: bytes) -> str:
    """Return a public key that Flower kept as an OpenSSH line; nothing where it is none."""
    try:
        key = serialization.load_pem_public_key(pem)
        ssh = serialization.PublicFormat.OpenSSH
        return key.public_bytes(serialization.Encoding.OpenSSH, ssh).decode()
    except ValueError:
        return ""


def _moment(text: str) -> datetime:
    """Read a time as Flower writes it: ISO 8601; UTC where no zone is named."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

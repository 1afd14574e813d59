"""What stands in the place of a custodian's administration: any answers, or any bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fieldfare.client.daemon.process import ADMIN_LIMITS, OWNER_FOLDER, OWNER_SOCKET
from fieldfare.client.wire.admin_calls import (
    CUSTODIAN_WORDS,
    RELOAD,
    STATUS,
    CustodianStatus,
    LedgerStatus,
    ReloadReport,
)
from fieldfare.shared.desk.answering import Desk, DeskLine, serving_desk
from fieldfare.shared.system.sockets import UnixSocket

LEFT: Final = {"yearly_left": 50, "lifetime_left": 400, "yearly_limit": 100, "lifetime_limit": 1000}


def status_with(trouble: str = "", **ledger: int) -> CustodianStatus:
    """A custodian that serves nothing, with a budget of which half is left unless told."""
    return CustodianStatus(
        institution="bank-a",
        started="2025-06-01T09:55:00+00:00",
        process=4242,
        busy=False,
        trouble=trouble,
        roster=2,
        roster_hash="d" * 64,
        policy="e" * 64,
        identity="f" * 64,
        studies=[],
        releases=9,
        refusals={"unknown_study": 4},
        last_release=None,
        ledger=LedgerStatus(entries=3, epoch=1, head="a" * 64, spent=50, **LEFT | ledger),
    )


@contextmanager
def served_at(path: Path, desk: Desk) -> Iterator[None]:
    """Serve a desk where an administration would be."""
    with serving_desk(desk, UnixSocket(path, mode=OWNER_SOCKET, directory_mode=OWNER_FOLDER)):
        yield


@contextmanager
def administration_of(
    path: Path, status: CustodianStatus | None = None, report: ReloadReport | None = None
) -> Iterator[None]:
    """Answer this user a status and a reload's report."""
    told = report or ReloadReport(changed=[], trouble="", left_out=[])
    lines: list[DeskLine[Any, Any]] = [
        DeskLine(STATUS, lambda _asked, _user: status or status_with()),
        DeskLine(RELOAD, lambda _asked, _user: told),
    ]
    with served_at(path, Desk(lines, lambda: {os.geteuid()}, ADMIN_LIMITS, CUSTODIAN_WORDS)):
        yield


class SameBytes(Desk):
    """Answers whatever is asked with the same bytes; a process of another version, say."""

    def __init__(self, content: bytes) -> None:
        super().__init__([], lambda: {os.geteuid()}, ADMIN_LIMITS, CUSTODIAN_WORDS)
        self._content = content

    def answer(self, content: bytes, user: int) -> bytes:
        del content, user
        return self._content

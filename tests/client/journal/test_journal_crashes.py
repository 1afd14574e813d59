"""Whatever moment a process dies at, the log verifies and holds every entry that was returned.

Children die for real: at each statement, and before and after each system call that changes a file.
"""

import os
import sqlite3
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from fieldfare.client.journal.entries import Event
from fieldfare.client.journal.journal import Journal, verify
from fieldfare.shared.errors import LedgerError

pytestmark = pytest.mark.faults

DIED: Final = 77
CALLS: Final = ("open", "fsync", "replace", "unlink", "mkdir", "chmod")


@dataclass
class Countdown:
    """Ends the process at the given tick."""

    fatal: int
    count: int = 0

    def tick(self, *_: object) -> None:
        self.count += 1
        if self.count == self.fatal:
            os._exit(DIED)


def open_journal(folder: Path) -> Journal:
    return Journal.open(folder, clock=lambda: datetime(2025, 1, 1, tzinfo=UTC))


def append(journal: Journal) -> int:
    return journal.append(Event.RELEASE, "custodian", study="ab", rule="x" * 20).sequence


def watch(countdown: Countdown, patch: pytest.MonkeyPatch) -> None:
    """Tick at every statement and around every system call that changes a file."""
    connect = sqlite3.connect

    def watched(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.set_trace_callback(countdown.tick)
        return connection

    patch.setattr(sqlite3, "connect", watched)
    for name in CALLS:
        patch.setattr(os, name, around(getattr(os, name), countdown))


def around(call: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    def ticking(*args: Any, **options: Any) -> Any:
        countdown.tick()
        result = call(*args, **options)
        countdown.tick()
        return result

    return ticking


def in_child(folder: Path, action: Callable[[], None], fatal: int) -> int:
    """Run `action` in a fork that dies at tick `fatal`; return the ticks if it lived, else 0."""
    child = os.fork()
    if not child:
        try:
            with pytest.MonkeyPatch.context() as patch:
                countdown = Countdown(fatal)
                watch(countdown, patch)
                action()
            (folder.parent / "ticks").write_text(str(countdown.count))
            os._exit(0)
        finally:  # never unwind into the parent's test run
            traceback.print_exc(file=sys.stderr)
            os._exit(99)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, DIED}
    return int((folder.parent / "ticks").read_text()) if code == 0 else 0


def nothing(folder: Path) -> None:
    folder.parent.mkdir()


def rows(folder: Path) -> None:
    folder.parent.mkdir()
    with open_journal(folder) as journal:
        for _ in range(3):
            append(journal)


@pytest.mark.parametrize(("prepare", "before"), [(nothing, 0), (rows, 3)])
def test_death_at_every_step_of_an_open_and_an_append(
    tmp_path: Path, prepare: Callable[[Path], None], before: int
) -> None:
    fatal, ticks, lasts = 0, 0, []
    while not ticks:
        fatal += 1
        folder = tmp_path / f"dies at {fatal}" / "log"
        prepare(folder)

        def action(folder: Path = folder) -> None:
            with open_journal(folder) as journal:
                append(journal)

        ticks = in_child(folder, action, fatal)
        try:
            lasts.append(verify(folder).sequence)  # before anything is repaired
        except LedgerError as error:
            assert "expected a log in" in str(error)  # noqa: PT017 -- nothing was logged yet
            assert not before
        with open_journal(folder) as journal:
            again = append(journal)
        assert again == (lasts[-1] + 1 if lasts else 1)
        assert verify(folder).sequence == again
        assert [path.name for path in folder.iterdir()] == ["log.sqlite"]
    assert fatal > 12
    assert lasts == sorted(lasts)
    assert set(lasts) <= {before, before + 1}
    assert lasts[-1] == before + 1


def test_death_after_an_entry_was_returned_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    open_journal(folder).close()
    for expected in range(1, 6):
        child = os.fork()
        if not child:
            try:
                os._exit(append(open_journal(folder)))
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected
        assert verify(folder).sequence == expected

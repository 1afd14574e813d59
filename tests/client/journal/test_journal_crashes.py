"""Whatever moment a process dies at, the log verifies and holds every entry that was returned.

Children die for real, before, after and in the middle of each system call that changes a file.
"""

import os
import shutil
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
OPTIONS: Final[dict[str, Any]] = {
    "clock": lambda: datetime(2025, 1, 1, tzinfo=UTC),
    "max_bytes": 800,  # two entries
    "keep": 2,
}
CALLS: Final = ("open", "fsync", "pwrite", "ftruncate", "replace", "unlink", "mkdir")


@pytest.fixture(autouse=True)
def _no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process loses no page that the system holds; flushes only take their time."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@dataclass
class Countdown:
    """Ends the process at the given tick."""

    fatal: int
    count: int = 0

    def tick(self) -> None:
        self.count += 1
        if self.count == self.fatal:
            os._exit(DIED)


def open_journal(folder: Path) -> Journal:
    return Journal.open(folder, **OPTIONS)


def append(journal: Journal) -> int:
    return journal.append(Event.RELEASE, "custodian", study="ab", rule="x" * 20).sequence


def watch(countdown: Countdown, patch: pytest.MonkeyPatch) -> None:
    for name in CALLS:
        patch.setattr(os, name, around(getattr(os, name), countdown))
    write = os.write

    def torn(descriptor: int, content: bytes) -> int:
        half = len(content) // 2
        countdown.tick()
        done = write(descriptor, content[:half])
        countdown.tick()
        return done + write(descriptor, content[half:])

    patch.setattr(os, "write", torn)


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


def entries(folder: Path) -> bytes:
    """All lines there are, oldest first."""
    files = [*sorted(folder.glob("log-*.jsonl")), folder / "log.jsonl"]
    return b"".join(file.read_bytes() for file in files if file.exists())


def prepare_plain(folder: Path) -> None:
    append(open_journal(folder))


def prepare_rotation(folder: Path) -> None:
    """The next entry closes a file and deletes the oldest."""
    journal = open_journal(folder)
    for _ in range(6):
        append(journal)


def prepare_torn(folder: Path) -> None:
    """Another process died in the middle of a line."""
    prepare_plain(folder)
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b'{"actor":"custodian","det')


def prepare_all(folder: Path) -> None:
    """The note of the incomplete line closes a file, the entry after it fills one."""
    prepare_rotation(folder)
    with (folder / "log.jsonl").open("ab") as file:
        file.write(b'{"actor":"custodian","det')


@pytest.mark.parametrize(
    ("prepare", "running"),
    [
        (prepare_plain, False),
        (prepare_plain, True),
        (prepare_rotation, True),
        (prepare_torn, False),
        (prepare_torn, True),
        (prepare_all, False),
    ],
)
def test_death_at_every_step_of_an_append(
    tmp_path: Path, prepare: Callable[[Path], None], *, running: bool
) -> None:
    prepare(tmp_path / "log")
    before = verify(tmp_path / "log")
    torn = int(before.incomplete > 0)
    old = entries(tmp_path / "log").rpartition(b"\n")[0]
    fatal, lasts, ticks = 0, [], 0
    while not ticks:
        fatal += 1
        folder = tmp_path / f"dies at {fatal}" / "log"
        shutil.copytree(tmp_path / "log", folder)
        journal = Journal(folder, **OPTIONS, busy_timeout=5.0)  # as one that was open before

        def action(folder: Path = folder, journal: Journal = journal) -> None:
            append(journal if running else open_journal(folder))

        ticks = in_child(folder, action, fatal)
        found = verify(folder)  # before anything is repaired, and nothing was lost
        assert before.last <= found.last <= before.last + torn + 1
        again = append(open_journal(folder))
        after = verify(folder)
        assert after.last == again
        assert after.incomplete == 0
        kept = entries(folder)
        assert all(line in kept for line in old.splitlines()[after.first - before.first :])
        assert torn <= kept.count(b'"repair"')
        assert not [*folder.glob("*.pending")]
        lasts.append(found.last)
    assert fatal > 12
    assert lasts == sorted(lasts)
    assert set(lasts) == set(range(before.last, before.last + torn + 2))
    (last,) = lasts[-1:]
    assert last == before.last + torn + 1


def test_death_while_a_log_is_begun(tmp_path: Path) -> None:
    fatal, ticks = 0, 0
    while not ticks:
        fatal += 1
        folder = tmp_path / f"dies at {fatal}" / "log"
        folder.parent.mkdir()

        def action(folder: Path = folder) -> None:
            append(open_journal(folder))

        ticks = in_child(folder, action, fatal)
        try:
            verify(folder)
        except LedgerError as error:
            assert "head.json" in str(error)  # noqa: PT017 -- nothing was logged yet
            assert not entries(folder)
        assert append(open_journal(folder)) in {1, 2, 3}
        assert verify(folder).first == 1
    assert fatal > 20


def test_death_after_an_entry_was_returned_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    open_journal(folder)
    for expected in range(1, 6):
        child = os.fork()
        if not child:
            try:
                os._exit(append(open_journal(folder)))
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == expected
        assert verify(folder).last == expected

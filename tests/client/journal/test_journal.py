"""The log on disk: appended, rotated, shortened by rule, and refused where it cannot be written."""

import json
import os
import resource
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.properties import SHARING

from fieldfare.client.journal.entries import Event, Head, head_line, parse_head
from fieldfare.client.journal.journal import Journal, Verified, verify
from fieldfare.shared.errors import LedgerError, UsageError

NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)
Fill = Callable[..., Journal]


def open_journal(folder: Path, **options: Any) -> Journal:
    return Journal.open(folder, **{"clock": lambda: NOON} | options)


def fill(folder: Path, count: int, **options: Any) -> Journal:
    journal = open_journal(folder, **options)
    for step in range(count):
        journal.append(Event.REQUEST, "coordinator", study="ab", step=step)
    return journal


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_entries_stand_in_the_file_as_they_were_returned(tmp_path: Path) -> None:
    ticks = iter(range(10))
    journal = open_journal(tmp_path / "log", clock=lambda: NOON + timedelta(hours=next(ticks)))
    written = [
        journal.append(Event.START, "custodian", version="1.42"),
        journal.append(Event.REFUSAL, "custodian", code="not_in_plan", asked=7, limit=2.5),
        journal.append(
            Event.REJECTION, "anna", study="ab", reason="de schaal klopt niet, zei José"
        ),
    ]
    lines = (tmp_path / "log" / "log.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == [entry.line for entry in written]
    found = [json.loads(line) for line in lines]
    assert found[1] == {
        "format": 1,
        "sequence": 2,
        "time": "2025-01-01T13:00:00.000000Z",
        "event": "refusal",
        "actor": "custodian",
        "details": {"code": "not_in_plan", "asked": 7, "limit": 2.5},
        "previous": found[0]["hash"],
        "hash": written[1].hash,
    }
    assert found[2]["details"]["reason"] == "de schaal klopt niet, zei José"
    assert verify(tmp_path / "log") == Verified(first=1, last=3, files=1)


def test_a_new_log_is_empty_and_verifies(tmp_path: Path) -> None:
    open_journal(tmp_path / "log")
    assert verify(tmp_path / "log") == Verified(first=1, last=0, files=0)
    assert names(tmp_path / "log") == ["head.json", "lock"]


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    fill(tmp_path / "log", 3)
    entry = open_journal(tmp_path / "log").append(Event.STOP, "custodian")
    assert entry.sequence == 4
    assert verify(tmp_path / "log") == Verified(first=1, last=4, files=1)


def test_the_clock_may_be_set_back_and_is_written_as_it_is(tmp_path: Path) -> None:
    times = iter([NOON, NOON - timedelta(days=1)])
    journal = open_journal(tmp_path / "log", clock=lambda: next(times))
    first, second = (journal.append(Event.START, "custodian") for _ in range(2))
    assert first.time - second.time == timedelta(days=1)
    assert verify(tmp_path / "log").last == 2


def test_only_the_owner_reads_any_of_it(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 8, max_bytes=700)
    with (journal.folder / "log.jsonl").open("ab") as file:
        file.write(b'{"torn')
    journal.append(Event.STOP, "custodian")
    assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert len(names(journal.folder)) == 8  # one of each kind among them
    for path in journal.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_files_are_closed_by_size_and_the_chain_crosses_them(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 10, max_bytes=1000)
    closed = [f"log-{number:06d}.jsonl" for number in (1, 2, 3)]
    assert names(journal.folder) == ["head.json", "lock", *closed, "log.jsonl"]
    for name in (*closed, "log.jsonl"):
        assert 0 < (journal.folder / name).stat().st_size <= 1000
    assert verify(journal.folder) == Verified(first=1, last=10, files=4)


def test_an_entry_above_the_limit_gets_a_file_of_its_own(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 3, max_bytes=1)
    assert verify(journal.folder) == Verified(first=1, last=3, files=3)


def test_the_oldest_files_go_by_rule_and_leave_an_anchor(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 9, max_bytes=1, keep=3)
    closed = [f"log-{number:06d}.jsonl" for number in (6, 7, 8)]
    assert names(journal.folder) == ["head.json", "lock", *closed, "log.jsonl"]
    assert verify(journal.folder) == Verified(first=6, last=9, files=4)
    # A shorter rule holds from the next start on.
    open_journal(journal.folder, max_bytes=1, keep=1)
    assert verify(journal.folder) == Verified(first=8, last=9, files=2)
    fill(journal.folder, 5, max_bytes=1)
    assert verify(journal.folder) == Verified(first=8, last=14, files=7)


def test_what_does_not_fit_is_not_deleted_by_rule(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 6, max_bytes=1)
    (journal.folder / "log-000002.jsonl").unlink()
    with pytest.raises(LedgerError, match="log-000002"):
        verify(journal.folder)
    before = names(journal.folder)
    fill(journal.folder, 1, max_bytes=1, keep=1)
    assert set(before) < set(names(journal.folder))
    with pytest.raises(LedgerError, match="log-000002"):
        verify(journal.folder)


def test_an_old_file_that_lost_its_end_is_not_deleted_by_rule(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 8, max_bytes=600)
    path = journal.folder / "log-000002.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    fill(journal.folder, 1, max_bytes=600, keep=2)  # 2 would be the last to go
    assert path.exists()
    with pytest.raises(LedgerError, match=r"log-000003\.jsonl line 1 \(entry 4\)"):
        verify(journal.folder)


def test_a_changed_end_of_an_old_file_is_not_deleted_by_rule(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 6, max_bytes=1)
    path = journal.folder / "log-000003.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":2', b'"step":3'))
    fill(journal.folder, 1, max_bytes=1, keep=3)  # 3 would be the last to go
    assert path.exists()
    with pytest.raises(LedgerError, match=r"log-000003\.jsonl line 1 \(entry 3\)"):
        verify(journal.folder)


def test_files_that_a_crash_left_after_the_anchor_moved_go_at_the_next_start(
    tmp_path: Path,
) -> None:
    journal = fill(tmp_path / "log", 4, max_bytes=1)
    old = (journal.folder / "log-000001.jsonl").read_bytes()
    open_journal(journal.folder, keep=1)
    (journal.folder / "log-000001.jsonl").write_bytes(old)
    assert verify(journal.folder) == Verified(first=3, last=4, files=2)
    open_journal(journal.folder)
    assert not (journal.folder / "log-000001.jsonl").exists()


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"keep": 0}, {"keep": -1}])
def test_odd_options_are_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="expected a file"):
        open_journal(tmp_path / "log", **options)


def test_what_may_not_stand_in_the_log_changes_nothing(tmp_path: Path) -> None:
    marker = "MARKER-4711"
    journal = fill(tmp_path / "log", 2)
    before = {path: path.read_bytes() for path in journal.folder.iterdir()}
    smuggled: list[dict[str, Any]] = [
        {"amount": marker},
        {marker: 1},
        {"study": [marker]},
        {"study": {"row": marker}},
        {"reason": marker + "\n"},
        {"reason": marker * 100},
        {"step": marker},
        {"debit": 12.5},
        {"asked": marker.encode()},
    ]
    for details in smuggled:
        with pytest.raises(UsageError) as caught:
            journal.append(Event.RELEASE, "custodian", **details)
        assert marker not in str(caught.value)
    assert {path: path.read_bytes() for path in journal.folder.iterdir()} == before


# -- incomplete lines ---------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"{", b'{"actor":"coordinator","deta', b"\x00" * 300, b"\n"])
def test_an_incomplete_line_is_moved_aside_and_noted(tmp_path: Path, rest: bytes) -> None:
    journal = fill(tmp_path / "log", 2)
    with (journal.folder / "log.jsonl").open("ab") as file:
        file.write(rest)
    if not rest.endswith(b"\n"):
        assert verify(journal.folder) == Verified(first=1, last=2, files=1, incomplete=len(rest))
    open_journal(journal.folder)
    assert verify(journal.folder) == Verified(first=1, last=3, files=1)
    note = json.loads((journal.folder / "log.jsonl").read_bytes().splitlines()[-1])
    (torn,) = journal.folder.glob("torn-*")
    assert torn.read_bytes() == rest
    assert (note["event"], note["actor"]) == ("repair", "log")
    assert torn.name == f"torn-000003-{note['details']['fingerprint']}.jsonl"
    open_journal(journal.folder)
    assert verify(journal.folder).last == 3


def test_a_large_file_is_continued_from_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        journal = open_journal(tmp_path / "log")
        for _ in range(70):  # bytes of four each: well beyond what is read of the end
            journal.append(Event.REJECTION, "anna", reason="\U0001f426" * 500)
    assert (journal.folder / "log.jsonl").stat().st_size > 150_000
    with (journal.folder / "log.jsonl").open("ab") as file:
        file.write(b"torn")
    assert journal.append(Event.STOP, "custodian").sequence == 72
    assert verify(journal.folder) == Verified(first=1, last=72, files=1)


def test_it_is_noticed_while_running_and_before_anything_else(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 1)
    with (journal.folder / "log.jsonl").open("ab") as file:
        file.write(b"another process died here")
    assert journal.append(Event.STOP, "custodian").sequence == 3
    assert verify(journal.folder) == Verified(first=1, last=3, files=1)


def test_an_incomplete_first_line_of_a_file(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 3, max_bytes=1)
    active = journal.folder / "log.jsonl"
    active.rename(journal.folder / "log-000003.jsonl")
    active.write_bytes(b"torn")
    assert journal.append(Event.STOP, "custodian").sequence == 5
    assert verify(journal.folder) == Verified(first=1, last=5, files=5)


def test_after_a_power_cut_the_head_may_be_behind(tmp_path: Path) -> None:
    journal = fill(tmp_path / "log", 1, max_bytes=1000)
    head = (journal.folder / "head.json").read_bytes()
    for more in (1, 1, 2, 4):
        fill(journal.folder, more, max_bytes=1000)
        (journal.folder / "head.json").write_bytes(head)
        last = verify(journal.folder).last
        assert last > 1
        open_journal(journal.folder)
        assert verify(journal.folder).last == last
        assert parse_head((journal.folder / "head.json").read_bytes()).end.sequence == last
    # Also where the newest file was just closed.
    (journal.folder / "log.jsonl").rename(journal.folder / "log-000003.jsonl")
    (journal.folder / "head.json").write_bytes(head)
    assert journal.append(Event.STOP, "custodian").sequence == last + 1
    assert verify(journal.folder).last == last + 1


# -- refusals -----------------------------------------------------------------------------


def removed_end(folder: Path) -> None:
    path = folder / "log.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def changed_end(folder: Path) -> None:
    path = folder / "log.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":2', b'"step":3'))


def removed_file(folder: Path) -> None:
    (folder / "log.jsonl").unlink()


def removed_head(folder: Path) -> None:
    (folder / "head.json").unlink()


def changed_head(folder: Path) -> None:
    path = folder / "head.json"
    path.write_bytes(path.read_bytes().replace(b'"end":3', b'"end":2'))


def new_head(folder: Path) -> None:
    (folder / "head.json").write_bytes(head_line(Head(file=7)))
    (folder / "log.jsonl").write_bytes(b"all\nother\nlines\n")


DAMAGES: Final = (removed_end, changed_end, removed_file, removed_head, changed_head, new_head)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_log_without_its_end_is_not_continued(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    journal = fill(tmp_path / "log", 3)
    damage(journal.folder)
    before = {path.name: path.read_bytes() for path in journal.folder.iterdir()}
    with pytest.raises(LedgerError, match="expected"):
        journal.append(Event.RELEASE, "custodian")
    with pytest.raises(LedgerError, match="expected"):
        open_journal(journal.folder)
    with pytest.raises(LedgerError, match="expected"):
        verify(journal.folder)
    assert {path.name: path.read_bytes() for path in journal.folder.iterdir()} == before


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "log")
    (tmp_path / "elsewhere").touch()
    (journal.folder / "log.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerError, match="symbolic links"):
        journal.append(Event.START, "custodian")
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file"):
        open_journal(tmp_path / "none" / "log")
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="File exists"):
        open_journal(tmp_path / "file")


def test_a_failing_flush_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = fill(tmp_path / "log", 2)
    before = (journal.folder / "log.jsonl").read_bytes()

    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(LedgerError, match="Input/output"):
            journal.append(Event.RELEASE, "custodian")
    assert (journal.folder / "log.jsonl").read_bytes() == before
    assert journal.append(Event.STOP, "custodian").sequence == 3
    assert verify(journal.folder).last == 3


@pytest.mark.parametrize("written", [0, 100, 512])
def test_a_head_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Nothing changed: the entry is cut off. All of it changed: the entry stands, unreturned."""
    journal = fill(tmp_path / "log", 2)
    write = os.pwrite

    def failing(descriptor: int, content: bytes, offset: int) -> int:
        write(descriptor, content[:written], offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing)
        with pytest.raises(LedgerError, match="expected"):
            journal.append(Event.RELEASE, "custodian")
    if written == 100:  # no sector is written in half; if one were, nothing goes on unseen
        with pytest.raises(LedgerError, match="head"):
            journal.append(Event.STOP, "custodian")
        return
    assert verify(journal.folder).last == (2 if written == 0 else 3)
    journal.append(Event.STOP, "custodian")
    verify(journal.folder)


def test_a_short_write_of_the_head_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = fill(tmp_path / "log", 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: 0)
        with pytest.raises(LedgerError, match="Input/output"):
            journal.append(Event.RELEASE, "custodian")
    assert verify(journal.folder).last == 2


def test_a_full_disk_is_an_error_and_adds_nothing(tmp_path: Path) -> None:
    """A real limit: the write that crosses it is cut short, the next one fails."""
    outcomes = set()
    for room in range(0, 700, 50):
        journal = fill(tmp_path / f"full after {room}", 4)
        active = journal.folder / "log.jsonl"
        before = active.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
        try:
            journal.append(Event.RELEASE, "custodian", study="ab", reason="b" * 200)
            outcomes.add("written")
        except LedgerError as error:
            assert "File too large" in str(error)  # noqa: PT017 -- most of the sizes only
            assert active.read_bytes() == before
            outcomes.add("refused")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        journal.append(Event.STOP, "custodian")
        verify(journal.folder)
    assert outcomes == {"written", "refused"}


def test_a_full_disk_that_cannot_be_cut_back_leaves_an_incomplete_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = fill(tmp_path / "log", 4)
    size = (journal.folder / "log.jsonl").stat().st_size

    def failing(*_: int) -> None:
        raise OSError(5, "Input/output error")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "ftruncate", failing)
            with pytest.raises(LedgerError, match="File too large"):
                journal.append(Event.RELEASE, "custodian")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert verify(journal.folder) == Verified(first=1, last=4, files=1, incomplete=100)
    assert journal.append(Event.STOP, "custodian").sequence == 6
    assert verify(journal.folder) == Verified(first=1, last=6, files=1)


# -- any sequence of events ---------------------------------------------------------------

actions = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(Event), st.integers(0, 300)),
        st.tuples(st.sampled_from(["restart", "torn", "behind"]), st.just(0)),
    ),
    max_size=25,
)


@given(actions=actions, max_bytes=st.integers(1, 3000), keep=st.none() | st.integers(1, 3))
@settings(SHARING, max_examples=120)
def test_whatever_happens_every_returned_entry_is_verified(
    tmp_path_factory: pytest.TempPathFactory,
    actions: list[tuple[Event | str, int]],
    max_bytes: int,
    keep: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("any") / "log"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # property, not durability; the disk is slow
        journal = open_journal(folder, max_bytes=max_bytes, keep=keep)
        last, torn, head = 0, 0, (folder / "head.json").read_bytes()
        for action, size in actions:
            if isinstance(action, Event):
                entry = journal.append(action, "custodian", rule="r" * (size + 1))
                assert entry.sequence == last + torn + 1
                last, torn = entry.sequence, 0
            elif action == "restart":
                journal = open_journal(folder, max_bytes=max_bytes, keep=keep)
                last, torn = last + torn, 0
            elif action == "torn":
                with (folder / "log.jsonl").open("ab") as file:
                    file.write(b"{")
                torn = 1
            elif keep is None:  # a rotation that deletes brings the head to the disk
                (folder / "head.json").write_bytes(head)
            verified = verify(folder)
            assert verified.last == last
            assert (verified.incomplete > 0) == bool(torn)
            if keep is None:
                assert verified.first == 1
            else:
                assert verified.files <= keep + 1

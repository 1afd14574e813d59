"""Whatever is changed in a log is found, and named where it is."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.support.properties import SHARING

from fieldfare.client.journal import journal as journal_verify
from fieldfare.client.journal.entries import Event, Mark, next_entry, parse_entry
from fieldfare.client.journal.files import locked
from fieldfare.client.journal.journal import Journal, Verified, verify
from fieldfare.shared.errors import LedgerError

NOON: Final = datetime(2025, 1, 1, tzinfo=UTC)
NAMES: Final = ("log-000001.jsonl", "log-000002.jsonl", "log.jsonl")
ENTRIES: Final = 8


def fill(
    folder: Path, *, max_bytes: int = 900, keep: int | None = None, entries: int = ENTRIES
) -> Path:
    journal = Journal.open(folder, clock=lambda: NOON, max_bytes=max_bytes, keep=keep)
    for step in range(entries):
        journal.append(Event.REQUEST, "coordinator", step=step)
    return folder


@pytest.fixture(scope="module")
def three_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Entries 1 to 3, 4 to 6, 7 and 8."""
    folder = fill(tmp_path_factory.mktemp("whole") / "log")
    assert verify(folder) == Verified(first=1, last=ENTRIES, files=3)
    return folder


@pytest.fixture
def folder(three_files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three_files, tmp_path / "log"))


def read(folder: Path, name: str) -> list[bytes]:
    return (folder / name).read_bytes().splitlines(keepends=True)


def write(folder: Path, name: str, lines: list[bytes]) -> None:
    (folder / name).write_bytes(b"".join(lines))


def misfit(folder: Path) -> str:
    with pytest.raises(LedgerError) as caught:
        verify(folder)
    return str(caught.value)


def test_a_flip_of_any_byte_is_named(tmp_path: Path) -> None:
    folder, sequence = fill(tmp_path / "log", max_bytes=600, entries=4), 0
    for name in ("log-000001.jsonl", "log.jsonl"):
        lines = read(folder, name)
        content = b"".join(lines)
        places = [n for n, line in enumerate(lines, start=1) for _ in line]
        for place, line in enumerate(places):
            changed = bytearray(content)
            changed[place] ^= 1 << (place % 8)
            (folder / name).write_bytes(bytes(changed))
            found = misfit(folder)
            if place == len(places) - 1 and name == "log.jsonl":  # the very last newline
                assert found.startswith("entry 4: expected entries up to 4")
            else:
                assert found.startswith(f"{name} line {line} (entry {sequence + line}): ")
        (folder / name).write_bytes(content)
        sequence += len(lines)
    assert verify(folder) == Verified(first=1, last=4, files=2)


def test_a_flip_of_any_byte_of_the_head_is_named(folder: Path) -> None:
    content = (folder / "head.json").read_bytes()
    for place in range(0, len(content), 3):  # test_journal_chain.py flips every bit
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        (folder / "head.json").write_bytes(bytes(changed))
        assert misfit(folder).startswith("head.json: ")


@given(
    name=st.sampled_from(NAMES),
    place=st.integers(0, 899),
    removed=st.integers(0, 40),
    added=st.binary(max_size=40),
)
@settings(SHARING, max_examples=150)
def test_any_other_bytes_are_found(
    folder: Path, name: str, place: int, removed: int, added: bytes
) -> None:
    content = (folder / name).read_bytes()
    changed = content[:place] + added + content[place + removed :]
    # Bytes without a newline after the last one are a line that a crash cut short.
    torn = name == "log.jsonl" and changed.startswith(content) and b"\n" not in added
    assume(changed != content and not torn)
    try:
        (folder / name).write_bytes(changed)
        found = misfit(folder)
        assert "entry" in found
    finally:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("name", NAMES)
def test_a_removed_line_is_named(folder: Path, name: str) -> None:
    lines = read(folder, name)
    before = 3 * NAMES.index(name)
    for gone in range(len(lines)):
        write(folder, name, lines[:gone] + lines[gone + 1 :])
        found = misfit(folder)
        if gone < len(lines) - 1:
            assert found.startswith(f"{name} line {gone + 1} (entry {before + gone + 1}): ")
        elif name == "log.jsonl":
            assert found.startswith(f"entry {ENTRIES}: expected entries up to {ENTRIES}")
        else:  # the next file does not follow
            after = NAMES[NAMES.index(name) + 1]
            assert found.startswith(f"{after} line 1 (entry {before + gone + 1}): ")


def test_swapped_and_doubled_lines_are_named(folder: Path) -> None:
    lines = read(folder, NAMES[1])
    for changed, line in (
        ([lines[1], lines[0], lines[2]], 1),
        ([lines[0], lines[2], lines[1]], 2),
        ([lines[0], lines[0], *lines[1:]], 2),
        ([*lines, lines[2]], 4),
        ([*lines, b"\n"], 4),
        ([lines[0], b"\n", *lines[1:]], 2),
    ):
        write(folder, NAMES[1], changed)
        assert misfit(folder).startswith(f"{NAMES[1]} line {line} (entry {3 + line}): ")


def test_a_line_in_another_file_is_named(folder: Path) -> None:
    first, second = read(folder, NAMES[0]), read(folder, NAMES[1])
    write(folder, NAMES[0], [*first, second[0]])
    assert misfit(folder).startswith(
        f"{NAMES[1]} line 1 (entry 5): expected entry 5, found entry 4"
    )


def test_a_removed_file_is_named(folder: Path) -> None:
    (folder / NAMES[0]).unlink()
    assert misfit(folder) == f"{NAMES[0]}: expected this file, found none"


def test_a_removed_middle_file_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "log", max_bytes=1)
    for number in range(1, ENTRIES):
        name = f"log-{number:06d}.jsonl"
        (folder / name).rename(tmp_path / name)
        found = misfit(folder)
        if number < ENTRIES - 1:
            assert found == f"{name}: expected this file, found none"
        else:  # nothing says that there was one, but the chain
            assert found.startswith(f"log.jsonl line 1 (entry {number}): ")
        (tmp_path / name).rename(folder / name)
    verify(folder)


def test_exchanged_files_are_named(folder: Path) -> None:
    one, two = (folder / name for name in NAMES[:2])
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)
    assert misfit(folder).startswith(
        f"{NAMES[0]} line 1 (entry 1): expected entry 1, found entry 4"
    )


def test_a_removed_end_is_found_by_the_head(folder: Path) -> None:
    lines = read(folder, "log.jsonl")
    for left in range(len(lines)):
        write(folder, "log.jsonl", lines[:left])
        assert misfit(folder).startswith(f"entry {7 + left}: expected entries up to {ENTRIES}")
    (folder / "log.jsonl").unlink()
    assert misfit(folder).startswith("entry 7: ")
    (folder / NAMES[1]).unlink()
    assert "the end of the log was removed" in misfit(folder)


def test_a_rewritten_end_is_found_by_the_head(folder: Path) -> None:
    """Entries with right hashes, which nobody acknowledged."""
    lines = read(folder, "log.jsonl")
    end = parse_entry(lines[-2].rstrip(b"\n")).mark
    other = next_entry(end, time=NOON, event=Event.RELEASE, actor="other", details={})
    write(folder, "log.jsonl", [*lines[:-1], other.line])
    assert misfit(folder).startswith("log.jsonl line 2 (entry 8): expected the hash")


def test_entries_added_out_of_the_chain_are_named(folder: Path) -> None:
    lines = read(folder, "log.jsonl")
    stray = next_entry(
        Mark(sequence=ENTRIES, hash="1" * 64), time=NOON, event=Event.STOP, actor="a", details={}
    )
    write(folder, "log.jsonl", [*lines, stray.line])
    assert misfit(folder).startswith("log.jsonl line 3 (entry 9): ")


def test_a_missing_head_is_named(folder: Path) -> None:
    (folder / "head.json").unlink()
    assert misfit(folder).startswith("head.json: expected the head")


def test_the_head_of_another_time_is_no_proof(folder: Path, tmp_path: Path) -> None:
    """A shorter rule deleted files; the head from before misses them."""
    content = (folder / "head.json").read_bytes()
    Journal.open(folder, clock=lambda: NOON, keep=1)
    (folder / "head.json").write_bytes(content)
    assert misfit(folder) == f"{NAMES[0]}: expected this file, found none"


def test_a_line_without_end_is_not_read_into_memory(folder: Path) -> None:
    with (folder / NAMES[0]).open("ab") as file:
        file.truncate(10**9)  # sparse
    assert misfit(folder).startswith(f"{NAMES[0]} line 4 (entry 4): ")


def test_nothing_is_written(folder: Path) -> None:
    (folder / "lock").unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    folder.chmod(0o500)
    verify(folder)
    folder.chmod(0o700)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_log_is_an_error(tmp_path: Path) -> None:
    assert misfit(tmp_path / "none").startswith("head.json: ")


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / NAMES[1]).unlink()
    (folder / NAMES[1]).mkdir()
    assert "Is a directory" in misfit(folder)
    (folder / "log.jsonl").unlink()
    (folder / "log.jsonl").mkdir()
    assert "Is a directory" in misfit(folder)


def test_a_writer_that_hangs_is_an_error(folder: Path) -> None:
    with (
        locked(folder, busy_timeout=1),
        pytest.raises(LedgerError, match="holding it"),
    ):
        verify(folder, busy_timeout=0.01)


def test_readers_do_not_wait_for_each_other(folder: Path) -> None:
    with locked(folder, busy_timeout=1, shared=True):
        verify(folder, busy_timeout=0.01)


Check = Callable[[Path, journal_verify._Snapshot], Verified]


def test_files_that_are_deleted_by_rule_meanwhile_are_no_misfit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check: Check = journal_verify._verify

    def slow(where: Path, snapshot: journal_verify._Snapshot) -> Verified:
        monkeypatch.setattr(journal_verify, "_verify", check)
        Journal.open(folder, clock=lambda: NOON, keep=1)
        return check(where, snapshot)

    monkeypatch.setattr(journal_verify, "_verify", slow)
    assert verify(folder) == Verified(first=4, last=ENTRIES, files=2)


def test_a_log_that_never_rests_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "log", max_bytes=1, keep=1)
    journal = Journal.open(folder, clock=lambda: NOON, max_bytes=1, keep=1)
    check: Check = journal_verify._verify

    def slow(where: Path, snapshot: journal_verify._Snapshot) -> Verified:
        journal.append(Event.REQUEST, "coordinator")
        journal.append(Event.REQUEST, "coordinator")
        return check(where, snapshot)

    monkeypatch.setattr(journal_verify, "_verify", slow)
    assert "at rest" in misfit(folder)

"""Entries become lines and come back; anything else is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fieldfare.client.journal.entries import (
    COUNTS,
    ENTRY_TYPE,
    GENESIS,
    MAX_LINE,
    MAX_SENTENCE,
    MAX_TEXT,
    SENTENCES,
    TERMS,
    TEXTS,
    Event,
    JournalEntry,
    Mark,
    Value,
    next_entry,
    next_mark,
    parse_entry,
)
from fieldfare.shared.canonical import chained_hash
from fieldfare.shared.errors import LedgerError, UsageError

NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)
EXACT: Final = 2**53 - 1

texts = st.text(min_size=1, max_size=40).filter(str.isprintable)
counts = st.integers(0, EXACT)
terms = st.one_of(
    texts,
    st.booleans(),
    st.integers(-EXACT, EXACT),
    st.floats(-EXACT, EXACT, allow_nan=False),
)
details = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(TEXTS | SENTENCES, texts)
    | dict.fromkeys(COUNTS, counts)
    | dict.fromkeys(TERMS, terms),
)
times = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 -- hypothesis wants naive bounds


def entry(end: Mark = GENESIS, **found: Value) -> JournalEntry:
    return next_entry(end, time=NOON, event=Event.REQUEST, actor="coordinator", details=found)


def chain(length: int) -> list[JournalEntry]:
    entries: list[JournalEntry] = []
    for step in range(length):
        entries.append(entry(entries[-1].mark if entries else GENESIS, step=step))
    return entries


@given(times, st.sampled_from(Event), texts, details, counts.filter(lambda n: n < EXACT))
def test_a_line_comes_back_as_what_was_written(
    time: datetime, event: Event, actor: str, found: dict[str, Value], sequence: int
) -> None:
    end = Mark(sequence=sequence, hash="ab" * 32)
    written = next_entry(end, time=time, event=event, actor=actor, details=found)
    assert b"\n" not in written.line
    read = parse_entry(written.line)
    assert read == written
    assert read.line == written.line
    assert next_mark(end, read) == Mark(sequence=sequence + 1, hash=written.hash)


def test_the_largest_entry_fits_a_line() -> None:
    wide: dict[str, Value] = dict.fromkeys(TEXTS, "\U0001f426" * MAX_TEXT)
    wide |= dict.fromkeys(TERMS, "\U0001f426" * MAX_TEXT)
    wide |= dict.fromkeys(SENTENCES, "\U0001f426" * MAX_SENTENCE) | dict.fromkeys(COUNTS, EXACT)
    escaped = {
        k: v.replace("\U0001f426", '"') if isinstance(v, str) else v for k, v in wide.items()
    }
    for found in (wide, escaped):
        line = next_entry(
            Mark(sequence=EXACT - 1, hash="f" * 64),
            time=NOON,
            event=Event.STUDY_RECEIVED,
            actor="\U0001f426" * MAX_TEXT,
            details=found,
        ).line
        assert len(line) < MAX_LINE
        parse_entry(line)


def test_every_bit_of_a_line_counts() -> None:
    line = entry(study="ab", asked=1.5, limit=True).line
    for place in range(len(line)):
        for bit in range(8):
            changed = bytearray(line)
            changed[place] ^= 1 << bit
            with pytest.raises(LedgerError, match="expected"):
                parse_entry(bytes(changed))


def test_every_field_is_under_the_hash() -> None:
    one = entry(step=1)
    others = [
        replace(one, time=NOON + timedelta(microseconds=1)),
        replace(one, event=Event.RELEASE),
        replace(one, actor="custodian"),
        replace(one, details={"step": 2}),
        replace(one, details={"attempt": 1}),
        replace(one, previous="1" * 64),
        replace(one, sequence=2),
    ]
    parse_entry(one.line)
    for other in others:  # with the hash of the first one
        with pytest.raises(LedgerError, match="expected the hash"):
            parse_entry(other.line)


def signed(**changes: Any) -> bytes:
    """A line whose hash is right, whatever it says."""
    content = json.loads(entry(step=1).line) | changes
    content.pop("hash")
    return rfc8785.dumps(content | {"hash": chained_hash(ENTRY_TYPE + b"\0", content)})


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": True},
        {"sequence": 0},
        {"sequence": -1},
        {"sequence": "1"},
        {"sequence": True},
        {"sequence": 1.5},
        {"previous": "0" * 63},
        {"previous": None},
        {"previous": "A" * 64},
        {"time": "2025-01-01T12:00:00Z"},
        {"time": "2025-01-01T12:00:00.5Z"},
        {"time": "2025-01-01T12:00:00.000000+00:00"},
        {"time": "1969-01-01T12:00:00.000000Z"},
        {"time": 5},
        {"event": "lunch"},
        {"event": []},
        {"actor": ""},
        {"actor": None},
        {"actor": "two\nlines"},
        {"details": []},
        {"details": None},
        {"details": {"name": "x"}},
        {"details": {"step": "x"}},
        {"details": {"step": {"deep": 1}}},
        {"more": 1},
    ],
)
def test_a_right_hash_does_not_make_it_an_entry(changes: dict[str, Any]) -> None:
    parse_entry(signed())
    with pytest.raises(LedgerError, match="expected"):
        parse_entry(signed(**changes))


def test_one_entry_has_one_line() -> None:
    line = entry(step=1).line
    for other in (
        line + b" ",
        line.replace(b":1,", b":1.0,"),
        line.replace(b'"step"', b'"s\\u0074ep"'),
        line.replace(b'{"step":1}', b'{"step":0,"step":1}'),
        json.dumps(json.loads(line)).encode(),
        line + b"\r",
        b"\xef\xbb\xbf" + line,
    ):
        assert other != line
        with pytest.raises(LedgerError, match="expected"):
            parse_entry(other)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"\x00" * 300,
        b"[" * 20_000,
        b"9" * 10_000,
        b"NaN",
        b" " * MAX_LINE,
    ],
)
def test_what_is_no_entry_is_refused(line: bytes) -> None:
    with pytest.raises(LedgerError, match="expected an entry"):
        parse_entry(line)


def test_a_misfit_is_never_repeated_in_the_message() -> None:
    marker = "MARKER-4711"
    for changes in (
        {"event": marker},
        {"time": marker},
        {"details": {"name": marker}},
        {"details": {marker: 1}},
        {"actor": marker + "\n"},
        {"previous": marker},
    ):
        with pytest.raises(LedgerError) as caught:
            parse_entry(signed(**changes))
        assert marker not in str(caught.value)
    changed = entry(study="ab").line.replace(b'"ab"', f'"{marker}"'.encode())
    with pytest.raises(LedgerError) as caught:
        parse_entry(changed)
    assert marker not in str(caught.value)


def test_follow_wants_the_next_entry_after_the_right_one() -> None:
    first, second, third = chain(3)
    assert next_mark(first.mark, second) == second.mark
    for end, found in ((GENESIS, second), (first.mark, third), (second.mark, second)):
        with pytest.raises(LedgerError, match="expected entry"):
            next_mark(end, found)
    with pytest.raises(LedgerError, match="expected an entry after"):
        next_mark(replace(first.mark, hash="1" * 64), second)


def test_a_time_is_in_utc_whatever_the_clocks_zone() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    one = next_entry(GENESIS, time=there, event=Event.START, actor="a", details={})
    assert json.loads(one.line)["time"] == "2025-01-01T12:00:00.000000Z"


@pytest.mark.parametrize("time", [NOON.replace(tzinfo=None), NOON.replace(year=1969)])
def test_an_odd_clock_is_refused(time: datetime) -> None:
    with pytest.raises(LedgerError, match="set the clock"):
        next_entry(GENESIS, time=time, event=Event.START, actor="a", details={})


def test_a_log_has_an_end() -> None:
    with pytest.raises(LedgerError, match="begin a new log"):
        entry(Mark(sequence=EXACT, hash="0" * 64))


def test_what_may_not_stand_in_the_log_is_refused() -> None:
    with pytest.raises(UsageError, match="actor"):
        next_entry(GENESIS, time=NOON, event=Event.START, actor="", details={})
    with pytest.raises(UsageError, match="step"):
        entry(step=-1)


def test_canonical_numbers_do_not_change_an_entry() -> None:
    """RFC 8785 writes 1.0 as 1 and -0.0 as 0; reading must not trip over it."""
    for value in (1.0, -0.0, 1e15, 5e-324, 0.1, EXACT, float(EXACT), False):
        line = entry(asked=value).line
        assert rfc8785.dumps(json.loads(line)) == line
        assert parse_entry(line).details["asked"] == value
